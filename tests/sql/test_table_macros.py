"""The views with parameters against NumPy: lakes with ties, zeros, NaN maps, failures and other designs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lakes import ATTACKS, Row, Rows, band_size, toy_rows, with_other_designs, write_lake

from sql.catalog import LakeDatabase, LakeError, open_lake

LEVELS = [0.1, 0.25, 0.5, 0.7, 0.9, 0.99]

LAKES = {
    "4x4x3": lambda: toy_rows(),
    "16x16x3": lambda: toy_rows(shape=(16, 16, 3), image_ids=tuple(range(12)), seed=1),
    "other designs": lambda: with_other_designs(toy_rows(seed=4)),
    "an untargeted attack": lambda: toy_rows(image_ids=tuple(range(20)), untargeted=ATTACKS[-1:], seed=6),
}


@pytest.fixture(scope="module", params=LAKES)
def toy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Rows, LakeDatabase]]:
    rows = LAKES[request.param]()
    with open_lake(str(write_lake(tmp_path_factory.mktemp("lake"), rows))) as lake:
        yield rows, lake


Series = tuple[str, str, str, str]


def compared(rows: Rows) -> dict[Series, list[tuple[Row, Row]]]:
    """(dataset, model, method, attack) -> pairs of ok maps of successes, original and adversarial."""
    maps = {
        tuple(
            row[key] for key in ("dataset", "model", "method", "subject", "explains", "target", "image_id")
        ): row
        for row in rows["relevance"]
        if row["status"] == "ok"
    }
    found: dict[Series, list[tuple[Row, Row]]] = {}
    controls = {row["attack"] for row in rows["attacks"] if row.get("control_of")}
    for pair in (pair for pair in rows["adversarials"] if pair["attack"] not in controls):
        for method in sorted({row["method"] for row in rows["relevance"]}):
            model = (pair["dataset"], pair["model"], method)
            original = maps.get((*model, "original", "label", None, pair["image_id"]))
            adversarial = maps.get((*model, pair["attack"], "target", pair["target"], pair["image_id"]))
            if pair["status"] == "success" and original and adversarial:
                found.setdefault((*model, pair["attack"]), []).append((original, adversarial))
    return dict(sorted(found.items()))


def best(values: np.ndarray, k: int) -> list[int]:
    return np.argsort(-values, kind="stable")[:k].tolist()


def bands(n: int) -> list[tuple[int, int]]:
    return [
        (1, 1),
        (1, n),
        (n, n),
        (2, 7),
        (n // 2, n // 3),
        (band_size(0.01, n), band_size(0.1, n)),
        (n + 5, 3),
    ]


def components_of(rows: Rows) -> int:
    return len(rows["images"][0]["pixels"])


def test_adversarial_places(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    names = ("dataset", "model", "method", "attack", "target", "image_id")
    for k in (1, 5, components_of(rows)):
        expected = {
            (*series, after["target"], after["image_id"]): [
                int(after["rank"][component]) for component in best(before["relevance"], k)
            ]
            for series, pairs in compared(rows).items()
            for before, after in pairs
        }
        frame = lake.query(f"from adversarial_places({k})")
        found = {tuple(row[name] for name in names): row["places"] for row in frame.rows(named=True)}
        assert frame.height == len(expected) > 0
        assert found == expected


def test_topk_overlap_at(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    n = components_of(rows)
    for k, other_k in bands(n):
        frame = lake.query("from topk_overlap_at($k, $other_k)", {"k": k, "other_k": other_k})
        assert frame.columns == [
            "dataset", "model", "method", "attack",
            "original_k", "adversarial_k", "pairs", "overlap", "chance",
        ]  # fmt: skip
        expected = []
        for series, pairs in compared(rows).items():
            shares = [
                len({*best(before["relevance"], k)} & {*best(after["relevance"], other_k)}) / min(k, n)
                for before, after in pairs
            ]
            chance = min(other_k, n) / n
            expected.append(
                (*series, k, other_k, len(pairs), pytest.approx(np.mean(shares), rel=1e-9), chance)
            )
        assert frame.rows() == expected


def test_rank_shift_at(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    for k, other_k in bands(components_of(rows)):
        expected = []
        for series, pairs in compared(rows).items():
            shifts = np.array(
                [
                    after["rank"][component] - before["rank"][component]
                    for before, after in pairs
                    for component in best(before["relevance"], k)
                    if after["rank"][component] < other_k
                ]
            )
            for level in LEVELS if len(shifts) else []:
                figures = [
                    np.quantile(shifts, level), np.quantile(abs(shifts), level),
                    shifts.mean(), abs(shifts).mean(), (shifts == 0).mean(),
                ]  # fmt: skip
                close = [pytest.approx(float(figure), rel=1e-9, abs=1e-12) for figure in figures]
                expected.append((*series, k, other_k, len(shifts), level, *close))
        assert lake.query(f"from rank_shift_at({k}, {other_k})").rows() == expected


def test_the_bands_of_the_paper_come_out_as_in_its_analyses(toy: tuple[Rows, LakeDatabase]) -> None:
    """A share of n components is band_size(share, n) of them."""
    rows, lake = toy
    n = components_of(rows)
    key = ["method", "attack", "original_k", "adversarial_k"]
    table = lake.query(f"select {', '.join(key)}, pairs, overlap, chance from topk_overlap")
    for row in table.rows(named=True):
        bands = f"{row['original_k']}, {row['adversarial_k']}"
        at = lake.query(f"select {', '.join(row)} from topk_overlap_at({bands})").rows(named=True)
        assert [r for r in at if (r["method"], r["attack"]) == (row["method"], row["attack"])] == [
            row | {"overlap": pytest.approx(row["overlap"], rel=1e-12)}
        ]
    levels = "method, attack, level, components, abs_shift, mean_shift, share_unmoved"
    of_band = "where original_band = '10 %' and adversarial_band = '10 %'"
    analysed = lake.query(f"select {levels} from rank_shift_quantiles {of_band}")
    at = lake.query(f"select {levels} from rank_shift_at(band_size(0.1, {n}), band_size(0.1, {n}))")
    assert analysed.height > 0
    for row, other in zip(analysed.rows(), at.rows(), strict=True):
        assert row[:2] == other[:2] and row[2:] == pytest.approx(other[2:], rel=1e-12)


@pytest.mark.parametrize("k", ["0", "-1", "0.1", "1.5", "null"])
def test_a_share_is_not_taken_for_a_number_of_components(toy: tuple[Rows, LakeDatabase], k: str) -> None:
    for call in (f"topk_overlap_at({k}, 1)", f"topk_overlap_at(1, {k})", f"rank_shift_at(1, {k})"):
        with pytest.raises(LakeError, match=r"number of components.*band_size"):
            toy[1].query(f"from {call}")


def test_table_macros_are_empty_on_an_empty_lake(tmp_path: Path, toy: tuple[Rows, LakeDatabase]) -> None:
    (tmp_path / "images").mkdir()
    with open_lake(str(tmp_path)) as bare:
        for macro in ("adversarial_places(3)", "topk_overlap_at(3, 4)", "rank_shift_at(3, 4)"):
            described = [row[:2] for row in toy[1].query(f"describe from {macro}").rows()]
            assert [row[:2] for row in bare.query(f"describe from {macro}").rows()] == described
            assert bare.query(f"from {macro}").height == 0


def test_one_method_is_read_alone(toy: tuple[Rows, LakeDatabase]) -> None:
    _, lake = toy
    for macro in ("topk_overlap_at(3, 4)", "rank_shift_at(3, 4)"):
        plan = lake.query(f"explain analyze from {macro} where method = 'lrp-0'")["explain_value"][0]
        scans = [(int(read), int(of)) for read, of in re.findall(r"Scanning Files: (\d+)/(\d+)", plan)]
        # originals (twice) and adversarial examples; half of the files are of the other method
        assert len(scans) == 3 and all(0 < 2 * read <= of for read, of in scans), plan
