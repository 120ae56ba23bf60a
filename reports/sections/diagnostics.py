"""Can the maps be trusted: what was left out, and where relevance went that did not reach the image."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from reports.names import ORIGINAL, count, method_name, percent, plural, significant
from reports.parts import Figure, Panel, by_convention
from reports.table import Row, Table, number

_COLUMNS = (
    ("maps", "maps", count),
    ("not finite", "non_finite_maps", count),
    ("all zero", "zero_maps", count),
    ("negative start", "negative_starts", percent),
    ("sum / start", "sum_share", significant),
    ("bias / start", "bias_share", significant),
    ("stabiliser / start", "stabiliser_share", significant),
    ("lost / start", "empty_share", significant),
    ("largest gap", "largest_gap", significant),
)


def figure(diagnostics: pl.DataFrame) -> Figure:
    """Map diagnostics, a row a method and subject."""
    lost = diagnostics.filter(pl.col("non_finite_maps") > 0)
    bad, methods = int(diagnostics["non_finite_maps"].sum()), lost["method"].n_unique()
    said = (
        f"{plural(bad, 'map')} of {plural(methods, 'method')} {'is' if bad == 1 else 'are'} not finite."
        if bad
        else "All maps are finite."
    )
    said += (
        " Start is the logit explained, with which relevance begins. Shares of it are medians over the "
        "finite maps: what reached the image (sum), what biases and the stabiliser took, and what was lost "
        "where no input had contributed. The gap is what these leave unexplained, as a share of the largest "
        "of them: rounding."
    )
    panels = by_convention(diagnostics, lambda part, names: Panel(table=_table(part, names)))
    return Figure("diagnostics", "Where relevance went", "map_diagnostics", said, panels)


def _table(diagnostics: pl.DataFrame, methods: Sequence[str]) -> Table:
    table = Table(("method", "map of", *(title for title, _, _ in _COLUMNS)))
    later = pl.col("subject") != ORIGINAL
    unusual = (pl.col("explains") == "label") == later
    for method in methods:
        rows = diagnostics.filter(pl.col("method") == method).sort(later, "subject", unusual).to_dicts()
        for i, row in enumerate(rows):
            cells = tuple(number(row[column], form) for _, column, form in _COLUMNS)
            usual = "label" if row["subject"] == ORIGINAL else "target"
            whose = (
                row["subject"] if row["explains"] == usual else f"{row['subject']}, for the {row['explains']}"
            )
            heads = (method_name(method), len(rows) if i == 0 else 0), (whose, 1)
            table.rows.append(Row(heads, cells))
    return table
