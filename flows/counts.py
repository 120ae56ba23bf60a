"""What a piece of work wrote into a lake, so that pieces can be added up, wherever they were done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Counts:
    """Partition files written, those found current, rows written by table, bytes, and seconds of work.

    Results, partial results and what a check remembers count as files, too; they are rows of no table.
    """

    written: int = 0
    found: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    bytes: int = 0
    seconds: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.written + other.written,
            self.found + other.found,
            dict(Counter(self.rows) + Counter(other.rows)),
            self.bytes + other.bytes,
            self.seconds + other.seconds,
        )

    def as_row(self) -> dict[str, Any]:
        """Its facts as JSON values, with rates a second where it took time."""
        facts = {"written": self.written, "found": self.found, "rows": dict(self.rows), "bytes": self.bytes}
        return facts | {"seconds": round(self.seconds, 3)} | self.rates()

    def rates(self) -> dict[str, float]:
        """Pairs, maps and megabytes a second, of what there was any of."""
        done = {
            "pairs_a_second": self.rows.get("adversarials", 0),
            "maps_a_second": self.rows.get("relevance", 0),
            "mb_a_second": self.bytes / 1e6,
        }
        return {name: round(n / self.seconds, 3) for name, n in done.items() if n and self.seconds > 0}


@dataclass
class Step:
    """A step of a run that goes on: what it wrote is added to it piece by piece."""

    name: str
    counts: Counts = field(default_factory=Counts)

    def add(self, counts: Counts) -> None:
        """Count a piece of its work; how long it took is the step's own clock's to say."""
        self.counts += counts
