"""Ranking: do the most relevant components stay so?"""

from __future__ import annotations

import polars as pl

from reports import relevance_sentences as sentences
from reports import tables
from reports.parts import Figure, Panel, Source, by_convention


def figures(source: Source) -> list[Figure]:
    """Figures of one attack."""
    from reports.charts.ranking import overlap_dots, rank_shift_histograms

    end, published = source.end, source.published
    overlap, shift = source.of_attack("topk_overlap"), source.of_attack("rank_shift")
    quantiles = source.of_attack("rank_shift_quantiles")
    said = sentences.overlap(overlap)
    return [
        Figure(
            f"overlap{end}",
            "Overlap of the most relevant components",
            "topk_overlap",
            said,
            by_convention(overlap, lambda part, m: Panel(chart=overlap_dots(part, published.overlaps(m)))),
        ),
        Figure(
            f"overlap-table{end}",
            "Overlap in numbers (Table 5)",
            "topk_overlap",
            sentences.OVERLAP_TABLE + (f" {sentences.COMPARED_POINTS}" if published.present else ""),
            by_convention(overlap, lambda part, m: Panel(table=tables.overlap_table(part, m, published))),
        ),
        Figure(
            f"shift{end}",
            "Histograms of the rank shift (Figs. 7 to 9)",
            "rank_shift",
            sentences.shift(quantiles),
            by_convention(
                shift.filter(pl.col("share") > 0), lambda part, _: Panel(chart=rank_shift_histograms(part))
            ),
        ),
        Figure(
            f"shift-quantiles{end}",
            "Quantiles of the absolute rank shift",
            "rank_shift_quantiles",
            sentences.SHIFT_TABLE,
            by_convention(
                quantiles, lambda part, m: Panel(table=tables.rank_shift_table(part, m, published))
            ),
        ),
    ]
