"""Tables of what a study is and of what its attacks did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from reports import names
from reports.names import count, decimal, method_order, percent, signed
from reports.published import PublishedFigures
from reports.results import StudyFacts
from reports.table import Cell, Row, Table, difference, number
from reports.tables import PRINTED, points


def overview_table(overview: pl.DataFrame) -> Table:
    """What is in scope: one row a thing, with its number of rows in the lake."""
    table = Table(("", "id", "what it is", "rows"))
    order = {kind: i for i, kind in enumerate(("dataset", "model", "attack", "control", "method", "table"))}
    kinds = sorted(set(overview["kind"]), key=lambda kind: (order.get(kind, len(order)), kind))
    for kind in kinds:
        part = overview.filter(pl.col("kind") == kind)
        wanted = method_order(part["id"]) if kind == "method" else part["id"].to_list()
        rows = {row["id"]: row for row in part.iter_rows(named=True)}
        for i, name in enumerate(wanted):
            row = rows[name]
            cells = (
                Cell(name, css="text"),
                Cell(_what(kind, row), css="text"),
                number(row["rows"], count),
            )
            table.rows.append(Row(((kind, len(wanted) if i == 0 else 0),), cells))
    return table


def _what(kind: str, row: Mapping[str, Any]) -> str:
    """What a thing is, in words; a method with its name and convention."""
    detail = row["detail"] or ""
    return f"{names.full_name(row['id'])}; {detail}" if kind == "method" else detail


def attack_table(overview: pl.DataFrame, published: PublishedFigures) -> Table:
    """One row a figure, one column an attack, and what the paper printed."""
    attacks = overview.to_dicts()
    table = Table(("", *(row["attack"] for row in attacks), PRINTED))
    three: Callable[[float | None], str] = lambda v: decimal(v, 3)  # noqa: E731
    whole: Callable[[float | None], str] = lambda v: decimal(v, 0)  # noqa: E731
    lines = (
        ("images attacked", "images", count),
        ("pairs (image, target); untargeted: images", "pairs", count),
        ("succeeded", "successes", count),
        ("failed", "failed", count),
        ("already the target's class", "already_target", count),
        ("success rate", "success_rate", lambda v: percent(v, 2)),
        ("probability of the target, quantile 0.001", "target_probability_q001", three),
        ("probability of the target, quantile 0.005", "target_probability_q005", three),
        ("probability of the target, median", "target_probability_q500", three),
        ("probability of the second class, median", "median_second_probability", three),
        ("second class is the image's label", "second_is_label", lambda v: percent(v, 2)),
        ("L2 of the change, median", "median_l2", three),
        ("largest change of a component, median", "median_linf", three),
        ("gradient evaluations a pair, mean", "mean_gradient_calls", whole),
        ("evaluations without gradient a pair, mean", "mean_forward_calls", whole),
    )
    gaps: dict[str, Callable[[float | None], str]] = {"success_rate": points}
    for title, column, form in lines:
        printed, cells = published.attack(column), []
        for row in attacks:
            gap = Cell("")
            if row["targeted"] is not False and column not in ("images", "successes"):
                gap = difference(row[column], printed, gaps.get(column, lambda v: signed(v, 3)))
            cells.append(number(row[column], form, gap.text and f"{gap.text} to printed", gap.css))
        cells.append(number(printed, form))
        table.rows.append(Row(((title, 1),), tuple(cells)))
    return table


def failure_table(failures: pl.DataFrame) -> Table:
    """Why pairs of an attack failed: one row a reason, most frequent first."""
    table = Table(("reason", "pairs", "of all", "probability of the target, median"))
    for row in failures.iter_rows(named=True):
        cells = (
            number(row["pairs"], count),
            number(row["share"], lambda v: percent(v, 2)),
            number(row["median_target_probability"], lambda v: decimal(v, 3)),
        )
        table.rows.append(Row(((row["reason"], 1),), cells))
    return table


def settings_table(facts: StudyFacts) -> Table:
    """The study's settings as its caller gave them, and the versions of what made it."""
    settings = dict(facts.settings)
    if facts.versions:
        settings["versions"] = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    return Table(
        ("setting", "value"), [Row(((k, 1),), (Cell(str(v), css="text"),)) for k, v in settings.items()]
    )
