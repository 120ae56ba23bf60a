"""The page's content, a module a section."""

from __future__ import annotations

from collections.abc import Callable

from reports import sentences, tables
from reports.parts import Figure, Group, Panel, Results, Section, Source
from reports.published import PublishedFigures
from reports.results import StudyFacts
from reports.sections import (
    agreement,
    attacks,
    confidence,
    diagnostics,
    distributions,
    maps,
    ranking,
    reading,
    spread,
)

__all__ = ["sections"]


def sections(results: Results, facts: StudyFacts, published: PublishedFigures) -> list[Section]:
    """All sections in the order of the page."""
    results = dict(results) | {"attack_overview": facts.in_order(results["attack_overview"])}
    ids = results["attack_overview"]["attack"].to_list()
    build: tuple[tuple[str, str, tuple[Callable[[Source], list[Figure]], ...]], ...] = (
        ("attacks", "Attacks", (attacks.figures, confidence.figures)),
        ("maps", "Relevance maps", (maps.figures,)),
        ("distributions", "Distributions of relevance", (distributions.figures, spread.figures)),
        ("ranking", "Ranking", (ranking.figures, agreement.figures)),
    )
    made = [_in_short(results, facts), _study(results, facts)]
    for name, title, parts in build:
        groups = [
            Group(
                f"Attack {attack}" if len(ids) > 1 else "",
                [
                    one
                    for figures in parts
                    for one in figures(Source(results, facts, published, attack, f"-{i}"))
                ],
            )
            for i, attack in enumerate(ids)
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
    return [*made, Section("reading", "How to read this", (), [Group("", reading.figures(results, facts))])]


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
    return Section(
        "study", "Study", paragraphs, [Group("", [scope, diagnostics.figure(results["map_diagnostics"])])]
    )
