"""Cells of relevance values: their edges, the sums over them, and the values of some, against slow twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from compute import cells
from compute.cells import (
    CellSums,
    RelevanceOutOfRange,
    SumsByCell,
    ValuesOfCells,
    cell_edges,
    cell_of,
)

EVERY, LEAST = cell_edges()
ABOUT_EDGES = np.concatenate([LEAST, np.nextafter(LEAST[1:], np.float32(-2)), [0.0, -0.0, 1e-45, -1e-45]])

VALUES = st.one_of(
    st.floats(-1, 1, width=32),
    st.sampled_from(ABOUT_EDGES.tolist()),
    st.sampled_from([0.0, -0.0, 1.0, -1.0]),
).map(np.float32)
MAPS = arrays.arrays(np.float32, st.tuples(st.integers(0, 4), st.integers(1, 30)), elements=VALUES)


def test_edges_are_the_least_values_of_their_cells() -> None:
    np.testing.assert_array_equal(cell_of(LEAST), EVERY)
    below = cell_of(np.nextafter(LEAST[1:], np.float32(-2)))
    np.testing.assert_array_equal(below, EVERY[:-1])
    assert LEAST[0] == -1 and cell_of(np.ones(1)) == EVERY[-1] and np.all(np.diff(LEAST) > 0)


def test_cells_ascend_and_zero_has_its_own() -> None:
    values = np.sort(ABOUT_EDGES.astype(np.float32))
    assert np.all(np.diff(cell_of(values).astype(int)) >= 0)
    tiny = np.array([-1e-45, -0.0, 0.0, 1e-45], np.float32)
    assert list(np.sign(cell_of(tiny))) == [-1, 0, 0, 1]
    assert not np.any(cell_of(values[values != 0]) == 0)


def slow_sums(values: np.ndarray) -> CellSums:
    """Cell by cell, each spread about the cell's own mean."""
    flat = values.reshape(-1).astype(np.float64)
    of = cell_of(flat)
    groups = [flat[of == cell] + 0.0 for cell in np.unique(of)]
    return CellSums(
        np.unique(of),
        np.array([len(group) for group in groups]),
        np.array([group.sum() for group in groups]),
        np.array([((group - group.mean()) ** 2).sum() for group in groups]),
        np.array([(group**3).sum() for group in groups]),
        np.array([group.min() for group in groups]),
        np.array([group.max() for group in groups]),
    )


def assert_same_sums(found: CellSums, wanted: CellSums) -> None:
    for name in ("cell", "values", "minimum", "maximum"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)
    # sums of distances to a value of the cell keep as many digits as sums of its largest would
    size = np.maximum(np.abs(wanted.minimum), np.abs(wanted.maximum))
    assert np.all(np.abs(found.total - wanted.total) <= 1e-15 * wanted.values * size)
    assert np.all(np.abs(found.cubes - wanted.cubes) <= 1e-14 * wanted.values * size**3)
    # of values that lie close together the mean itself is only known to a unit in its last place
    off = np.abs(found.spread - wanted.spread)
    assert np.all(off <= 1e-9 * wanted.spread + wanted.values * (4e-16 * np.abs(wanted.maximum)) ** 2)


def sums_by_cell(*parts: np.ndarray) -> CellSums:
    sums = SumsByCell()
    for part in parts:
        sums.add(part)
    return sums.sums()


@given(st.lists(MAPS, max_size=4))
def test_sums_are_those_of_each_cell(parts: list[np.ndarray]) -> None:
    everything = np.concatenate([np.empty(0, np.float32), *(part.reshape(-1) for part in parts)])
    assert_same_sums(sums_by_cell(*parts), slow_sums(everything))


def test_every_value_about_an_edge_is_found_in_its_cell() -> None:
    values = np.sort(ABOUT_EDGES.astype(np.float32))
    assert_same_sums(sums_by_cell(values), slow_sums(values))


def test_numbers_that_begin_alike_lie_in_one_cell_or_two_neighbours() -> None:
    first = np.arange(1 << cells.BITS, dtype=np.uint32) << cells.SHIFT
    last = first | np.uint32((1 << cells.SHIFT) - 1)
    ends = np.stack([first, last]).view(np.float32)
    ends = ends[:, np.all(np.abs(ends) <= 1, axis=0)]
    places = np.searchsorted(LEAST, ends, side="right")
    assert ends.size and np.abs(places[0] - places[1]).max() == 1


@pytest.mark.parametrize("wrong", [1.0000001, -1.5, np.nan, np.inf])
def test_values_outside_the_cells_are_an_error(wrong: float) -> None:
    with pytest.raises(RelevanceOutOfRange, match=r"must lie within \[-1, 1\]"):
        sums_by_cell(np.array([0.5, wrong, -0.25], np.float32))


@given(st.lists(MAPS, max_size=4), st.sets(st.sampled_from(EVERY.tolist()), max_size=8), st.booleans())
def test_values_of_cells(parts: list[np.ndarray], others: set[int], with_zero: bool) -> None:
    everything = np.concatenate([np.empty(0, np.float32), *(part.reshape(-1) for part in parts)])
    of = cell_of(everything)
    wanted = np.array(sorted({*np.unique(of)[::2].tolist(), *others, *([0] if with_zero else [])}), int)
    gathered = ValuesOfCells(wanted)
    for part in parts:
        gathered.add(part)
    values, counts = np.unique(everything[np.isin(of, wanted)], return_counts=True)
    found = gathered.counted()
    np.testing.assert_array_equal(found[0], values)
    np.testing.assert_array_equal(found[1], counts)


def test_gathering_counts_equal_values_before_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "HELD", 100)
    rng = np.random.default_rng(3)
    values = (rng.integers(-40, 41, (60, 50)) / 40).astype(np.float32)
    gathered = ValuesOfCells(EVERY)
    for part in values:
        gathered.add(part)
        assert gathered._number <= 200
    expected = np.unique(values, return_counts=True)
    np.testing.assert_array_equal(gathered.counted(), expected)
