"""Oracles of the galleries and of the overview of the study."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lakes import Row, Rows

from oracles.base import grouped, oracle, successes_of

PAIR = ("dataset", "model", "attack", "image_id", "label", "target")
SIZE = ("height", "width", "channels")
MAP = ("method", "subject", "explained_class", "start", "status")


def sample(rows: Rows) -> Iterator[tuple[int, Row]]:
    """(place, pair): for each attack one success a label, of the smallest image, next class first."""
    for _, group in grouped(successes_of(rows["adversarials"]), "dataset", "model", "attack"):
        for place, (_, pairs) in enumerate(grouped(group, "label")[:10], start=1):
            classes = len(pairs[0]["logits"])
            yield place, min(pairs, key=lambda r: (r["image_id"], (r["target"] - r["label"]) % classes))


def image_of(rows: Rows, pair: Row) -> Row:
    return only(rows["images"], pair, "dataset", "image_id")


def only(rows: list[Row], like: Row, *names: str) -> Row:
    """The one row that agrees with `like`."""
    [row] = [row for row in rows if all(row[name] == like[name] for name in names)]
    return row


@oracle
def pair_gallery(rows: Rows) -> list[Row]:
    expected = []
    for _, pair in sample(rows):
        image = image_of(rows, pair)
        predicted = only(rows["predictions"], pair, "dataset", "model", "image_id")["predicted"]
        expected.append(
            {name: pair[name] for name in PAIR}
            | {"predicted_original": predicted}
            | {"original_pixels": image["pixels"], "adversarial_pixels": pair["pixels"]}
            | {name: pair[name] for name in ("target_probability", "l2", "linf")}
            | {name: image[name] for name in SIZE}
        )
    return expected


@oracle
def map_gallery(rows: Rows) -> list[Row]:
    expected = []
    for place, pair in sample(rows):
        image = image_of(rows, pair)
        of_image = {name: pair[name] for name in ("dataset", "model", "image_id")}
        methods = sorted({row["method"] for row in rows["relevance"]})
        for method in methods if place <= 5 else ():
            for subject, explains, target in (
                ("original", "label", None), (pair["attack"], "target", pair["target"]),
            ):  # fmt: skip
                design = {"method": method, "subject": subject, "explains": explains, "target": target}
                row = only(rows["relevance"], of_image | design, *of_image, *design)
                expected.append(
                    {name: pair[name] for name in PAIR}
                    | {
                        name: row[name]
                        for name in ("method", "subject", "explained_class", "start", "status")
                    }
                    | {name: image[name] for name in SIZE}
                    | {"relevance": row["relevance"]}
                )
    return expected


@oracle
def study_overview(rows: Rows) -> list[Row]:
    kinds = {"dataset": "images", "model": "predictions", "attack": "adversarials", "method": "relevance"}
    expected = [
        key | {"kind": kind, "id": key[kind], "detail": in_words(kind, group), "rows": len(group)}
        for kind, table in kinds.items()
        for key, group in grouped(rows[table], kind)
    ]
    tables = {
        "adversarials": "one row per attacked pair, failures included",
        "images": "one row per image",
        "predictions": "one row per image and model",
        "relevance": "one row per relevance map",
    }
    expected += [
        {"kind": "table", "id": table, "detail": detail, "rows": len(rows[table])}
        for table, detail in tables.items()
    ]
    return [{name: row[name] for name in ("kind", "id", "detail", "rows")} for row in expected]


def in_words(kind: str, group: list[Row]) -> str:
    """The detail of a thing of one kind."""

    def count(column: str, value: Any) -> int:
        return sum(row.get(column) == value for row in group)

    return {
        "dataset": f"{len(group)} images of {len({row['label'] for row in group})} classes",
        "model": f"{count('correct', True)} of {len(group)} images classified correctly",
        "attack": f"{count('status', 'success')} of {len(group)} pairs succeeded",
        "method": f"{len(group)} maps: {count('status', 'ok')} ok, {count('status', 'zero')} zero, "
        f"{count('status', 'non_finite')} not finite",
    }[kind]
