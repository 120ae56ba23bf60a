"""Relevance values by cell: sums over each cell, and the values of a few cells.

A cell is a range of values, see `cell_of`; cells ascend with their values. Sums over cells are what
histograms, moments and the first pass of exact quantiles are made from, and the values of the cells that hold
the wanted quantiles are their second pass: selection in two passes over data that is not held (Munro and
Paterson 1980, Selection and sorting with limited storage, section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from compute.compiled import compiled

HELD = 4_000_000
"""Values that are held before equal ones are counted together."""


class RelevanceOutOfRange(ValueError):
    """A value that no scaled map holds."""


def cell_of(values: np.ndarray) -> np.ndarray:
    """Cells, int16 of the same shape, of float32 or float64 values from -1 to 1.

    The macro relevance_cell of sql/macros/cells.sql, operation by operation, and explained there.
    """
    value = np.asarray(values, np.float64)
    size = np.abs(value)
    cell = value / (size + 0.01) * 1105.5
    cell += value / (size + 0.00001) * 1010.0
    cell += np.floor(value * 40)
    cell += np.ceil(value * 40)
    return np.rint(cell, out=cell).astype(np.int16)


@cache
def cell_edges() -> tuple[np.ndarray, np.ndarray]:
    """The cells of float32 values from -1 to 1, int16 [c], ascending; the least value of each, float32 [c].

    Found by bisection among the float32 numbers, which ascend with the integers that their bits spell.
    """
    last = int(cell_of(np.ones(1))[0])
    cells = np.arange(-last, last + 1)
    low = np.full(len(cells), _ordinal(np.float32(-1)) - 1)
    high = np.full(len(cells), _ordinal(np.float32(1)))
    while np.any(high - low > 1):
        middle = (low + high) // 2
        reached = cell_of(_value(middle)) >= cells
        high, low = np.where(reached, middle, high), np.where(reached, low, middle)
    least = _value(high)
    is_there = cell_of(least) == cells
    return cells[is_there].astype(np.int16), least[is_there]


def _ordinal(value: np.ndarray | np.float32) -> np.ndarray:
    """Place among the float32 numbers, 0 for 0."""
    bits = np.asarray(value, np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _value(ordinal: np.ndarray) -> np.ndarray:
    """The float32 number at a place among them."""
    size = np.abs(ordinal).astype(np.int32).view(np.float32)
    return np.where(ordinal < 0, -size, size)


BITS = 18
"""Sign, exponent and 9 digits of a float32: numbers that share them lie in one cell or in two neighbours."""

SHIFT = np.uint32(32 - BITS)


@cache
def _guide() -> tuple[np.ndarray, np.ndarray]:
    """What finds the cell of a value at once, see `_place`.

    Of each number that BITS bits spell the place in `cell_edges` of the least value that begins with them,
    int16 [2^BITS] (beyond [-1, 1] it does not matter); and the least value of each cell, inf behind the last.
    """
    _, least = cell_edges()
    first = np.arange(1 << BITS, dtype=np.uint32) << SHIFT
    bits = np.where(first >> 31, first | ((1 << SHIFT) - 1), first).astype(np.uint32)
    with np.errstate(invalid="ignore"):
        lowest = np.nan_to_num(bits.view(np.float32), nan=-1)
    place = np.clip(np.searchsorted(least, lowest, side="right") - 1, 0, len(least) - 1)
    return place.astype(np.int16), np.append(least, np.float32(np.inf))


@compiled
def _place(value, bits, guide, least):
    """Place in `cell_edges` of a value from -1 to 1."""
    place = np.intp(guide[bits >> SHIFT])
    return place + (least[place + 1] <= value)


@dataclass(frozen=True)
class CellSums:
    """Of each cell that holds a value, [c]: columns of sql/partials/value_counts.sql."""

    cell: np.ndarray
    values: np.ndarray
    total: np.ndarray
    spread: np.ndarray
    cubes: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray


class SumsByCell:
    """Adds up values by cell."""

    def __init__(self) -> None:
        cells = len(cell_edges()[0])
        self._counts = np.zeros(cells, np.int64)
        self._sums = np.zeros((cells, 6))

    def add(self, values: np.ndarray) -> None:
        """Values, float32 of any shape, from -1 to 1; RelevanceOutOfRange where one is not."""
        values = np.ascontiguousarray(values, np.float32).reshape(-1)
        wrong = _add_up(values, values.view(np.uint32), *_guide(), self._counts, self._sums)
        if wrong >= 0:
            raise RelevanceOutOfRange(f"a relevance of {values[wrong]}; it must lie within [-1, 1]")

    def sums(self) -> CellSums:
        """Of all values added; float64, counts int64."""
        [there] = np.nonzero(self._counts)
        counts = self._counts[there]
        first, minimum, maximum, once, squares, cubes = self._sums[there].T
        return CellSums(
            cell_edges()[0][there],
            counts,
            once + counts * first,
            np.maximum(squares - once**2 / counts, 0),
            cubes + 3 * first * squares + 3 * first**2 * once + counts * first**3,
            minimum,
            maximum,
        )


@compiled
def _add_up(values, bits, guide, least, counts, sums):
    """Add values to what each cell holds; where the first stands that no cell holds, or -1.

    sums: of each cell its first value, its minimum and maximum, and the sums of distances to the first, of
    their squares and cubes, which keeps the digits of a spread about the mean.
    """
    for i in range(len(values)):
        if not (values[i] >= -1 and values[i] <= 1):
            return i
        value = np.float64(values[i]) + 0.0  # no -0.0
        place = _place(values[i], bits[i], guide, least)
        of_cell = sums[place]
        if counts[place] == 0:
            of_cell[:3] = value
        counts[place] += 1
        if value < of_cell[1]:
            of_cell[1] = value
        elif value > of_cell[2]:
            of_cell[2] = value
        distance = value - of_cell[0]
        of_cell[3] += distance
        of_cell[4] += distance * distance
        of_cell[5] += distance * distance * distance
    return -1


class ValuesOfCells:
    """Gathers the values that lie in some cells, equal ones counted together."""

    def __init__(self, cells: np.ndarray) -> None:
        """cells: int [c], those that are wanted."""
        self._is_wanted = np.isin(cell_edges()[0], cells)
        self.held: list[tuple[np.ndarray, np.ndarray]] = []
        self._number = 0

    def add(self, values: np.ndarray) -> None:
        """Values, float32 of any shape, from -1 to 1."""
        values = np.ascontiguousarray(values, np.float32).reshape(-1)
        found = _of_cells(values, values.view(np.uint32), *_guide(), self._is_wanted)
        self.held.append(np.unique(found, return_counts=True))
        self._number += len(self.held[-1][0])
        if self._number > HELD:
            self.held = [self.counted()]
            self._number = min(len(self.held[0][0]), HELD // 2)

    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        """The values in these cells, float32 [v], ascending, and how often each occurs, int64 [v]."""
        return counted_together([self])


@compiled
def _of_cells(values, bits, guide, least, is_wanted):
    """The values in wanted cells, float32 [v], 0.0 for -0.0."""
    found = np.empty(len(values), np.float32)
    number = 0
    for i in range(len(values)):
        if is_wanted[_place(values[i], bits[i], guide, least)]:
            found[number] = values[i] + np.float32(0)
            number += 1
    return found[:number]


def counted_together(parts: Sequence[ValuesOfCells]) -> tuple[np.ndarray, np.ndarray]:
    """The same of the values that several have gathered."""
    held = [one for part in parts for one in part.held]
    if not held:
        return np.empty(0, np.float32), np.empty(0, np.int64)
    values, counts = (np.concatenate(column) for column in zip(*held, strict=True))
    order = np.argsort(values, kind="stable")
    values, counts = values[order], counts[order]
    [starts] = np.nonzero(np.append(True, values[1:] != values[:-1])[: len(values)])
    return values[starts], np.add.reduceat(counts, starts) if starts.size else counts
