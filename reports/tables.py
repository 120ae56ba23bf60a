"""Tables of the page: of the summary, quantiles, moments, overlap and rank shift."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from reports import names
from reports.names import BAND_PAIRS, ORIGINAL, count, decimal, method_name, method_order, percent, signed
from reports.published import PublishedFigures
from reports.table import Cell, Row, Table, beside, difference, number

Verdicts = Mapping[tuple[str, str], str]
"""What decision_sensitivity says of an attack and a method; of attacks that have controls."""

THIS, PRINTED, DIFFERENCE = "this study", "printed", "difference"


def summary_table(overlap: pl.DataFrame, verdicts: Verdicts) -> Table:
    """One row a method: overlap of the top 1 % and of the top 10 %, their chance levels, and its verdict."""
    bands = map(names.band_name, ("1 %", "10 %"))
    columns = [column for band in bands for column in (band, "by chance", "times chance")]
    table = Table(("convention", "method", *columns, *(["verdict"] if verdicts else [])))
    figures = {
        (r["method"], r["original_band"], r["adversarial_band"]): r for r in overlap.iter_rows(named=True)
    }
    for convention, methods in by_convention(overlap["method"]):
        for i, method in enumerate(methods):
            cells: list[Cell] = []
            for band in ("1 %", "10 %"):
                row = figures.get((method, band, band)) or {"overlap": None, "chance": None}
                share, chance = row["overlap"], row["chance"]
                times = share / chance if share is not None and chance else None
                cells += [_overlap_cell(row), number(chance, percent), number(times, lambda v: decimal(v, 1))]
            cells += [_verdict(verdicts.get((attack, method))) for attack in {a for a, _ in verdicts}]
            head = (names.CONVENTIONS[convention], len(methods) if i == 0 else 0)
            table.rows.append(Row((head, (method_name(method), 1)), tuple(cells)))
    return table


def summary_of_attacks(overlap: pl.DataFrame, verdicts: Verdicts) -> Table:
    """One row a method, by attack: overlap of the top 1 % and of the top 10 %, verdict; chance first."""
    attacks = overlap["attack"].unique(maintain_order=True).to_list()
    judged = [attack for attack in attacks if attack in {a for a, _ in verdicts}]
    bands = ("1 %", "10 %")
    columns = [f"{attack}, {names.band_name(band)}" for attack in attacks for band in bands]
    table = Table(("convention", "method", *columns, *(f"{attack}, verdict" for attack in judged)))
    figures = {
        (r["attack"], r["method"], r["original_band"]): r
        for r in overlap.iter_rows(named=True)
        if r["original_band"] == r["adversarial_band"]
    }
    chance = [
        next((r["chance"] for (a, _, b), r in figures.items() if (a, b) == (attack, band)), None)
        for attack in attacks
        for band in bands
    ]
    levels = [*(number(share, percent) for share in chance), *(Cell("", css="text") for _ in judged)]
    table.rows.append(Row((("by chance", 1), ("", 1)), tuple(levels), "reference"))
    for convention, methods in by_convention(overlap["method"]):
        for i, method in enumerate(methods):
            head = (names.CONVENTIONS[convention], len(methods) if i == 0 else 0)
            cells = [_overlap_cell(figures.get((a, method, b))) for a in attacks for b in bands]
            cells += [_verdict(verdicts.get((attack, method))) for attack in judged]
            table.rows.append(Row((head, (method_name(method), 1)), tuple(cells)))
    return table


def quantile_table(
    quantiles: pl.DataFrame, methods: Sequence[str], subject: str, published: PublishedFigures
) -> Table:
    """Quantiles of relevance by method (the paper's Tables 3 and 4), printed figures and differences below.

    `quantiles`: rows of one subject; `subject`: `original` or `adversarial`.
    """
    levels = sorted(set(quantiles["level"]))
    table = Table(("method", "", *(f"{level:g}" for level in levels)))
    values = {(r["method"], r["level"]): r["value"] for r in quantiles.iter_rows(named=True)}
    for method in methods:
        mine = [values.get((method, level)) for level in levels]
        printed = [published.quantile(method, subject, level) for level in levels]
        _add_rows(table, method_name(method), [number(v, decimal) for v in mine], printed, decimal, signed)
    return table


def misprint_table(quantiles: pl.DataFrame, published: PublishedFigures) -> Table:
    """Printed quantiles that look like misprints, of those that the study has: printed, here, likely, why.

    `quantiles`: rows of originals and of one attack's examples, published convention or others.
    """
    table = Table(("figure", PRINTED, "here", "likely", "why"))
    values = {}
    for row in quantiles.filter(pl.col("method").str.starts_with("published-")).iter_rows(named=True):
        subject = ORIGINAL if row["subject"] == ORIGINAL else "adversarial"
        values[names.base_method(row["method"]), subject, row["level"]] = row["value"]
    for misprint in published.misprints:
        here = values.get((misprint.method, misprint.subject, misprint.level))
        if here is None:
            continue
        figure = f"{misprint.source}, {method_name(misprint.method)}, quantile {misprint.level:g}"
        numbers = (number(value, decimal) for value in (misprint.printed, here, misprint.likely))
        table.rows.append(Row(((figure, 1),), (*numbers, Cell(misprint.reason, css="text"))))
    return table


def moments_table(
    moments: pl.DataFrame, methods: Sequence[str], attack: str, published: PublishedFigures
) -> Table:
    """Moments and shares, one row a method and subject; counts of maps that were left out."""
    share: Callable[[float | None], str] = lambda v: percent(v, 2)  # noqa: E731
    end: Callable[[float | None], str] = lambda v: decimal(v, 3)  # noqa: E731
    columns = (
        ("maps", "maps", count, signed),
        ("all zero", "zero_maps", count, signed),
        ("not finite", "non_finite_maps", count, signed),
        ("mean", "mean", decimal, signed),
        ("std. dev.", "std", decimal, signed),
        ("exactly zero", "share_zero", share, points),
        ("within \N{PLUS-MINUS SIGN}0.001", "share_near_zero", share, points),
        ("negative", "share_negative", share, points),
        ("smallest", "minimum", end, signed),
        ("largest", "maximum", end, signed),
    )
    table = Table(("method", "map of", *(title for title, *_ in columns)))
    rows = {(r["method"], r["subject"]): r for r in moments.iter_rows(named=True)}
    for method in methods:
        for i, subject in enumerate((ORIGINAL, attack)):
            row = rows.get((method, subject), {})
            who = ORIGINAL if i == 0 else "adversarial"
            cells = [
                beside(row.get(column), published.moment(method, who, column), form, gap_form)
                for _, column, form, gap_form in columns
            ]
            table.rows.append(Row(((method_name(method), 2 if i == 0 else 0), (who, 1)), tuple(cells)))
    return table


def overlap_table(overlap: pl.DataFrame, methods: Sequence[str], published: PublishedFigures) -> Table:
    """Share of the original's top components found again, by method (Table 5), chance level first."""
    table = Table(
        ("method", "", *(names.band_pair_name(*pair) for pair in BAND_PAIRS), "most relevant identical")
    )
    rows = {
        (r["method"], r["original_band"], r["adversarial_band"]): r for r in overlap.iter_rows(named=True)
    }
    chance = [next((r["chance"] for k, r in rows.items() if k[1:] == pair), None) for pair in BAND_PAIRS]
    cells = (*(number(c, lambda v: percent(v, 2)) for c in chance), Cell(""))
    table.rows.append(Row((("by chance", 1), ("", 1)), cells, "reference"))
    for method in methods:
        found = [rows.get((method, *pair)) for pair in BAND_PAIRS]
        mine = [_overlap_cell(row, 2) for row in found]
        same = next((row["identical"] for row in found if row and row["identical"] is not None), None)
        mine.append(number(same, lambda v: percent(v, 2)))
        printed = [published.overlap(method, *pair) for pair in BAND_PAIRS] + [published.identical(method)]
        _add_rows(table, method_name(method), mine, printed, lambda v: percent(v, 2), points)
    return table


def rank_shift_table(quantiles: pl.DataFrame, methods: Sequence[str], published: PublishedFigures) -> Table:
    """Quantiles of |rank shift|, the median as a share of the n components, mean shift, share that stayed."""
    levels = sorted(set(quantiles["level"]))
    table = Table(
        (
            "looked for",
            "method",
            "components",
            *(f"{x:g}" for x in levels),
            "median, of n",
            "mean shift",
            "unmoved",
        )
    )
    rows = {
        (r["method"], r["original_band"], r["adversarial_band"], r["level"]): r
        for r in quantiles.iter_rows(named=True)
    }
    places: Callable[[float | None], str] = lambda v: decimal(v, 1)  # noqa: E731
    mean: Callable[[float | None], str] = lambda v: signed(v, 2)  # noqa: E731
    n = next((r["abs_shift"] / r["abs_shift_share"] for r in rows.values() if r["abs_shift_share"]), 1.0)
    for pair in BAND_PAIRS:
        for i, method in enumerate(methods):
            found = [rows.get((method, *pair, level), {}) for level in levels]
            cells = [number(found[0].get("components"), count)]
            for level, row in zip(levels, found, strict=True):
                printed = published.rank_shift(method, *pair, level)
                cells.append(beside(row.get("abs_shift"), printed, places, lambda v: signed(v, 1), n))
            median = rows.get((method, *pair, 0.5), {})
            cells.append(number(median.get("abs_shift_share"), percent))
            printed = published.mean_shift(method, *pair)
            cells.append(beside(found[0].get("mean_shift"), printed, mean, mean, n))
            cells.append(number(found[0].get("share_unmoved"), percent))
            head = (names.band_pair_name(*pair), len(methods) if i == 0 else 0)
            table.rows.append(Row((head, (method_name(method), 1)), tuple(cells)))
    return table


def by_convention(methods: Sequence[str] | pl.Series) -> list[tuple[str, list[str]]]:
    """Methods in order, grouped by their convention."""
    groups: dict[str, list[str]] = {}
    for method in method_order(methods):
        groups.setdefault(names.convention(method), []).append(method)
    return list(groups.items())


def _overlap_cell(row: dict | None, digits: int = 1) -> Cell:
    if not row or row["overlap"] is None:
        return Cell("-")
    text, tied, pairs = percent(row["overlap"], digits), row.get("tied_pairs"), row.get("pairs")
    if tied and pairs and tied > 0.1 * pairs:
        return Cell(
            f"{text} \N{DAGGER}", row["overlap"], f"ties in {count(tied)} of {count(pairs)} pairs", "tied"
        )
    return Cell(text, row["overlap"])


def _verdict(said: str | None) -> Cell:
    return Cell(names.verdict_name(said), css="text")


def points(gap: float | None) -> str:
    """A difference of shares, in percentage points."""
    return signed(None if gap is None else 100 * gap, 2)


def _add_rows(
    table: Table,
    name: str,
    mine: Sequence[Cell],
    printed: Sequence[float | None],
    form: Callable[[float | None], str],
    gap_form: Callable[[float | None], str],
) -> None:
    """One row, or three where something was printed: this study, printed, difference."""
    if all(value is None for value in printed):
        table.rows.append(Row(((name, 1), ("", 1)), tuple(mine)))
        return
    beside = tuple(Cell("") if p is None else number(p, form) for p in printed)
    gaps = tuple(difference(cell.value, p, gap_form) for cell, p in zip(mine, printed, strict=True))
    table.rows.append(Row(((name, 3), (THIS, 1)), tuple(mine)))
    table.rows.append(Row(((name, 0), (PRINTED, 1)), beside, "printed"))
    table.rows.append(Row(((name, 0), (DIFFERENCE, 1)), gaps, "difference"))
