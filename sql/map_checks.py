"""Checks that look at each relevance map by itself, over maps in memory.

These are the checks that read every value of a lake. They take maps batch by batch, so that several of them
share one reading of a file, and what they found can be remembered of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from duckdb.func import ARROW

from sql import package
from sql.schema import connect

MEMORY = "400MB"
BLOCK = 16
"""Maps put in order at a time: 0.5 MB of 3072 components stay near the processor."""

ORDERS = np.array(["in order", "no permutation", "not descending", "ties not by component"])


@dataclass(frozen=True)
class Outcome:
    """How many rows a check of sql/checks found wrong, and one of them as JSON text."""

    check: str
    violations: int
    first: str | None = None


def added(outcomes: Iterable[Outcome]) -> dict[str, Outcome]:
    """Outcomes by check, those of one check over several files as one."""
    sums: dict[str, Outcome] = {}
    for one in outcomes:
        known = sums.get(one.check, Outcome(one.check, 0))
        sums[one.check] = Outcome(one.check, known.violations + one.violations, known.first or one.first)
    return sums


@contextmanager
def map_checks(methods: pa.Table) -> Iterator[MapChecks]:
    """The checks of sql/checks with `Unit: map`; `methods` is the lake's table of that name."""
    with connect(MEMORY, 1) as connection:
        connection.create_function("rank_order", rank_order, ["float[]", "uinteger[]"], "varchar", type=ARROW)
        connection.register("methods", methods)
        yield MapChecks(connection)


class MapChecks:
    """Runs them; made by `map_checks`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def run(self, maps: pa.Table) -> list[Outcome]:
        """What each check finds in these maps: rows of `relevance`, keys included, vectors as lists."""
        self._connection.register("relevance", maps)
        try:
            return [
                Outcome(name, *self._connection.execute(check.violations).fetchall()[0])
                for name, check in package.checks().items()
                if check.is_of_map
            ]
        finally:
            self._connection.unregister("relevance")


def rank_order(relevance: pa.Array, rank: pa.Array) -> pa.Array:
    """Whether ranks put maps in descending order, ties by component; one of ORDERS for each.

    relevance, rank: lists of equal length. In DuckDB's SQL this takes a sort, fifteen times as long.
    """
    relevance, rank = (
        array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array for array in (relevance, rank)
    )
    lengths = [array.value_lengths().unique().to_pylist() for array in (relevance, rank)]
    if len(lengths[0]) == 1 and lengths[0] == lengths[1]:
        shape = (len(relevance), lengths[0][0])
        values, places = (array.flatten().to_numpy(zero_copy_only=False) for array in (relevance, rank))
        return pa.array(ORDERS[_order(values.reshape(shape), places.reshape(shape))])
    rows = range(len(relevance))
    if len(rows) < 2:
        return pa.array(["no permutation" for _ in rows], pa.string())
    return pa.concat_arrays([rank_order(relevance.slice(row, 1), rank.slice(row, 1)) for row in rows])


def _order(values: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Index into ORDERS, int [maps], of values float32 and ranks uint32, [maps, n].

    Values and components are put at their ranks. All places are taken exactly where the ranks are a
    permutation; neighbours that descend, or ascend in component where they are equal, prove the rest.
    """
    maps, n = values.shape
    orders = np.empty(maps, np.int8)
    component = np.broadcast_to(np.arange(n, dtype=np.uint32), (BLOCK, n))
    starts = np.arange(BLOCK, dtype=np.intp)[:, None] * n
    for first in range(0, maps, BLOCK):
        block = slice(first, min(first + BLOCK, maps))
        count = block.stop - first
        places = np.minimum(rank[block], n - 1) + starts[:count]
        at, held = np.full((count, n), n, np.uint32), np.empty((count, n), np.float32)
        at.reshape(-1)[places] = component[:count]
        held.reshape(-1)[places] = values[block]
        falls, level = held[:, :-1] > held[:, 1:], held[:, :-1] == held[:, 1:]
        descending = (falls | level).all(axis=1)
        by_component = (falls | (at[:, :-1] < at[:, 1:])).all(axis=1)
        permuted = (at < n).all(axis=1) & (rank[block] < n).all(axis=1)
        orders[block] = np.select([~permuted, ~descending, ~by_component], [1, 2, 3], 0)
    return orders
