"""The page's content, a module a section."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import polars as pl

from reports import sentences, study_tables, tables
from reports.names import NO_BREAK
from reports.parts import Figure, Group, Panel, Section, Source, Studied
from reports.published import PublishedFigures
from reports.sections import (
    agreement,
    attacks,
    confidence,
    decision,
    diagnostics,
    distributions,
    maps,
    ranking,
    reading,
    spread,
)
from reports.sections.controls import jump_sentence, sanity_sentence

__all__ = ["sections"]

PARTS: tuple[tuple[str, str, tuple[Callable[[Source], list[Figure]], ...]], ...] = (
    ("decision", "Is it the decision?", (decision.figures,)),
    ("attacks", "Attacks", (attacks.figures, confidence.figures)),
    ("maps", "Relevance maps", (maps.figures,)),
    ("distributions", "Distributions of relevance", (distributions.figures, spread.figures)),
    ("ranking", "Ranking", (ranking.figures, agreement.figures)),
)
"""Sections whose figures are made for each attack: id, title and what makes the figures."""


def sections(studies: Sequence[Studied], published: PublishedFigures) -> list[Section]:
    """All sections in the order of the page."""
    sources = _sources(studies, published)
    made = [_in_short(studies), _study(studies, published)]
    for name, title, parts in PARTS:
        groups = [
            Group(heading, [replace(one, study=label) for figures in parts for one in figures(source)])
            for heading, label, source in sources
        ]
        if name == "attacks" and groups:
            overview = _together(studies, "attack_overview")
            everything = Figure(
                "attack-overview",
                "Attacks in numbers",
                "attack_overview",
                sentences.ATTACK_NUMBERS,
                [Panel(table=study_tables.attack_table(overview, published))],
            )
            groups.insert(0, Group("", [everything]))
        paragraphs, caveat = ((), "") if groups else (("The study holds no attack.",), "")
        if name == "decision" and any(decision.is_controlled(decision.rows_of(s)) for _, _, s in sources):
            paragraphs, caveat = (decision.INTRODUCTION,), decision.LIMITS
        made.append(Section(name, title, paragraphs, groups, caveat))
    first = studies[0]
    last = [replace(one, study=first.label) for one in reading.figures(first.results, first.facts)]
    return [*made, Section("reading", "How to read this", (), [Group("", last)])]


def _sources(studies: Sequence[Studied], published: PublishedFigures) -> list[tuple[str, str, Source]]:
    """Heading, label of the study and source of every attack; ids of figures end with its number."""
    made: list[tuple[str, str, Source]] = []
    for study in studies:
        results = dict(study.results)
        results["attack_overview"] = study.facts.in_order(results["attack_overview"])
        ids = results["attack_overview"]["attack"].to_list()
        for attack in ids:
            parts = [f"Study {study.label}"] * (len(studies) > 1) + [f"Attack {attack}"] * (len(ids) > 1)
            source = Source(results, study.facts, published, attack, f"-{len(made)}")
            made.append((", ".join(parts), study.label, source))
    return made


def _together(studies: Sequence[Studied], analysis: str) -> pl.DataFrame:
    """The result of all studies, by attack in their order; of several studies an attack names its own."""
    frames = []
    for study in studies:
        frame = study.facts.in_order(study.results[analysis])
        if len(studies) > 1:
            frame = frame.with_columns(pl.col("attack") + f" ({study.label})")
        frames.append(frame)
    return pl.concat(frames, how="vertical_relaxed")


def _in_short(studies: Sequence[Studied]) -> Section:
    overview, overlap, held, jumps = (
        _together(studies, name)
        for name in ("attack_overview", "topk_overlap", "decision_sensitivity", "path_jump")
    )
    held = held.filter(pl.col("band") == decision.BAND)
    judged = held.filter(pl.col("comparison") == "adversarial").drop_nulls("verdict")
    verdicts = {(row["attack"], row["method"]): row["verdict"] for row in judged.iter_rows(named=True)}
    compared = overlap["attack"].n_unique() > 1
    figures = []
    if not overlap.is_empty():
        table = (tables.summary_of_attacks if compared else tables.summary_table)(overlap, verdicts)
        said = (
            "Share of an original's most relevant components that are again among the most relevant of its "
            "adversarial example, mean over pairs."
        )
        if verdicts:
            said += " The verdict is on the top 10 %, against noise: see 'Is it the decision?'."
        figures.append(
            Figure(
                "summary",
                f"Overlap of the top 1{NO_BREAK}% and 10{NO_BREAK}%" + (" by attack" if compared else ""),
                "topk_overlap",
                said,
                [Panel(table=table)],
            )
        )
    of_attack = {attack: held.filter(pl.col("attack") == attack) for attack in overview["attack"]}
    answers = {attack: text for attack, rows in of_attack.items() if (text := decision.answer(rows))}
    said = [sentences.QUESTION]
    for row in overview.iter_rows(named=True):
        attack = row["attack"]
        about = [sentences.overlap_spans(attack, overlap), sentences.attack_sentence(row)]
        if attack not in overlap["attack"]:  # what was run says why there is nothing to compare
            about.reverse()
        jump = jump_sentence(jumps.filter(pl.col("attack") == attack))
        held_against = " ".join(filter(None, (answers.get(attack, ""), jump)))
        first, *rest = [*([held_against] if held_against else []), " ".join(about)]
        said += [f"Attack {attack}. {first}" if len(of_attack) > 1 else first, *rest]
    for study in studies:
        if forgotten := sanity_sentence(study.results["sanity_checks"]):
            said.append(f"Study {study.label}. {forgotten}" if len(studies) > 1 else forgotten)
    without = [attack for attack in overlap["attack"].unique(maintain_order=True) if attack not in answers]
    caveat = sentences.caveat(without) if without else ""
    return Section("in-short", "In short", said, [Group("", figures)], caveat)


def _study(studies: Sequence[Studied], published: PublishedFigures) -> Section:
    groups = []
    for i, study in enumerate(studies):
        overview, moments = study.results["study_overview"], study.results["relevance_moments"]
        end = f"-{i}" if i else ""
        scope = Figure(
            f"scope{end}",
            "What was run",
            "study_overview",
            sentences.scope(moments) + sentences.paper_classifier(published),
            [Panel(table=study_tables.overview_table(study.facts.in_order(overview, "id")))],
            study.label,
        )
        where = replace(
            diagnostics.figure(study.results["map_diagnostics"]), id=f"diagnostics{end}", study=study.label
        )
        groups.append(Group(f"Study {study.label}" if len(studies) > 1 else "", [scope, where]))
    methods = [name for study in studies for name in study.results["relevance_moments"]["method"]]
    paragraphs = [sentences.conventions(methods)] if methods else []
    return Section("study", "Study", paragraphs, groups)
