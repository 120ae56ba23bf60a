"""How far two maps of a pair agree: overlap at every k, correlation, and the ranks of one pair."""

from __future__ import annotations

import math

import altair as alt
import numpy as np
import polars as pl

from reports.names import method_name, method_order
from reports.theme import ADVERSARIAL_COLOUR, CELL, GAP, ORIGINAL_COLOUR, REFERENCE_COLOUR, fitting

SLOPES, LINE = 320, 12
"""Height of the example of a rank shift, and of a number in it, in pixels."""

MEASURES = {
    "spearman": "Spearman, of the ranks",
    "pearson": "Pearson, of the values",
    "sign_agreement": "share of equal signs",
}


def overlap_curve(curve: pl.DataFrame) -> alt.FacetChart:
    """Overlap of the k most relevant components by k, against chance; one small multiple a method.

    curve: rows of overlap_curve of one convention and one attack. The axis of k is logarithmic.
    """
    methods = method_order(curve["method"])
    names = [method_name(m) for m in methods]
    drawn = curve.select(
        pl.col("method").replace_strict(methods, names, return_dtype=pl.String), "k", "overlap", "chance"
    )
    ends = [1, max(2, *drawn["k"])]
    base = alt.Chart(width=CELL - 60, height=120).encode(
        x=alt.X("k:Q", title=None)
        .scale(type="log", domain=ends, nice=False)
        .axis(tickCount=4, format="~s", grid=False),
    )
    share = alt.Y("overlap:Q", title=None).scale(domain=[0, 1]).axis(format=".0%", tickCount=3)
    line = base.mark_line(color=ADVERSARIAL_COLOUR, strokeWidth=1.8).encode(y=share)
    chance = base.mark_line(color=REFERENCE_COLOUR, strokeDash=[4, 3]).encode(y="chance:Q")
    points = base.mark_point(filled=True, size=70, opacity=0, color=ADVERSARIAL_COLOUR).encode(
        y="overlap:Q",
        tooltip=[
            alt.Tooltip("method:N"),
            alt.Tooltip("k:Q", format=","),
            alt.Tooltip("overlap:Q", format=".2%"),
            alt.Tooltip("chance:Q", title="by chance", format=".2%"),
        ],
    )
    return (
        alt.layer(chance, line, points, data=drawn)
        .facet(facet=alt.Facet("method:N", sort=names, title=None), columns=4, spacing=GAP)
        .resolve_axis(x="independent")
        .properties(usermeta=fitting(CELL - 60))
    )


def correlation_intervals(correlation: pl.DataFrame) -> alt.FacetChart:
    """Where half (thick), nine tenths (thin) and the middle of the pairs lie, by method and measure.

    correlation: rows of map_correlation of one convention and one attack.
    """
    methods = method_order(correlation["method"])
    names = [method_name(m) for m in methods]
    levels = {0.05: "q05", 0.25: "q25", 0.5: "q50", 0.75: "q75", 0.95: "q95"}
    drawn = (
        correlation.filter(pl.col("level").is_in(list(levels)))
        .with_columns(
            pl.col("method").replace_strict(methods, names, return_dtype=pl.String),
            pl.col("measure").replace_strict(MEASURES, default=pl.col("measure")),
            pl.col("level").replace_strict(levels, return_dtype=pl.String),
        )
        .pivot("level", index=["method", "measure", "pairs", "mean"], values="value")
    )
    base = alt.Chart(width=CELL, height=alt.Step(18)).encode(
        y=alt.Y("method:N", sort=names, title=None).axis(grid=True, domain=False, ticks=False),
        tooltip=[
            alt.Tooltip("method:N"),
            alt.Tooltip("measure:N"),
            alt.Tooltip("pairs:Q", format=","),
            alt.Tooltip("mean:Q", format=".3f"),
            *(
                alt.Tooltip(f"{name}:Q", title=f"quantile {level}", format=".3f")
                for level, name in levels.items()
            ),
        ],
    )
    x = alt.X("q05:Q", title=None).axis(tickCount=5)
    wide = base.mark_rule(color=ADVERSARIAL_COLOUR, strokeWidth=1.4).encode(x=x, x2="q95:Q")
    half = base.mark_rule(color=ADVERSARIAL_COLOUR, strokeWidth=6, opacity=0.55).encode(x="q25:Q", x2="q75:Q")
    middle = base.mark_point(filled=True, size=60, opacity=1, color=ADVERSARIAL_COLOUR).encode(x="q50:Q")
    order = [name for name in MEASURES.values() if name in set(drawn["measure"])]
    return (
        alt.layer(wide, half, middle, data=drawn)
        .facet(facet=alt.Facet("measure:N", sort=order, title=None), columns=3, spacing=GAP)
        .resolve_axis(x="independent")
        .resolve_scale(x="independent")
        .properties(usermeta=fitting(CELL, names))
    )


