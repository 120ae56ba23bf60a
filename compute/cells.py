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


def sums_by_cell(values: np.ndarray) -> CellSums:
    """Sums over each cell of values, float32 of any shape, from -1 to 1; float64, counts int64.

    Sums are of distances to the least value of the cell, which keeps the digits of a spread about the mean.
    Raises RelevanceOutOfRange for a value outside [-1, 1].
    """
    ascending = np.sort(values, axis=None)
    cells, least = cell_edges()
    if ascending.size and not (ascending[0] >= -1 and ascending[-1] <= 1):
        raise RelevanceOutOfRange(
            f"relevance from {ascending[0]} to {ascending[-1]}; it must lie within [-1, 1]"
        )
    starts = np.searchsorted(ascending, least)
    counts = np.diff(starts, append=ascending.size)
    there = counts > 0
    starts, counts = starts[there], counts[there]
    minimum = ascending[starts].astype(np.float64) + 0.0  # no -0.0
    maximum = ascending[starts + counts - 1].astype(np.float64) + 0.0
    distance = ascending.astype(np.float64)
    distance -= np.repeat(minimum, counts)
    power, sums = np.ones(1), []
    for _ in range(3):
        power = power * distance
        sums.append(np.add.reduceat(power, starts) if starts.size else power)
    once, squares, cubes = sums
    return CellSums(
        cells[there],
        counts,
        once + counts * minimum,
        np.maximum(squares - once**2 / counts, 0),
        cubes + 3 * minimum * squares + 3 * minimum**2 * once + counts * minimum**3,
        minimum,
        maximum,
    )


def merged(sums: CellSums) -> CellSums:
    """Sums over each cell of parts put together, in which cells recur.

    Spreads as Chan, Golub and LeVeque (1983, Algorithms for computing the sample variance, equation 2.1).
    """
    order = np.argsort(sums.cell, kind="stable")
    cell, starts = np.unique(sums.cell[order], return_index=True)
    parts = CellSums(*(column[order] for column in vars(sums).values()))
    if not starts.size:
        return parts

    def added(column: np.ndarray) -> np.ndarray:
        return np.add.reduceat(column, starts)

    values, total = added(parts.values), added(parts.total)
    common = np.repeat(total / values, np.diff(starts, append=len(order)))
    spread = added(parts.spread + parts.values * (parts.total / parts.values - common) ** 2)
    minimum, maximum = np.minimum.reduceat(parts.minimum, starts), np.maximum.reduceat(parts.maximum, starts)
    return CellSums(cell, values, total, spread, added(parts.cubes), minimum, maximum)


class ValuesOfCells:
    """Gathers the values that lie in some cells, equal ones counted together."""

    def __init__(self, cells: np.ndarray) -> None:
        """cells: int [c], those that are wanted."""
        every, least = cell_edges()
        self._is_wanted = np.isin(every, cells)
        self._every = every
        # A float32's upper half tells nearly which cell it is in: sign, exponent and 7 bits.
        first, last = _ordinal(least), np.append(_ordinal(least[1:]) - 1, _ordinal(np.float32(1)))
        self._upper_half = np.zeros(1 << 16, bool)
        for low, high in zip(first[self._is_wanted], last[self._is_wanted], strict=True):
            self._mark(int(low), int(high))
        self.held: list[tuple[np.ndarray, np.ndarray]] = []
        self._number = 0

    def _mark(self, low: int, high: int) -> None:
        if low <= 0 <= high:  # -0.0 too
            self._upper_half[0x8000] = True
        if high >= 0:
            self._upper_half[max(low, 0) >> 16 : (high >> 16) + 1] = True
        if low < 0:
            self._upper_half[0x8000 + (-min(high, 0) >> 16) : 0x8000 + (-low >> 16) + 1] = True

    def add(self, values: np.ndarray) -> None:
        """Values, float32 of any shape, from -1 to 1."""
        values = np.ascontiguousarray(values).reshape(-1)
        near = values[self._upper_half.take(values.view(np.uint32) >> np.uint32(16))]
        place = np.searchsorted(self._every, cell_of(near))
        found = np.unique(near[self._is_wanted[place]] + np.float32(0), return_counts=True)
        self.held.append(found)
        self._number += len(found[0])
        if self._number > HELD:
            self.held = [self.counted()]
            self._number = min(len(self.held[0][0]), HELD // 2)

    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        """The values in these cells, float32 [v], ascending, and how often each occurs, int64 [v]."""
        return counted_together([self])


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
