"""How wide relevance spreads: against epsilon, against the originals, in the tails and at zero."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from reports.names import ORIGINAL, count, decimal, epsilon, full_name, method_name, percent, plural, signed
from reports.parts import Figure, Panel, Source, by_convention
from reports.table import Row, Table, beside, number
from reports.tables import points


def figures(source: Source) -> list[Figure]:
    """Figures of one attack."""
    made = (_by_epsilon(source), _quantile_quantile(source), _tails(source), _near_zero(source))
    return [figure for figure in made if figure is not None]


def _by_epsilon(source: Source) -> Figure | None:
    """Nothing where the study has not two values of epsilon."""
    from reports.charts.spread import std_by_epsilon

    moments = source.designed("relevance_moments").drop_nulls("std")
    moments = moments.filter(
        pl.col("method").map_elements(lambda m: epsilon(m) is not None, return_dtype=pl.Boolean)
    )
    panels, said = [], []
    for panel in by_convention(moments, lambda part, _: Panel(chart=std_by_epsilon(part))):
        part = moments.filter(pl.col("method").is_in(_of_convention(moments, panel.convention)))
        if part["method"].n_unique() < 2:
            continue
        panels.append(panel)
        wide = part.filter(pl.col("subject") == ORIGINAL).sort("std", "method")
        if wide.height > 1:
            low, high = wide.row(0, named=True), wide.row(-1, named=True)
            said.append(
                f"between {decimal(low['std'], 3)} ({full_name(low['method'])}) and "
                f"{decimal(high['std'], 3)} ({full_name(high['method'])})"
            )
    if not panels:
        return None
    title = "Standard deviation of relevance by epsilon"
    text = "Epsilon is added to every denominator; LRP-0 has none."
    if said:
        text += f" Of originals the standard deviation lies {', and '.join(said)}."
    return Figure(f"std-by-epsilon{source.end}", title, "relevance_moments", text, panels)


def _of_convention(frame: pl.DataFrame, convention: str) -> list[str]:
    from reports.tables import by_convention as grouped

    return dict(grouped(frame["method"]))[convention]


def _quantile_quantile(source: Source) -> Figure:
    from reports.charts.spread import quantile_quantile

    change = source.designed("relevance_quantile_change", source.attack).drop_nulls(
        ["value", "original_value"]
    )
    said = "No method has quantiles of both originals and adversarial examples."
    if not change.is_empty():
        largest = change.sort(pl.col("change").abs(), "method", "level").row(-1, named=True)
        said = (
            "Each point is a level of Tables 3 and 4: across, its quantile of originals, up, that of "
            "adversarial examples; on the dashed line both are the same. Farthest from it: "
            f"{full_name(largest['method'])} at level {largest['level']:g}, by "
            f"{decimal(abs(largest['change']), 3)}. Below, both side by side."
        )
    panels = by_convention(
        change, lambda part, m: Panel(chart=quantile_quantile(part), table=_change_table(part, m))
    )
    title = "Quantiles of adversarial examples against those of originals (Table 3 against 4)"
    return Figure(f"quantile-quantile{source.end}", title, "relevance_quantile_change", said, panels)


def _change_table(change: pl.DataFrame, methods: Sequence[str]) -> Table:
    """Of each method the quantiles of originals, of adversarial examples, and what the latter have more."""
    levels = sorted(set(change["level"]))
    table = Table(("method", "map of", *(f"{level:g}" for level in levels)))
    rows = {(row["method"], row["level"]): row for row in change.iter_rows(named=True)}
    for method in methods:
        mine = [rows.get((method, level), {}) for level in levels]
        for i, (who, column, form) in enumerate(
            (
                (ORIGINAL, "original_value", decimal),
                ("adversarial", "value", decimal),
                ("change", "change", signed),
            )
        ):
            head = (method_name(method), 3 if i == 0 else 0)
            cells = tuple(number(row.get(column), form) for row in mine)
            table.rows.append(Row((head, (who, 1)), cells, "difference" if who == "change" else ""))
    return table


_TAILS = (("negative", 0.01), ("negative", 0.5), ("positive", 0.5), ("positive", 0.99))


def _tails(source: Source) -> Figure:
    tails = source.designed("relevance_tails")
    panels = by_convention(
        tails, lambda part, methods: Panel(table=_tail_table(part, methods, source.attack))
    )
    said = (
        "Of the negative values alone and of the positive alone: where the smallest 1 % end, the medians, "
        "and where "
        "the largest 1 % begin."
        if panels
        else "No map enters."
    )
    return Figure(f"tails{source.end}", "Tails of relevance, by sign", "relevance_tails", said, panels)


def _tail_table(tails: pl.DataFrame, methods: Sequence[str], attack: str) -> Table:
    heads = (
        "negative, smallest 1\N{NO-BREAK SPACE}%",
        "negative, median",
        "positive, median",
        "positive, largest 1\N{NO-BREAK SPACE}%",
    )
    table = Table(("method", "map of", *heads))
    values = {
        (r["method"], r["subject"], r["sign"], r["level"]): r["value"] for r in tails.iter_rows(named=True)
    }
    for method in methods:
        for i, (subject, who) in enumerate(((ORIGINAL, ORIGINAL), (attack, "adversarial"))):
            cells = tuple(number(values.get((method, subject, *tail)), decimal) for tail in _TAILS)
            table.rows.append(Row(((method_name(method), 2 if i == 0 else 0), (who, 1)), cells))
    return table


def _near_zero(source: Source) -> Figure:
    rows = source.designed("relevance_near_zero")
    title, name = "Relevance at zero, all methods averaged", f"near-zero{source.end}"
    if rows.is_empty():
        return Figure(name, title, "relevance_near_zero", "No map enters.")
    table = Table(
        (
            "map of",
            "methods",
            "exactly zero",
            "within \N{PLUS-MINUS SIGN}0.001",
            "of the positive",
            "of the negative",
        )
    )
    for subject, who in ((ORIGINAL, ORIGINAL), (source.attack, "adversarial")):
        for row in rows.filter(pl.col("subject") == subject).iter_rows(named=True):
            cells = [number(row["methods"], count)]
            for column in ("share_zero", "share_near_zero", "positive_near_zero", "negative_near_zero"):
                printed = source.published.near_zero(who, column)
                cells.append(beside(row[column], printed, lambda v: percent(v, 2), points))
            table.rows.append(Row(((who, 1),), tuple(cells)))
    most = int(rows["methods"].max() or 0)  # pyright: ignore[reportArgumentType]
    said = f"Mean of the shares of {plural(most, 'method')}, each of which counts the same."
    return Figure(name, title, "relevance_near_zero", said, [Panel(table=table)])
