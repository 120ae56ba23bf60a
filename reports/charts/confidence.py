"""How sure the network is of the target, and how large the changes are."""

from __future__ import annotations

import altair as alt
import polars as pl

from reports.theme import ADVERSARIAL_COLOUR, CELL, GAP, ORIGINAL_COLOUR, fitting

NORMS = {
    "l2": "L2, square root of the sum of squares",
    "linf": "L\u221e, the largest of a component",
    "l1": "L1, sum over all components",
}
"""Norms of change_quantiles in the order of the page, and their names."""


def target_probability(
    quantiles: pl.DataFrame, printed: pl.DataFrame, aim: str = "target"
) -> alt.LayerChart | alt.FacetChart:
    """Share of the successes whose target has at most a probability; the share's axis is logarithmic.

    quantiles: rows of target_probability_quantiles of one attack; printed: columns level and value, the
    paper's (no rows where nothing was printed); aim: what stands for the target.
    """
    what = [
        part.select("level", pl.col("value").cast(pl.Float64), pl.lit(name).alias("figure"))
        for name, part in (("this study", quantiles), ("printed", printed))
        if not part.is_empty()
    ]
    drawn = pl.concat(what)
    names = [part["figure"][0] for part in what]
    colours = {"this study": ADVERSARIAL_COLOUR, "printed": ORIGINAL_COLOUR}
    base = alt.Chart(drawn, width=440, height=200).encode(
        x=alt.X("value:Q", title=f"probability of the {aim}").scale(domain=[0, 1]).axis(tickCount=5),
        y=alt.Y("level:Q", title="share of successes at or below")
        .scale(type="log", domain=[0.001, 1])
        .axis(format="~%", values=[0.001, 0.01, 0.1, 1]),
        color=alt.Color("figure:N", title=None)
        .scale(domain=names, range=[colours[name] for name in names])
        .legend(orient="top"),
        tooltip=[
            alt.Tooltip("figure:N"),
            alt.Tooltip("level:Q", title="quantile"),
            alt.Tooltip("value:Q", title="probability", format=".4f"),
        ],
    )
    line = base.transform_filter("datum.figure == 'this study'").mark_line(strokeWidth=1.4)
    return alt.layer(line, base.mark_point(filled=True, size=55, opacity=1))


def change_sizes(quantiles: pl.DataFrame) -> alt.FacetChart:
    """Share of the successes whose change is at most so large, one small multiple a norm.

    quantiles: rows of change_quantiles of one attack.
    """
    drawn = quantiles.select(
        pl.col("norm").replace_strict(NORMS, return_dtype=pl.String), "level", "value", "successes"
    )
    base = alt.Chart(width=CELL, height=130).encode(
        x=alt.X("value:Q", title=None).scale(zero=True, nice=False).axis(tickCount=5, grid=False),
        y=alt.Y("level:Q", title=None).scale(domain=[0, 1]).axis(format=".0%", tickCount=3),
        tooltip=[
            alt.Tooltip("norm:N"),
            alt.Tooltip("level:Q", title="share of the successes", format=".0%"),
            alt.Tooltip("value:Q", title="change at most", format=".4g"),
        ],
    )
    line = base.mark_line(color=ADVERSARIAL_COLOUR, strokeWidth=1.6)
    points = base.mark_point(filled=True, size=40, opacity=1, color=ADVERSARIAL_COLOUR)
    return (
        alt.layer(line, points, data=drawn)
        .facet(
            facet=alt.Facet("norm:N", sort=list(NORMS.values()), title=None),
            columns=3,
            spacing=GAP,
        )
        .resolve_axis(x="independent")
        .resolve_scale(x="independent")
        .properties(usermeta=fitting(CELL))
    )
