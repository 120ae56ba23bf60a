"""Charts of the ranking: overlap of the top components against chance, and rank shift."""

from __future__ import annotations

import math

import altair as alt
import polars as pl

from reports.names import BAND_PAIRS, band_pair_name, method_name, method_order
from reports.theme import ADVERSARIAL_COLOUR, CELL, GAP, ORIGINAL_COLOUR, REFERENCE_COLOUR, fitting

PRINTED_COLOUR = ORIGINAL_COLOUR
EDGES = ("bin_low", "bin_high", "low_share", "high_share")
UPRIGHT = "M-0.14,-1H0.14V1H-0.14Z"
"""A short upright line as a symbol."""


def overlap_dots(overlap: pl.DataFrame, printed: pl.DataFrame) -> alt.FacetChart:
    """Overlap by method, with the chance level and the printed figure, one small multiple a band pair.

    `overlap`: rows of topk_overlap of one attack and one convention; `printed`: columns method,
    original_band, adversarial_band, value (no rows where nothing was printed).
    """
    methods = method_order(overlap["method"])
    names = [method_name(m) for m in methods]
    bands = [band_pair_name(*pair) for pair in BAND_PAIRS]
    keys = ["method", "original_band", "adversarial_band"]
    beside = printed.select(*keys, pl.lit("printed").alias("what"), "value")
    drawn = (
        pl.concat(
            [
                overlap.select(*keys, pl.lit("by chance").alias("what"), pl.col("chance").alias("value")),
                beside,
                overlap.select(*keys, pl.lit("this study").alias("what"), pl.col("overlap").alias("value")),
            ]
        )
        .with_columns(
            pl.col("method").replace_strict(methods, names, return_dtype=pl.String), bands=_band_pair()
        )
        .select("method", "bands", "what", "value")
        .drop_nulls("value")
    )
    domain = [what for what in ("this study", "printed", "by chance") if what in set(drawn["what"])]
    colours = {"this study": ADVERSARIAL_COLOUR, "printed": PRINTED_COLOUR, "by chance": REFERENCE_COLOUR}
    shapes = {"this study": "circle", "printed": "diamond", "by chance": UPRIGHT}
    return (
        alt.Chart(drawn, width=CELL, height=alt.Step(20))
        .mark_point(filled=True, size=75, opacity=0.95)
        .encode(
            x=alt.X("value:Q", title=None)
            .scale(domain=[0, 1])
            .axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1], labelFlush=True),
            y=alt.Y("method:N", sort=names, title=None).axis(grid=True, domain=False, ticks=False),
            color=alt.Color("what:N", title=None)
            .scale(domain=domain, range=[colours[what] for what in domain])
            .legend(orient="top"),
            shape=alt.Shape("what:N", title=None).scale(
                domain=domain, range=[shapes[what] for what in domain]
            ),
            tooltip=[
                alt.Tooltip("method:N"),
                alt.Tooltip("bands:N", title="looked for"),
                alt.Tooltip("what:N", title="figure"),
                alt.Tooltip("value:Q", title="overlap", format=".2%"),
            ],
        )
        .facet(facet=alt.Facet("bands:N", sort=bands, title=None), columns=3, spacing=GAP)
        .resolve_axis(x="independent")
        .properties(usermeta=fitting(CELL, names))
    )


def rank_shift_histograms(shift: pl.DataFrame) -> alt.HConcatChart:
    """Share of components by signed rank shift; rows are methods, columns what is looked for where.

    `shift`: rows of rank_shift of one attack and one convention (the paper's Figs. 7 to 9). A method that
    found no component again in a band keeps its place, empty. The axis tells shifts in places and, below, as
    shares of all components of a map.
    """
    methods = method_order(shift["method"])
    names = [method_name(m) for m in methods]
    drawn = shift.with_columns(
        pl.col("method").replace_strict(methods, names, return_dtype=pl.String), bands=_band_pair()
    ).select("method", "bands", *EDGES, "components", "share")
    present = [band for band in (band_pair_name(*pair) for pair in BAND_PAIRS) if band in set(drawn["bands"])]
    places = pl.DataFrame({"bands": present}).join(pl.DataFrame({"method": names}), how="cross")
    nothing = places.join(drawn, on=["bands", "method"], how="anti").select(
        "method",
        "bands",
        *(pl.lit(edge).alias(name) for name, edge in zip(EDGES, (-0.5, 0.5, 0.0, 0.0), strict=True)),
        pl.lit(0, pl.Int64).alias("components"),
        pl.lit(0.0).alias("share"),
    )
    every = pl.concat([drawn, nothing])
    edge, share = drawn.select("bin_high", "high_share").row(0)
    components = round(edge / share)  # edges lie between whole shifts: none is 0
    columns = (_column(every, band, names, components, first=band == present[0]) for band in present)
    return alt.hconcat(*columns, spacing=10)


def _column(drawn: pl.DataFrame, band: str, names: list[str], components: int, first: bool) -> alt.FacetChart:
    """components: of a whole map."""
    drawn = drawn.filter(pl.col("bands") == band).drop("bands")
    high = max(1e-3, *drawn["share"])
    ticks = f"[format(datum.value, ','), format(datum.value / {components}, '.1~%')]"
    header = alt.Header(
        labelAngle=0, labelAlign="left", labelOrient="left", labels=first, labelFontWeight="normal"
    )
    return (
        alt.Chart(drawn, width=118, height=54)
        .mark_bar(color=ADVERSARIAL_COLOUR, binSpacing=0)
        .encode(
            x=alt.X("bin_low:Q", title=None)
            .axis(tickCount=2, grid=False, labelExpr=ticks, labelLineHeight=12, labelFontSize=10)
            .bin("binned"),
            x2="bin_high:Q",
            y=alt.Y("share:Q", title=None)
            .scale(domain=[0, high], nice=False)
            .axis(format="~%", values=[0, _below(0.75 * high)]),
            tooltip=[
                alt.Tooltip("method:N"),
                alt.Tooltip("bin_low:Q", title="shift from", format=",.0f"),
                alt.Tooltip("bin_high:Q", title="to below", format=",.0f"),
                alt.Tooltip("low_share:Q", title="shift from, of all", format=".2%"),
                alt.Tooltip("high_share:Q", title="to below, of all", format=".2%"),
                alt.Tooltip("components:Q", format=","),
                alt.Tooltip("share:Q", format=".2%"),
            ],
        )
        .facet(row=alt.Row("method:N", sort=names, title=None, header=header), spacing=8)
        .properties(title=alt.Title(band, fontSize=11, anchor="middle"))
    )


def _below(share: float) -> float:
    """The largest round share that is not larger."""
    power = 10.0 ** math.floor(math.log10(share))
    return max(step * power for step in (1, 2, 5) if step * power <= share)


def _band_pair() -> pl.Expr:
    keys = pl.concat_str("original_band", "adversarial_band", separator="|")
    return keys.replace_strict(
        ["|".join(pair) for pair in BAND_PAIRS], [band_pair_name(*pair) for pair in BAND_PAIRS], default=keys
    )
