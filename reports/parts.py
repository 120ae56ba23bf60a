"""What the page is made of: sections of figures, each figure with its sentence and the analysis behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from reports import tables
from reports.names import CONVENTIONS, ORIGINAL
from reports.published import PublishedFigures
from reports.results import StudyFacts
from reports.table import Table

if TYPE_CHECKING:
    import altair as alt

Results = Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class Studied:
    """A study of the page: its results, and the label that tells it from the page's other studies."""

    label: str
    results: Results
    facts: StudyFacts


@dataclass(frozen=True)
class Panel:
    """What one figure shows for one convention (or for all methods): a chart, a table or a text as it is."""

    convention: str = ""
    chart: alt.TopLevelMixin | None = None
    table: Table | None = None
    text: str = ""

    @property
    def title(self) -> str:
        """Name of the convention, or nothing."""
        return CONVENTIONS.get(self.convention, "")


@dataclass(frozen=True)
class Figure:
    """A chart or a table, the sentence that says what it shows, and the analysis it is drawn from, if any.

    A figure without panels has nothing to show; its sentence says why. study: label of the one study that it
    is drawn from; empty: all studies of the page.
    """

    id: str
    title: str
    analysis: str
    sentence: str
    panels: Sequence[Panel] = ()
    study: str = ""


@dataclass(frozen=True)
class Group:
    """Figures of one attack; the heading is empty where the page has a single one."""

    heading: str
    figures: Sequence[Figure]


@dataclass(frozen=True)
class Section:
    """A part of the page with an anchor; `caveat` stands out behind the paragraphs."""

    id: str
    title: str
    paragraphs: Sequence[str] = ()
    groups: Sequence[Group] = field(default_factory=tuple)
    caveat: str = ""


@dataclass(frozen=True)
class Source:
    """What the figures of one attack are made from.

    attack: its id. end: what their ids end with, so that they differ from those of another attack.
    """

    results: Results
    facts: StudyFacts
    published: PublishedFigures
    attack: str
    end: str

    def of_attack(self, analysis: str) -> pl.DataFrame:
        """Rows of the result that are of this attack."""
        return self.results[analysis].filter(pl.col("attack") == self.attack)

    def designed(self, analysis: str, *subjects: str) -> pl.DataFrame:
        """Rows of the paper's design: originals explained for the label, adversarial examples for the target.

        subjects: by default the originals and this attack.
        """
        own = (pl.col("subject") == ORIGINAL) & (pl.col("explains") == "label")
        other = (pl.col("subject") != ORIGINAL) & (pl.col("explains") == "target")
        wanted = pl.col("subject").is_in(subjects or (ORIGINAL, self.attack))
        return self.results[analysis].filter(wanted & (own | other))


def by_convention(frame: pl.DataFrame, panel: Callable[[pl.DataFrame, list[str]], Panel]) -> list[Panel]:
    """One panel a convention; a frame without rows gives none."""
    made = []
    for convention, methods in tables.by_convention(frame["method"]):
        part = panel(frame.filter(pl.col("method").is_in(methods)), methods)
        made.append(Panel(convention, part.chart, part.table))
    return made
