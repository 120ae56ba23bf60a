"""The data checks: sound lakes have no violations, and what is violated is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lakes import ATTACKS, Rows, stable_rank, toy_rows, write_lake

from sql import package
from sql.catalog import open_lake
from sql.map_checks import rank_order


@pytest.fixture
def rows() -> Rows:
    return toy_rows()


def violations(root: Path) -> dict[str, int]:
    """Wrong rows by check."""
    with open_lake(str(root)) as lake:
        return {row["check"]: row["violations"] for row in lake.check().rows(named=True)}


def test_a_sound_lake_passes_every_check(tmp_path: Path, rows: Rows) -> None:
    with open_lake(str(write_lake(tmp_path / "lake", rows))) as lake:
        report = lake.check()
    assert report.columns == ["check", "title", "violations", "first"]
    assert report.filter(pl.col("violations") > 0).rows() == []
    assert set(report["check"]) == set(package.checks()) == set(FAULTS)


def first_ok(rows: Rows, subject: str = "original") -> dict:
    return next(row for row in rows["relevance"] if row["status"] == "ok" and row["subject"] == subject)


def swap_best_two(rows: Rows) -> None:
    rank = first_ok(rows)["rank"]
    best, worst = rank.argmin(), rank.argmax()
    rank[best], rank[worst] = rank[worst], rank[best]


def fail_its_attack(rows: Rows) -> None:
    lost = first_ok(rows, "lbfgs")
    for row in rows["adversarials"]:
        if (row["attack"], row["target"], row["image_id"]) == ("lbfgs", lost["target"], lost["image_id"]):
            row["status"] = "failed"


def lose_a_part(rows: Rows) -> None:
    """What stabilisers absorbed, a five-hundredth of the largest part, is left out."""
    row = next(r for r in rows["relevance"] if r["status"] == "ok" and r["absorbed_bias"] is not None)
    parts = ("start", "relevance_sum", "absorbed_bias", "absorbed_stabiliser", "absorbed_empty")
    row["start"] += np.float32(0.002 * max(abs(row[name]) for name in parts))


def move_logits(answers: list[dict], of: dict) -> None:
    """The logits of another image, which differ by the same amount each: no other check can tell."""
    keys = [name for name in ("dataset", "model", "attack", "target", "image_id") if name in answers[0]]
    mapped = of | {"attack": of["subject"]}
    row = next(row for row in answers if all(row[name] == mapped[name] for name in keys))
    row["logits"] = row["logits"] + np.float32(0.01)


def first_pair(rows: Rows, status: str) -> dict:
    return next(row for row in rows["adversarials"] if row["status"] == status)


def attack_twice(rows: Rows) -> None:
    """One attack is said to be untargeted, but it has a row for each target."""
    next(row for row in rows["attacks"] if row["attack"] == "lbfgs").update(targeted=False)


def exceed_a_budget(rows: Rows) -> None:
    """One row is a little over the budget that all others of its attack keep to."""
    sizes = [row["l2"] for row in rows["adversarials"] if row["attack"] == "lbfgs"]
    next(a for a in rows["attacks"] if a["attack"] == "lbfgs").update(distance="l2", epsilon=max(sizes))
    next(a for a in rows["adversarials"] if a["attack"] == "lbfgs").update(l2=max(sizes) + 2e-5)


def lose_an_original(rows: Rows) -> None:
    """The map of an original that has adversarial maps."""
    examples = {(row["method"], row["image_id"]) for row in rows["relevance"] if row["subject"] != "original"}
    rows["relevance"].remove(
        next(
            row
            for row in rows["relevance"]
            if row["subject"] == "original" and (row["method"], row["image_id"]) in examples
        )
    )


FAULTS = {
    "rank_orders_relevance": swap_best_two,
    "relevance_is_scaled": lambda rows: first_ok(rows)["relevance"].__imul__(np.float32(0.5)),
    "relevance_is_conserved": lose_a_part,
    "maps_start_at_logits": lambda rows: move_logits(rows["adversarials"], first_ok(rows, "lbfgs")),
    "relevance_has_adversarial": fail_its_attack,
    "rows_are_unique": lambda rows: rows["predictions"].append(rows["predictions"][0]),
    "labels_agree": lambda rows: rows["images"][1].update(label=99),
    "explained_class_agrees": lambda rows: first_ok(rows, "lbfgs").update(explained_class=77),
    "attacks_start_correct": lambda rows: rows["predictions"][0].update(correct=False),
    "failures_have_reasons": lambda rows: first_pair(rows, "failed").update(reason=None),
    "classes_follow_logits": lambda rows: first_pair(rows, "success")["logits"].__imul__(np.float32(-1)),
    "untargeted_once": attack_twice,
    "attacks_keep_budget": exceed_a_budget,
    "imports_add_up": lambda rows: rows["imports"][0].update(imported=rows["imports"][0]["imported"] - 1),
    "sizes_agree": lambda rows: rows["images"][0].update(height=5),
    "relevance_has_original": lose_an_original,
    "ids_are_known": lambda rows: rows["methods"].pop(),
    "predictions_follow_logits": lambda rows: rows["predictions"][0]["logits"].__imul__(np.float32(-1)),
    "probabilities_follow_logits": lambda rows: rows["adversarials"][0].update(target_probability=0.5),
}


@pytest.mark.parametrize("check", FAULTS)
def test_each_check_finds_its_fault(tmp_path: Path, rows: Rows, check: str) -> None:
    FAULTS[check](rows)
    with open_lake(str(write_lake(tmp_path / "lake", rows))) as lake:
        report = {row["check"]: row for row in lake.check().rows(named=True)}
    assert report[check]["violations"] > 0
    assert report[check]["first"].startswith("{")


@pytest.mark.parametrize(("subject", "table"), [("lbfgs", "adversarials"), ("original", "predictions")])
def test_only_its_start_tells_that_a_map_is_of_other_pixels(
    tmp_path: Path, rows: Rows, subject: str, table: str
) -> None:
    of = first_ok(rows, subject)
    move_logits(rows[table], of)
    keys = ("image_id", "subject", "target")
    maps = [row for row in rows["relevance"] if all(row[name] == of[name] for name in keys)]
    found = violations(write_lake(tmp_path / "lake", rows))
    assert {check: wrong for check, wrong in found.items() if wrong} == {"maps_start_at_logits": len(maps)}
    for row in rows["methods"]:
        row["family"] = "imported"
    assert not any(violations(write_lake(tmp_path / "imported", rows)).values())


OTHER_FAULTS = {
    "a status that nobody knows": ("failures_have_reasons", {"status": "lost"}),
    "a reason without a failure": ("failures_have_reasons", {"reason": "bad luck"}),
    "the target as second class": ("classes_follow_logits", {"second_class": None}),
    "towards the label": ("attacks_start_correct", {"target": None}),
    "a second probability that is another": ("probabilities_follow_logits", {"second_probability": 0.9}),
    "no probability": ("probabilities_follow_logits", {"target_probability": np.nan}),
}


@pytest.mark.parametrize("fault", OTHER_FAULTS)
def test_adversarials_that_contradict_themselves_are_found(tmp_path: Path, rows: Rows, fault: str) -> None:
    check, change = OTHER_FAULTS[fault]
    row = first_pair(rows, "success")
    own = {"second_class": row["target"], "target": row["label"]}
    row.update({name: own[name] if value is None else value for name, value in change.items()})
    assert violations(write_lake(tmp_path / "lake", rows))[check] == 1


def test_maps_by_randomised_networks_belong_to_originals_and_have_their_row(
    tmp_path: Path, rows: Rows
) -> None:
    drawn = [row | {"subject": "randomised-1"} for row in rows["relevance"] if row["subject"] == "original"]
    network = {"randomisation": "net.randomised-1", "model": drawn[0]["model"], "subject": "randomised-1"}
    rows["relevance"] += drawn
    rows["randomisations"] = [network]
    assert not any(violations(write_lake(tmp_path / "sound", rows)).values())
    rows["randomisations"] = []
    found = violations(write_lake(tmp_path / "unsound", rows))
    assert {name for name, count in found.items() if count} == {"ids_are_known", "relevance_has_adversarial"}
    assert found["relevance_has_adversarial"] == len(drawn)


SCALES = {
    "a status that nobody knows": {"status": "lost"},
    "no scale": {"scale": None},
    "a scale of 0": {"scale": np.float32(0)},
    "flagged as zero, but it is not": {"status": "zero", "scale": np.float32(0), "rank": None},
}


@pytest.mark.parametrize("fault", SCALES)
def test_maps_that_are_neither_scaled_nor_flagged_are_found(tmp_path: Path, rows: Rows, fault: str) -> None:
    first_ok(rows).update(SCALES[fault])
    assert violations(write_lake(tmp_path / "lake", rows))["relevance_is_scaled"] == 1


@pytest.mark.parametrize(("distance", "other"), [("l2", "linf"), ("linf", "l2")])
def test_a_budget_bounds_the_norm_that_it_names(
    tmp_path: Path, rows: Rows, distance: str, other: str
) -> None:
    """Against the rows over it, counted one by one; the other norm may be as large as it likes."""
    own = [row for row in rows["adversarials"] if row["attack"] == "lbfgs"]
    budget = sorted(row[distance] for row in own)[len(own) // 2]
    for row in own:
        row[other] = 100.0
    next(a for a in rows["attacks"] if a["attack"] == "lbfgs").update(distance=distance, epsilon=budget)
    found = violations(write_lake(tmp_path / "lake", rows))
    assert found["attacks_keep_budget"] == sum(row[distance] > budget + 1e-5 for row in own) > 0


def test_a_failed_untargeted_attack_keeps_the_label(tmp_path: Path) -> None:
    rows = toy_rows(image_ids=tuple(range(30)), untargeted=ATTACKS[-1:], seed=6)
    kept = [row for row in rows["adversarials"] if row["target"] == row["label"]]
    assert {(row["status"], row["attack"]) for row in kept} == {("failed", ATTACKS[-1])}
    assert sum(violations(write_lake(tmp_path / "lake", rows)).values()) == 0


LOST = {
    "an image": ("images", "labels_agree"),
    "a prediction": ("predictions", "attacks_start_correct"),
    "an adversarial example": ("adversarials", "relevance_has_adversarial"),
    "a dataset": ("datasets", "ids_are_known"),
    "a model": ("models", "ids_are_known"),
    "an attack": ("attacks", "ids_are_known"),
}


@pytest.mark.parametrize("what", LOST)
def test_what_refers_to_a_lost_row_is_found(tmp_path: Path, rows: Rows, what: str) -> None:
    table, check = LOST[what]
    lost = first_pair(rows, "success")
    rows[table].remove(
        next(row for row in rows[table] if all(row.get(key, lost[key]) == lost[key] for key in KEYS))
    )
    assert violations(write_lake(tmp_path / "lake", rows))[check] > 0


KEYS = ("dataset", "model", "attack", "target", "image_id")


def test_a_map_of_an_unknown_subject_is_found(tmp_path: Path, rows: Rows) -> None:
    rows["relevance"].append(first_ok(rows, "lbfgs") | {"subject": "noise"})
    found = violations(write_lake(tmp_path / "lake", rows))
    assert (found["relevance_has_adversarial"], found["ids_are_known"]) == (1, 1)


def tied(rows: Rows) -> dict:
    """An ok map with components of equal value."""
    maps = (row for row in rows["relevance"] if row["status"] == "ok")
    return next(row for row in maps if len(np.unique(row["relevance"])) < len(row["relevance"]))


def swap_tied(rows: Rows) -> None:
    row = tied(rows)
    order = np.argsort(row["rank"])
    level = np.flatnonzero(np.diff(row["relevance"][order]) == 0)[0]
    row["rank"][order[[level, level + 1]]] = row["rank"][order[[level + 1, level]]]


RANKS = {
    "no permutation": lambda rows: first_ok(rows)["rank"].__setitem__(0, first_ok(rows)["rank"][1]),
    "beyond the last": lambda rows: first_ok(rows)["rank"].__setitem__(0, len(first_ok(rows)["rank"])),
    "not descending": swap_best_two,
    "ties not by component": swap_tied,
    "none, against the status": lambda rows: first_ok(rows).update(rank=None),
    "ranks, or none, against": lambda rows: first_ok(rows).update(status="zero"),
}


@pytest.mark.parametrize("fault", RANKS)
def test_ranks_out_of_order_are_told_apart(tmp_path: Path, rows: Rows, fault: str) -> None:
    RANKS[fault](rows)
    with open_lake(str(write_lake(tmp_path / "lake", rows))) as lake:
        found = {row["check"]: row for row in lake.check().rows(named=True)}["rank_orders_relevance"]
    assert found["violations"] == 1
    assert ("no permutation" if fault == "beyond the last" else fault) in found["first"]


few_values = st.lists(st.sampled_from([-1.0, -0.25, -0.0, 0.0, 0.5, 1.0]), min_size=1, max_size=6)


@given(st.lists(few_values, min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_rank_order_is_that_of_a_stable_sort(maps: list[list[float]], random) -> None:
    """On maps of any length, with ranks that are right, shuffled, or doubled."""
    ranks = []
    for values in maps:
        rank = stable_rank(np.array(values, np.float32)).tolist()
        kind = random.randrange(4)
        if kind == 1:
            random.shuffle(rank)
        if kind == 2:
            rank[random.randrange(len(rank))] = random.randrange(len(rank) + 2)
        ranks.append(rank)
    found = rank_order(pa.array(maps, pa.list_(pa.float32())), pa.array(ranks, pa.list_(pa.uint32())))
    for values, rank, order in zip(maps, ranks, found.to_pylist(), strict=True):
        assert order == slow_rank_order(values, rank)


def slow_rank_order(values: list[float], rank: list[int]) -> str:
    if sorted(rank) != list(range(len(values))):
        return "no permutation"
    best_first = sorted(range(len(values)), key=lambda component: rank[component])
    if [values[c] for c in best_first] != sorted(values, reverse=True):
        return "not descending"
    right = rank == stable_rank(np.array(values, np.float32)).tolist()
    return "in order" if right else "ties not by component"


def test_ranks_of_another_length_are_none() -> None:
    maps, ranks = (
        pa.array([[1.0, 0.5], [1.0]], pa.list_(pa.float32())),
        pa.array([[0], [0]], pa.list_(pa.uint32())),
    )
    assert rank_order(maps, ranks).to_pylist() == ["no permutation", "in order"]
    assert rank_order(maps.slice(0, 0), ranks.slice(0, 0)).to_pylist() == []
