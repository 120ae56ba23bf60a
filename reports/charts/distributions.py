"""Histograms of relevance."""

from __future__ import annotations

import altair as alt
import polars as pl

from reports.names import ORIGINAL, method_name, method_order
from reports.theme import ADVERSARIAL_COLOUR, CELL, GAP, ORIGINAL_COLOUR, fitting


def relevance_histogram(histogram: pl.DataFrame) -> alt.FacetChart:
    """Share of values by relevance, originals against adversarial examples, one small multiple a method.

    `histogram`: rows of relevance_histogram of one convention, originals and one attack. The axis is
    logarithmic; a bin without values leaves a gap in the line.
    """
    methods = method_order(histogram["method"])
    drawn = histogram.filter(pl.col("share") > 0).select(
        pl.col("method").replace_strict(methods, [method_name(m) for m in methods], return_dtype=pl.String),
        pl.when(pl.col("subject") == ORIGINAL)
        .then(pl.lit("original"))
        .otherwise(pl.lit("adversarial"))
        .alias("map of"),
        ((pl.col("bin_low") + pl.col("bin_high")) / 2).alias("relevance"),
        "values",
        "share",
    )
    return (
        alt.Chart(drawn, width=CELL - 60, height=120)
        .mark_line(interpolate="step", strokeWidth=1.4)
        .encode(
            x=alt.X("relevance:Q", title=None)
            .scale(domain=[-1, 1])
            .axis(values=[-1, -0.5, 0, 0.5, 1], grid=False),
            y=alt.Y("share:Q", title=None)
            .scale(type="log")
            .axis(format="~%", tickCount=5, labelOverlap=True),
            color=alt.Color("map of:N", title=None)
            .scale(domain=["original", "adversarial"], range=[ORIGINAL_COLOUR, ADVERSARIAL_COLOUR])
            .legend(orient="top", symbolType="stroke", symbolStrokeWidth=3),
            tooltip=[
                alt.Tooltip("method:N"),
                alt.Tooltip("map of:N"),
                alt.Tooltip("relevance:Q", format=".3f"),
                alt.Tooltip("values:Q", format=","),
                alt.Tooltip("share:Q", format=".3g"),
            ],
        )
        .facet(
            facet=alt.Facet("method:N", sort=[method_name(m) for m in methods], title=None),
            columns=4,
            spacing=GAP,
        )
        .resolve_axis(x="independent")
        .properties(usermeta=fitting(CELL - 60, ["0.0001 %"]))
    )
