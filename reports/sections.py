"""The page's content: sections of figures, each figure with its sentence and the analysis behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from reports import sentences, tables
from reports.names import CONVENTIONS, ORIGINAL
from reports.published import PublishedFigures
from reports.results import StudyFacts
from reports.tables import Table

if TYPE_CHECKING:
    import altair as alt

Results = Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class Panel:
    """What one figure shows for one convention (or for all methods): a chart or a table."""

    convention: str = ""
    chart: alt.TopLevelMixin | None = None
    table: Table | None = None

    @property
    def title(self) -> str:
        """Name of the convention, or nothing."""
        return CONVENTIONS.get(self.convention, "")


@dataclass(frozen=True)
class Figure:
    """A chart or a table, the sentence that says what it shows, and the analysis it is drawn from.

    A figure without panels has nothing to show; its sentence says why.
    """

    id: str
    title: str
    analysis: str
    sentence: str
    panels: Sequence[Panel] = ()


@dataclass(frozen=True)
class Group:
    """Figures of one attack; the heading is empty where the study has a single attack."""

    heading: str
    figures: Sequence[Figure]


@dataclass(frozen=True)
class Section:
    """A part of the page with an anchor."""

    id: str
    title: str
    paragraphs: Sequence[str] = ()
    groups: Sequence[Group] = field(default_factory=tuple)


def sections(results: Results, facts: StudyFacts, published: PublishedFigures) -> list[Section]:
    """All sections in the order of the page."""
    results = dict(results) | {"attack_overview": facts.in_order(results["attack_overview"])}
    attacks = results["attack_overview"]["attack"].to_list()
    build: tuple[tuple[str, str, Callable[..., list[Figure]]], ...] = (
        ("attacks", "Attacks", _attack_figures),
        ("maps", "Relevance maps", _map_figures),
        ("distributions", "Distributions of relevance", _distribution_figures),
        ("ranking", "Ranking", _ranking_figures),
    )
    made = [_in_short(results, facts), _study(results, facts)]
    for name, title, figures in build:
        groups = [
            Group(
                f"Attack {attack}" if len(attacks) > 1 else "",
                figures(results, facts, published, attack, f"-{i}"),
            )
            for i, attack in enumerate(attacks)
        ]
        intro = () if groups else ("The study holds no attack.",)
        if name == "attacks" and groups:
            everything = Figure(
                "attack-overview",
                "Attacks in numbers",
                "attack_overview",
                sentences.ATTACK_NUMBERS,
                [Panel(table=tables.attack_table(results["attack_overview"], published))],
            )
            groups.insert(0, Group("", [everything]))
        made.append(Section(name, title, intro, groups))
    return made


def _in_short(results: Results, facts: StudyFacts) -> Section:
    said = sentences.in_short(results["attack_overview"], results["topk_overlap"])
    overlap = facts.in_order(results["topk_overlap"])
    compared = overlap["attack"].n_unique() > 1
    figures = []
    if not overlap.is_empty():
        table = tables.summary_of_attacks(overlap) if compared else tables.summary_table(overlap)
        figures.append(
            Figure(
                "summary",
                "Overlap of the top 1 % and 10 %" + (" by attack" if compared else ""),
                "topk_overlap",
                "Share of an original's most relevant components that are again among the most relevant "
                "of its adversarial example, mean over pairs.",
                [Panel(table=table)],
            )
        )
    return Section(
        "in-short",
        "In short",
        [*said, sentences.caveat(results["attack_overview"], results["relevance_moments"])],
        [Group("", figures)],
    )


def _study(results: Results, facts: StudyFacts) -> Section:
    overview, moments = results["study_overview"], results["relevance_moments"]
    scope = Figure(
        "scope",
        "What was run",
        "study_overview",
        sentences.scope(moments),
        [Panel(table=tables.overview_table(overview))],
    )
    paragraphs = [sentences.conventions(moments["method"].to_list())] if not moments.is_empty() else []
    return Section("study", "Study", paragraphs, [Group("", [scope])])


def _attack_figures(
    results: Results, facts: StudyFacts, published: PublishedFigures, attack: str, end: str
) -> list[Figure]:
    from reports.charts.attacks import gallery_amplification, pair_gallery, success_matrix

    summary, pairs = _of(results["attack_summary"], attack), _of(results["pair_gallery"], attack)
    failed = _of(results["attack_failures"], attack)
    # of an untargeted attack that failed the target is the label: no end to show
    ended = summary.filter(pl.col("label") != pl.col("target"))
    matrix = [] if ended.is_empty() else [Panel(chart=success_matrix(ended, facts))]
    aimed = summary.is_empty() or bool(summary["targeted"].all())
    shown = [] if pairs.is_empty() else [Panel(chart=pair_gallery(pairs, facts))]
    said = (
        sentences.gallery(pairs, gallery_amplification(pairs))
        if shown
        else "No pair succeeded: there is nothing to show."
    )
    figures = [
        Figure(
            f"success{end}",
            "Success by class pair" if aimed else "Classes reached",
            "attack_summary",
            sentences.matrix(ended if aimed else summary, facts),
            matrix,
        )
    ]
    if not failed.is_empty():
        panel = Panel(table=tables.failure_table(failed))
        why = sentences.failures(failed)
        figures.append(Figure(f"failures{end}", "Why attacks failed", "attack_failures", why, [panel]))
    title = "Originals and their adversarial examples (Fig. 3)"
    return [*figures, Figure(f"pairs{end}", title, "pair_gallery", said, shown)]


def _map_figures(
    results: Results, facts: StudyFacts, published: PublishedFigures, attack: str, end: str
) -> list[Figure]:
    from reports.charts.maps import map_gallery

    shown, pairs = _of(results["map_gallery"], attack), _of(results["pair_gallery"], attack)
    title = "Maps of originals and adversarial examples (Figs. 5 and 6)"
    if shown.is_empty():
        return [Figure(f"maps{end}", title, "map_gallery", "No successful pair has maps to show.")]
    panels = _by_convention(shown, lambda part, _: Panel(chart=map_gallery(part, pairs, facts)))
    return [Figure(f"maps{end}", title, "map_gallery", sentences.maps(shown), panels)]


def _distribution_figures(
    results: Results, facts: StudyFacts, published: PublishedFigures, attack: str, end: str
) -> list[Figure]:
    from reports.charts.distributions import relevance_histogram

    moments = _designed(results["relevance_moments"], ORIGINAL, attack)
    histogram = _designed(results["relevance_histogram"], ORIGINAL, attack)
    adversarial = _designed(results["relevance_quantiles"], attack)
    originals = _designed(results["relevance_quantiles"], ORIGINAL)
    anything = histogram.filter(pl.col("share") > 0)
    figures = [
        Figure(
            f"histogram{end}",
            "Histograms of relevance",
            "relevance_histogram",
            sentences.histograms(moments),
            _by_convention(anything, lambda part, _: Panel(chart=relevance_histogram(part))),
        )
    ]
    for name, title, frame, subject in (
        ("adversarial", "Quantiles of relevance, adversarial examples (Table 3)", adversarial, "adversarial"),
        ("original", "Quantiles of relevance, originals (Table 4)", originals, ORIGINAL),
    ):
        figures.append(
            Figure(
                f"quantiles-{name}{end}",
                title,
                "relevance_quantiles",
                sentences.quantiles(frame, published.present),
                _by_convention(
                    frame,
                    lambda part, m, s=subject: Panel(table=tables.quantile_table(part, m, s, published)),
                ),
            )
        )
    misprints = tables.misprint_table(pl.concat([originals, adversarial]), published)
    if misprints.rows:
        title = "Printed figures that look like misprints"
        panel = Panel(table=misprints)
        figures.append(Figure(f"misprints{end}", title, "relevance_quantiles", sentences.MISPRINTS, [panel]))
    figures.append(
        Figure(
            f"moments{end}",
            "Moments and shares",
            "relevance_moments",
            sentences.moments(moments),
            _by_convention(
                moments, lambda part, m: Panel(table=tables.moments_table(part, m, attack, published))
            ),
        )
    )
    return figures


def _ranking_figures(
    results: Results, facts: StudyFacts, published: PublishedFigures, attack: str, end: str
) -> list[Figure]:
    from reports.charts.ranking import overlap_dots, rank_shift_histograms

    overlap, shift = _of(results["topk_overlap"], attack), _of(results["rank_shift"], attack)
    quantiles = _of(results["rank_shift_quantiles"], attack)
    said = sentences.overlap(overlap)
    return [
        Figure(
            f"overlap{end}",
            "Overlap of the most relevant components",
            "topk_overlap",
            said,
            _by_convention(overlap, lambda part, m: Panel(chart=overlap_dots(part, published.overlaps(m)))),
        ),
        Figure(
            f"overlap-table{end}",
            "Overlap in numbers (Table 5)",
            "topk_overlap",
            sentences.OVERLAP_TABLE + (f" {sentences.COMPARED_POINTS}" if published.present else ""),
            _by_convention(overlap, lambda part, m: Panel(table=tables.overlap_table(part, m, published))),
        ),
        Figure(
            f"shift{end}",
            "Histograms of the rank shift (Figs. 7 to 9)",
            "rank_shift",
            sentences.shift(quantiles),
            _by_convention(
                shift.filter(pl.col("share") > 0), lambda part, _: Panel(chart=rank_shift_histograms(part))
            ),
        ),
        Figure(
            f"shift-quantiles{end}",
            "Quantiles of the absolute rank shift",
            "rank_shift_quantiles",
            sentences.SHIFT_TABLE,
            _by_convention(
                quantiles, lambda part, m: Panel(table=tables.rank_shift_table(part, m, published))
            ),
        ),
    ]


def _by_convention(frame: pl.DataFrame, panel: Callable[[pl.DataFrame, list[str]], Panel]) -> list[Panel]:
    """One panel a convention; a frame without rows gives none."""
    made = []
    for convention, methods in tables.by_convention(frame["method"]):
        part = panel(frame.filter(pl.col("method").is_in(methods)), methods)
        made.append(Panel(convention, part.chart, part.table))
    return made


def _of(frame: pl.DataFrame, attack: str) -> pl.DataFrame:
    return frame.filter(pl.col("attack") == attack)


def _designed(frame: pl.DataFrame, *subjects: str) -> pl.DataFrame:
    """Rows of the paper's design: originals explained for the label, adversarial examples for the target."""
    own = (pl.col("subject") == ORIGINAL) & (pl.col("explains") == "label")
    other = (pl.col("subject") != ORIGINAL) & (pl.col("explains") == "target")
    return frame.filter(pl.col("subject").is_in(subjects) & (own | other))
