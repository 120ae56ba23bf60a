"""The paper's printed figures, as the report sets them beside a study's own."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from reports.names import BAND_PAIRS, ORIGINAL, base_method, convention

KEYS = ("statistic", "method", "subject", "original_band", "adversarial_band", "level")

ATTACK_FIGURES = {
    "images": ("correctly_classified", "original", None),
    "successes": ("adversarial_examples", "adversarial", None),
    "target_probability_q001": ("target_probability_quantile", "adversarial", 0.001),
    "target_probability_q005": ("target_probability_quantile", "adversarial", 0.005),
    "target_probability_q500": ("target_probability_quantile", "adversarial", 0.5),
}
"""Columns of attack_overview to the statistic, subject and level under which they are printed."""


@dataclass(frozen=True)
class Misprint:
    """A printed quantile of relevance that looks like a misprint, what was probably meant, and why."""

    source: str
    method: str
    subject: str
    level: float
    printed: float
    likely: float
    reason: str


class PublishedFigures:
    """Printed figures by what they are of; every question is answered with None where nothing was printed.

    Figures of a method answer for the published convention alone: the paper knows no other.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        """`rows` have the columns of sql/published: statistic, method (without convention), subject,
        original_band, adversarial_band, level, value, likely and note; what does not apply is None."""
        rows = list(rows)
        self._figures = {tuple(row.get(key) for key in KEYS): float(row["value"]) for row in rows}
        self.misprints = [
            Misprint(
                source=row["source"],
                method=row["method"],
                subject=row["subject"],
                level=row["level"],
                printed=row["value"],
                likely=row["likely"],
                reason=row["note"],
            )
            for row in rows
            if row.get("likely") is not None and row["statistic"] == "relevance_quantile"
        ]

    @property
    def present(self) -> bool:
        """Whether there is any figure."""
        return bool(self._figures)

    def attack(self, column: str) -> float | None:
        """A column of attack_overview."""
        statistic, subject, level = ATTACK_FIGURES.get(column, (column, "adversarial", None))
        return self._figures.get((statistic, None, subject, None, None, level))

    def classifier(self, statistic: str) -> float | None:
        """Of the classifier on the test images: `correctly_classified`, `images` or `accuracy`."""
        return self._figures.get((statistic, None, ORIGINAL, None, None, None))

    def probabilities(self) -> pl.DataFrame:
        """All printed quantiles of the target's probability: level, value."""
        found = [
            (key[-1], value)
            for key, value in self._figures.items()
            if key[0] == "target_probability_quantile" and key[-1] is not None
        ]
        return pl.DataFrame(sorted(found), schema={"level": pl.Float64, "value": pl.Float64}, orient="row")

    def near_zero(self, subject: str, column: str) -> float | None:
        """A column of relevance_near_zero, over all methods; subject is `original` or `adversarial`."""
        return self._figures.get((column, None, subject, None, None, None))

    def quantile(self, method: str, subject: str, level: float) -> float | None:
        """Quantile of relevance (Tables 3 and 4); subject is `original` or `adversarial`."""
        return self._of(method, "relevance_quantile", subject=subject, level=level)

    def moment(self, method: str, subject: str, column: str) -> float | None:
        """A column of relevance_moments."""
        return self._of(method, column, subject=subject)

    def overlap(self, method: str, original_band: str, adversarial_band: str) -> float | None:
        """Overlap of the most relevant components (Table 5)."""
        return self._of(method, "overlap", bands=(original_band, adversarial_band))

    def identical(self, method: str) -> float | None:
        """Share of pairs whose most relevant component is the same."""
        return self._of(method, "identical", bands=("most relevant", "most relevant"))

    def rank_shift(
        self, method: str, original_band: str, adversarial_band: str, level: float
    ) -> float | None:
        """Quantile of |rank shift|."""
        return self._of(method, "abs_shift_quantile", bands=(original_band, adversarial_band), level=level)

    def mean_shift(self, method: str, original_band: str, adversarial_band: str) -> float | None:
        """Mean of the signed rank shift."""
        return self._of(method, "mean_shift", bands=(original_band, adversarial_band))

    def overlaps(self, methods: Iterable[str]) -> pl.DataFrame:
        """All printed overlaps of these methods: method, original_band, adversarial_band, value."""
        rows = [(m, *pair, self.overlap(m, *pair)) for m in methods for pair in BAND_PAIRS]
        schema = {
            "method": pl.String,
            "original_band": pl.String,
            "adversarial_band": pl.String,
            "value": pl.Float64,
        }
        return pl.DataFrame([row for row in rows if row[3] is not None], schema=schema, orient="row")

    def _of(
        self,
        method: str,
        statistic: str,
        subject: str | None = None,
        bands: tuple[str | None, str | None] = (None, None),
        level: float | None = None,
    ) -> float | None:
        if convention(method) != "published":
            return None
        return self._figures.get((statistic, base_method(method), subject, *bands, level))


def published_figures() -> PublishedFigures:
    """The figures of the paper, as the sql room keeps them."""
    from sql.package import published_figures as csv_text

    bands = {"original_band": pl.String, "adversarial_band": pl.String}
    frame = pl.read_csv(
        io.StringIO(csv_text()),
        schema_overrides=bands | dict.fromkeys(("level", "value", "likely"), pl.Float64),
    )
    return PublishedFigures(frame.iter_rows(named=True))