def example_ranks(
    original: np.ndarray, adversarial: np.ndarray, width: int, channels: int, top: int
) -> pl.DataFrame:
    """The `top` most relevant components of an original's map: their places in both maps, counted from 1.

    original, adversarial: maps [n] of one pair. Ties are ordered by component. Columns component (as `row 3,
    column 7, red`), original, adversarial (integers).
    """
    places = [_places(values) for values in (original, adversarial)]
    best = np.argsort(places[0])[:top]
    names = []
    for component in best:
        row, column, channel = (
            component // channels // width,
            component // channels % width,
            component % channels,
        )
        colour = ("red", "green", "blue")[channel] if channels == 3 else f"channel {channel}"
        names.append(
            f"row {row}, column {column}, {colour}" if channels > 1 else f"row {row}, column {column}"
        )
    return pl.DataFrame(
        {"component": names, "original": places[0][best] + 1, "adversarial": places[1][best] + 1}
    )


def _places(values: np.ndarray) -> np.ndarray:
    places = np.empty(len(values), np.int64)
    places[np.argsort(-values, kind="stable")] = np.arange(len(values))
    return places


def apart(places: pl.Series, last: int) -> pl.Series:
    """Where numbers stand so that none covers another: as near as can be to places (sorted) of a log axis."""
    heights = [SLOPES * math.log(place) / math.log(last) for place in places]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + LINE)
    below = float(SLOPES)
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], below)
        below = heights[i] - LINE
    return pl.Series([last ** (height / SLOPES) for height in heights], dtype=pl.Float64)


def rank_slopes(ranks: pl.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """Lines from each component's place in the original's map to that in the adversarial example's.

    ranks: as `example_ranks` gives them (the paper's Fig. 4). The axis of places is logarithmic, best on top.
    """
    sides = ["original", "adversarial"]
    drawn = ranks.unpivot(index="component", on=sides, variable_name="map of", value_name="place")
    last = max(2, *drawn["place"])
    base = alt.Chart(drawn, width=300, height=SLOPES).encode(
        x=alt.X("map of:N", sort=sides, title=None).axis(
            labelAngle=0, orient="top", domain=False, ticks=False, offset=12
        ),
        y=alt.Y("place:Q", title="place in the map, 1 = most relevant")
        .scale(type="log", domain=[1, last], reverse=True, nice=False)
        .axis(values=[10**i for i in range(math.ceil(math.log10(last)) + 1)], format=","),
        detail="component:N",
        tooltip=[alt.Tooltip("component:N"), alt.Tooltip("map of:N"), alt.Tooltip("place:Q", format=",")],
    )
    colour = alt.Color("map of:N", legend=None).scale(
        domain=sides, range=[ORIGINAL_COLOUR, ADVERSARIAL_COLOUR]
    )
    beside = drawn.filter(pl.col("map of") == "adversarial").sort("place")
    beside = beside.with_columns(apart(beside["place"], last).alias("beside"))
    numbers = base.mark_text(align="left", dx=26, fontSize=11).encode(y=alt.Y("beside:Q"))
    leads = base.mark_rule(color=REFERENCE_COLOUR, opacity=0.6, xOffset=6, x2Offset=23).encode(
        x2="map of:N", y2="beside:Q"
    )
    numbers.data = leads.data = beside
    return alt.layer(
        base.mark_line(color=REFERENCE_COLOUR, strokeWidth=1.2),
        base.mark_point(filled=True, size=60, opacity=1).encode(color=colour),
        leads,
        numbers.encode(text=alt.Text("place:Q", format=",")),
    )
