"""Data inside the page: results as columns of plain JSON values, packed to a tenth of their size."""

from __future__ import annotations

import base64
import gzip
import json
import math
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import polars as pl

EXACT = 2**53
"""The largest whole number up to which a browser, whose numbers are float64, holds every one."""


@dataclass(frozen=True)
class Embedded:
    """One result: its values by column, how many rows, and the columns of vectors that were left out."""

    columns: dict[str, list[Any]]
    rows: int
    left_out: list[str]


def plain_columns(frame: pl.DataFrame) -> Embedded:
    """A result without its columns of vectors (a page of these would weigh tens of megabytes).

    A missing value is null. JSON has no number that is not finite: it is the text NaN, Infinity or
    -Infinity. A whole number beyond 2**53 is a text too. All other numbers are the result's own, as the
    shortest text that gives the same float64.
    """
    left_out = [name for name, dtype in frame.schema.items() if dtype.is_nested() or dtype == pl.Binary]
    columns = {name: [_plain(v) for v in frame[name]] for name in frame.columns if name not in left_out}
    return Embedded(columns, frame.height, left_out)


def packed(value: Any) -> str:
    """The JSON of a value as gzip in base64: a third to a tenth of its text, and without a `<`."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False, default=_as_dict)
    return base64.b64encode(gzip.compress(text.encode("utf-8"), 6, mtime=0)).decode("ascii")


def unpacked(text: str) -> Any:
    """What `packed` was given."""
    return json.loads(gzip.decompress(base64.b64decode(text)))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and abs(value) <= EXACT:
        return value
    return str(value)


def _as_dict(value: Any) -> dict[str, Any]:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} has no JSON")
