"""What every oracle stands on: the registry, the comparison, and the rows of a lake in groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest
from lakes import Row, Rows

Oracle = Callable[[Rows], list[Row]]

ORACLES: dict[str, Oracle] = {}
"""Every oracle by the name of its analysis."""


def oracle(function: Oracle) -> Oracle:
    """Enter an oracle into the registry."""
    ORACLES[function.__name__] = function
    return function


@dataclass(frozen=True)
class Near:
    """A figure that rounding reaches: `within` is what a few rounding errors of its terms amount to."""

    value: float
    within: float


def assert_same(name: str, found: pl.DataFrame, expected: list[Row]) -> None:
    """Same columns, same rows in the same order: whole numbers, texts and vectors exactly, floats to 1e-9."""
    assert found.height == len(expected), f"{name}: {found.height} rows, expected {len(expected)}"
    if expected:
        assert found.columns == list(expected[0])
    for found_row, row in zip(found.rows(named=True), expected, strict=True):
        for column, value in row.items():
            where = f"{name}.{column} of { ({k: v for k, v in row.items() if isinstance(v, str | int)}) }"
            same(found_row[column], value, where)


def same(found: Any, value: Any, where: str) -> None:
    """One figure as expected, which is a plain value, NumPy's, or a Near."""
    if isinstance(value, list | np.ndarray):
        np.testing.assert_array_equal(found, np.asarray(value), err_msg=where)
    elif isinstance(value, Near):
        assert found == pytest.approx(value.value, rel=1e-9, abs=value.within), where
    elif isinstance(value, float | np.floating):
        assert found == pytest.approx(float(value), rel=1e-9, abs=1e-15, nan_ok=True), where
    elif isinstance(value, bool | np.bool_):
        assert found is bool(value), where
    elif isinstance(value, int | np.integer):
        assert found == value and isinstance(found, int), where
    else:
        assert found == value, where


def grouped(rows: list[Row], *names: str) -> list[tuple[Row, list[Row]]]:
    """(key, rows) of each group, in order; a key is a row of `names`."""
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row)
    return [(dict(zip(names, key, strict=True)), groups[key]) for key in sorted(groups)]


def as_double(rows: list[Row], name: str) -> np.ndarray:
    """One column in float64."""
    return np.array([row[name] for row in rows], np.float64)


def quantile(rows: list[Row], name: str, level: float) -> float | None:
    """Quantile of a column, linear interpolation; null of no rows."""
    return float(np.quantile(as_double(rows, name), level)) if rows else None


def share(flags: list[Any] | np.ndarray) -> float | None:
    """Share of those that are true; null of none."""
    return float(np.mean(flags)) if len(flags) else None


def successes_of(rows: list[Row]) -> list[Row]:
    """The attacked pairs that succeeded."""
    return [row for row in rows if row["status"] == "success"]


def attacked_of(rows: Rows) -> list[Row]:
    """What attacks made, without controls."""
    controls = {row["attack"] for row in rows["attacks"] if row.get("control_of")}
    return [row for row in rows["adversarials"] if row["attack"] not in controls]
