"""How relevance spreads: standard deviation against epsilon, quantiles against quantiles."""

from __future__ import annotations

import altair as alt
import polars as pl

from reports.names import ORIGINAL, epsilon, method_name, method_order
from reports.theme import ADVERSARIAL_COLOUR, CELL, GAP, ORIGINAL_COLOUR, REFERENCE_COLOUR, fitting

_SUBJECTS = ["original", "adversarial"]


def std_by_epsilon(moments: pl.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """Standard deviation of relevance by the stabiliser epsilon, originals and adversarial examples.

    moments: rows of relevance_moments of one convention, originals and one attack. LRP-0 stands at 0.
    """
    drawn = (
        moments.with_columns(pl.col("method").map_elements(epsilon, return_dtype=pl.Float64).alias("at"))
        .drop_nulls(["at", "std"])
        .sort("at")
        .select(pl.col("at").map_elements("{:g}".format, return_dtype=pl.String), _map_of(), "std", "maps")
    )
    base = alt.Chart(drawn, width=440, height=200).encode(
        x=alt.X("at:N", title="epsilon", sort=None).axis(labelAngle=0),
        y=alt.Y("std:Q", title="standard deviation of relevance"),
        color=alt.Color("map of:N", title=None)
        .scale(domain=_SUBJECTS, range=[ORIGINAL_COLOUR, ADVERSARIAL_COLOUR])
        .legend(orient="top"),
        tooltip=[
            alt.Tooltip("map of:N"),
            alt.Tooltip("at:N", title="epsilon"),
            alt.Tooltip("std:Q", format=".4f"),
            alt.Tooltip("maps:Q", format=","),
        ],
    )
    return alt.layer(base.mark_line(strokeWidth=1.4), base.mark_point(filled=True, size=60, opacity=1))


def quantile_quantile(change: pl.DataFrame) -> alt.FacetChart:
    """Quantiles of adversarial examples against those of originals, one small multiple a method.

    change: rows of relevance_quantile_change of one convention and one attack. On the line the two are
    alike; steeper than the line, adversarial relevance spreads wider.
    """
    methods = method_order(change["method"])
    names = [method_name(m) for m in methods]
    drawn = change.select(
        pl.col("method").replace_strict(methods, names, return_dtype=pl.String),
        "level",
        "value",
        "original_value",
    )
    reach = max(0.01, *(abs(v) for column in ("value", "original_value") for v in drawn[column]))
    ends = [-reach, reach]
    base = alt.Chart(width=CELL - 76, height=CELL - 76)
    x = alt.X("original_value:Q", title=None).scale(domain=ends).axis(tickCount=3)
    y = alt.Y("value:Q", title=None).scale(domain=ends).axis(tickCount=3)
    alike = base.mark_line(color=REFERENCE_COLOUR, strokeDash=[4, 3]).encode(x=x, y="original_value:Q")
    points = base.mark_point(filled=True, size=45, opacity=0.9, color=ADVERSARIAL_COLOUR).encode(
        x=x,
        y=y,
        tooltip=[
            alt.Tooltip("method:N"),
            alt.Tooltip("level:Q", title="quantile"),
            alt.Tooltip("original_value:Q", title="originals", format=".4f"),
            alt.Tooltip("value:Q", title="adversarial", format=".4f"),
        ],
    )
    return (
        alt.layer(alike, points, data=drawn)
        .facet(facet=alt.Facet("method:N", sort=names, title=None), columns=4, spacing=GAP)
        .resolve_axis(x="independent")
        .properties(usermeta=fitting(CELL - 76))
    )


def _map_of() -> pl.Expr:
    is_original = pl.col("subject") == ORIGINAL
    return pl.when(is_original).then(pl.lit("original")).otherwise(pl.lit("adversarial")).alias("map of")
