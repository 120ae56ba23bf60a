"""Oracles of the galleries and of the overview of the study."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from operator import itemgetter
from typing import Any

from lakes import Row, Rows

from oracles.base import attacked_of, grouped, oracle, successes_of

PAIR = ("image_id", "label", "target")
SETTING = ("dataset", "model", "attack")
SIZE = ("height", "width", "channels")
MAP = ("method", "subject", "explained_class", "start", "status")


def sample(rows: Rows) -> Iterator[tuple[int, Row]]:
    """(place, pair): for each attack one success a class pair, of the smallest image, in turns of labels."""
    for (dataset, model), successes in grouped(successes_of(attacked_of(rows)), "dataset", "model"):
        of_originals = {"dataset": dataset, "model": model, "subject": "original", "explains": "label"}
        methods = {row["method"] for row in rows["relevance"] if of_originals.items() <= row.items()}
        attacks = grouped(successes, "attack")
        most = min(90, max(5, 1300 // (len(attacks) * max(1, len(methods)))))
        for _, group in attacks:
            queues = [queue_of_label(pairs) for _, pairs in grouped(group, "label")]
            in_turns = [pair for turn in zip_longest(*queues) for pair in turn if pair is not None]
            yield from enumerate(in_turns[:most], start=1)


def queue_of_label(pairs: list[Row]) -> list[Row]:
    """One pair a target, by image and then by how many classes the target is ahead of the label."""
    firsts = [min(of_target, key=itemgetter("image_id")) for _, of_target in grouped(pairs, "target")]
    classes = len(pairs[0]["logits"])
    return sorted(firsts, key=lambda row: (row["image_id"], (row["target"] - row["label"]) % classes))


def image_of(rows: Rows, pair: Row) -> Row:
    return only(rows["images"], {name: pair[name] for name in ("dataset", "image_id")})


def only(rows: list[Row], like: Row) -> Row:
    """The one row that agrees with `like`."""
    [row] = [row for row in rows if all(row[name] == value for name, value in like.items())]
    return row


@oracle
def pair_gallery(rows: Rows) -> list[Row]:
    expected = []
    for place, pair in sample(rows):
        image = image_of(rows, pair)
        of_image = {name: pair[name] for name in ("dataset", "model", "image_id")}
        predicted = only(rows["predictions"], of_image)["predicted"]
        expected.append(
            {name: pair[name] for name in SETTING}
            | {"place": place}
            | {name: pair[name] for name in PAIR}
            | {"predicted_original": predicted}
            | {"original_pixels": image["pixels"], "adversarial_pixels": pair["pixels"]}
            | {name: pair[name] for name in ("target_probability", "l2", "linf")}
            | {name: image[name] for name in SIZE}
        )
    return expected


@oracle
def map_gallery(rows: Rows) -> list[Row]:
    expected, seen = [], set()
    for place, pair in sample(rows):
        image = image_of(rows, pair)
        of_image = {name: pair[name] for name in ("dataset", "model", "image_id")}
        original = (pair["attack"], *of_image.values())
        designs = [{"subject": pair["attack"], "explains": "target", "target": pair["target"]}]
        if original not in seen:
            designs.insert(0, {"subject": "original", "explains": "label", "target": None})
        seen.add(original)
        for method in sorted({row["method"] for row in rows["relevance"]}):
            for design in designs:
                row = only(rows["relevance"], of_image | design | {"method": method})
                expected.append(
                    {name: pair[name] for name in SETTING}
                    | {"place": place}
                    | {name: row[name] for name in (*PAIR, *MAP)}
                    | {name: image[name] for name in SIZE}
                    | {"relevance": row["relevance"]}
                )
    return expected


@oracle
def study_overview(rows: Rows) -> list[Row]:
    controls = [row for row in rows["adversarials"] if row not in attacked_of(rows)]
    things = (
        ("dataset", "dataset", rows["images"]),
        ("model", "model", rows["predictions"]),
        ("attack", "attack", attacked_of(rows)),
        ("control", "attack", controls),
        ("method", "method", rows["relevance"]),
    )
    expected = [
        {"kind": kind, "id": key[name], "detail": in_words(kind, group), "rows": len(group)}
        for kind, name, table in things
        for key, group in grouped(table, name)
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
        "model": f"{count('correct', True)} of {len(group)} images classified correctly "
        f"({100 * count('correct', True) / len(group):.2f} %)",
        "attack": f"{count('status', 'success')} of {len(group)} pairs succeeded",
        "control": f"{len(group)} pairs: {count('status', 'kept')} kept the class, "
        f"{count('status', 'success')} came to the target, {count('status', 'failed')} did neither",
        "method": f"{len(group)} maps: {count('status', 'ok')} ok, {count('status', 'zero')} zero, "
        f"{count('status', 'non_finite')} not finite",
    }[kind]
