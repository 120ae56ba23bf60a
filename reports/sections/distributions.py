"""Distributions of relevance: histograms, quantiles, moments."""

from __future__ import annotations

import polars as pl

from reports import relevance_sentences as sentences
from reports import tables
from reports.names import ORIGINAL
from reports.parts import Figure, Panel, Source, by_convention


def figures(source: Source) -> list[Figure]:
    """Figures of one attack."""
    from reports.charts.distributions import relevance_histogram

    end, published = source.end, source.published
    moments = source.designed("relevance_moments")
    histogram = source.designed("relevance_histogram")
    adversarial = source.designed("relevance_quantiles", source.attack)
    originals = source.designed("relevance_quantiles", ORIGINAL)
    anything = histogram.filter(pl.col("share") > 0)
    figures = [
        Figure(
            f"histogram{end}",
            "Histograms of relevance",
            "relevance_histogram",
            sentences.histograms(moments),
            by_convention(anything, lambda part, _: Panel(chart=relevance_histogram(part))),
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
                by_convention(
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
            by_convention(
                moments,
                lambda part, m: Panel(table=tables.moments_table(part, m, source.attack, published)),
            ),
        )
    )
    return figures
