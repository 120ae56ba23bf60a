"""What moves a map: overlaps with intervals, the way to the adversarial example, and the score of each "
"method."""

from __future__ import annotations

import altair as alt
import polars as pl

from reports.names import DAGGER, method_name, method_order
from reports.theme import ADVERSARIAL_COLOUR, CELL, GAP, ORIGINAL_COLOUR, REFERENCE_COLOUR, fitting

COMPARISONS = {
    "darkened": "some levels one lower, same question",
    "noise": "noise, same question",
    "reverse": "moved the other way",
    "image": "adversarial image, same question",
    "question": "same image, other question",
    "adversarial": "adversarial image and its question",
    "other target": "adversarial images of two targets",
    "round": "adversarial image, rounded",
    "floor": "adversarial image, floored",
    "other image of the class": "another image of the class",
    "other image": "another image",
    "chance": "chance",
}
"""Comparisons of decision_sensitivity that are rungs of the ladder, and their names."""

SCORES = {name: COMPARISONS[name] for name in ("adversarial", "image", "question")}
STABILITY = "stability: noise, same question"


def named(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Rows with methods by name, and these names in order."""
    methods = method_order(rows["method"])
    names = [method_name(method) for method in methods]
    return rows.with_columns(pl.col("method").replace_strict(methods, names, return_dtype=pl.String)), names


def ladder(rows: pl.DataFrame) -> alt.FacetChart:
    """Overlap of each comparison with its interval, chance dashed; one small multiple a method.

    rows: of decision_sensitivity, of one convention, attack and band.
    """
    chance = rows.group_by("method", maintain_order=True).agg(pl.col("chance").first())
    chance = chance.with_columns(pl.lit("chance").alias("comparison"), pl.col("chance").alias("overlap"))
    rows = pl.concat([rows, chance], how="diagonal")
    used = ["method", "comparison", "overlap", "overlap_low", "overlap_high", "chance", "pairs", "images"]
    drawn, names = named(rows.filter(pl.col("comparison").is_in(list(COMPARISONS))).select(used))
    drawn = drawn.with_columns(pl.col("comparison").replace_strict(COMPARISONS, return_dtype=pl.String))
    there = set(drawn["comparison"])
    rungs = [name for name in COMPARISONS.values() if name in there]
    base = alt.Chart(width=CELL - 40, height=alt.Step(17)).encode(
        y=alt.Y("comparison:N", sort=rungs, title=None).axis(domain=False, ticks=False, labelLimit=240),
        tooltip=[
            alt.Tooltip("method:N"),
            alt.Tooltip("comparison:N"),
            alt.Tooltip("overlap:Q", format=".1%"),
            alt.Tooltip("overlap_low:Q", title="95 % from", format=".1%"),
            alt.Tooltip("overlap_high:Q", title="to", format=".1%"),
            alt.Tooltip("pairs:Q", format=","),
            alt.Tooltip("images:Q", format=","),
        ],
    )
    share = alt.X("overlap:Q", title=None).scale(domain=[0, 1]).axis(format=".0%", tickCount=3)
    dots = base.mark_circle(size=60, color=ADVERSARIAL_COLOUR, opacity=1).encode(x=share)
    lines = base.mark_rule(color=ADVERSARIAL_COLOUR, strokeWidth=2).encode(
        x="overlap_low:Q", x2="overlap_high:Q"
    )
    chance = base.mark_tick(color=REFERENCE_COLOUR, thickness=2, height=13).encode(x="chance:Q")
    return (
        alt.layer(chance, lines, dots, data=drawn)
        .facet(facet=alt.Facet("method:N", sort=names, title=None), columns=3, spacing=GAP)
        .resolve_axis(x="independent")
        .properties(usermeta=fitting(CELL - 40, rungs))
    )


def scores(rows: pl.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """Decision sensitivity of each method with its interval; 0 and 1 are marked, and methods with ties.

    rows: of decision_sensitivity with a score, of one attack and band, all conventions.
    """
    methods = method_order(rows["method"])
    tied = set(rows.filter(pl.col("verdict") == "ties")["method"])
    names = {method: _full(method) + f" {DAGGER}" * (method in tied) for method in methods}
    drawn = rows.filter(pl.col("comparison").is_in(list(SCORES))).with_columns(
        pl.col("method").replace_strict(names, return_dtype=pl.String),
        pl.col("comparison").replace_strict(SCORES, return_dtype=pl.String),
    )
    there = [name for name in SCORES.values() if name in set(drawn["comparison"])]
    colours = dict(zip(SCORES.values(), (ADVERSARIAL_COLOUR, ORIGINAL_COLOUR, "#009e73"), strict=True))
    colour = alt.Color("comparison:N", sort=[*there, STABILITY], title=None).scale(
        domain=[*there, STABILITY], range=[*(colours[name] for name in there), REFERENCE_COLOUR]
    )
    base = alt.Chart(drawn, width=430, height=alt.Step(max(9, 20 // len(there)))).encode(
        y=alt.Y("method:N", sort=list(names.values()), title=None).axis(
            grid=True, domain=False, ticks=False, labelLimit=260
        ),
        yOffset=alt.YOffset("comparison:N", sort=there),
        color=colour.legend(orient="top", direction="vertical", labelLimit=300, symbolOpacity=1),
        tooltip=[
            alt.Tooltip("method:N"),
            alt.Tooltip("comparison:N"),
            alt.Tooltip("score:Q", format=".3f"),
            alt.Tooltip("score_low:Q", title="95 % from", format=".3f"),
            alt.Tooltip("score_high:Q", title="to", format=".3f"),
            alt.Tooltip("stability:Q", format=".1%"),
            alt.Tooltip("verdict:N"),
        ],
    )
    axis = alt.X("score:Q", title="decision sensitivity").axis(tickCount=6)
    lines = base.mark_rule(strokeWidth=2).encode(x="score_low:Q", x2="score_high:Q")
    marks = alt.Chart(pl.DataFrame({"mark": [0.0, 1.0]})).mark_rule(strokeDash=[4, 3], color=REFERENCE_COLOUR)
    is_main = alt.FieldEqualPredicate(field="comparison", equal=SCORES["adversarial"])
    ticks = (
        base.transform_filter(is_main)
        .mark_tick(thickness=3, height=14, opacity=1)
        .encode(x="stability:Q", color=alt.ColorDatum(STABILITY))
    )
    dots = base.mark_circle(size=45, opacity=1).encode(x=axis)
    chart = alt.layer(marks.encode(x="mark:Q"), ticks, lines, dots)
    return chart.properties(usermeta=fitting(430, list(names.values())))


def _full(method: str) -> str:
    return method_name(method) + (", published" if method.startswith("published-") else "")


FORGETTING = {
    "overlap at 10 %": "overlap of the top 10 %",
    "spearman": "Spearman",
    "spearman of magnitudes": "Spearman of |R|",
    "ssim": "SSIM",
}
"""Measures of sanity_checks that are drawn."""


def forgetting(rows: pl.DataFrame) -> alt.FacetChart:
    """What maps have in common with those of networks that have forgotten layer after layer.

    rows: of sanity_checks, of one convention.
    """
    drawn, names = named(rows.filter(pl.col("measure").is_in(list(FORGETTING))))
    drawn = drawn.with_columns(pl.col("measure").replace_strict(FORGETTING, return_dtype=pl.String))
    measures = list(FORGETTING.values())
    base = alt.Chart(width=CELL - 60, height=110).encode(
        x=alt.X("depth:Q", title=None).axis(tickMinStep=1, tickCount=4, format="d", grid=False),
        color=alt.Color("measure:N", sort=measures, title=None)
        .scale(domain=measures, range=[ADVERSARIAL_COLOUR, ORIGINAL_COLOUR, "#009e73", "#cc79a7"])
        .legend(orient="top", labelLimit=200, symbolOpacity=1),
    )
    line = base.mark_line(strokeWidth=1.6).encode(y=alt.Y("mean:Q", title=None).axis(tickCount=3))
    span = base.mark_area(opacity=0.18).encode(y=alt.Y("mean_low:Q", title=None), y2="mean_high:Q")
    dots = base.mark_circle(size=30, opacity=1).encode(
        y="mean:Q",
        tooltip=[
            alt.Tooltip("method:N"),
            alt.Tooltip("measure:N"),
            alt.Tooltip("depth:Q", title="layers drawn anew"),
            alt.Tooltip("layer:N", title="down to"),
            alt.Tooltip("mean:Q", format=".3f"),
            alt.Tooltip("mean_low:Q", title="95 % from", format=".3f"),
            alt.Tooltip("mean_high:Q", title="to", format=".3f"),
        ],
    )
    return (
        alt.layer(span, line, dots, data=drawn)
        .facet(facet=alt.Facet("method:N", sort=names, title=None), columns=4, spacing=GAP)
        .resolve_axis(x="independent")
        .properties(usermeta=fitting(CELL - 60))
    )


def path(rows: pl.DataFrame) -> alt.FacetChart:
    """Overlap along the way from the original to the adversarial example; dots darken as decisions turn.

    rows: of decision_sensitivity, of one convention, attack and band: fractions in (0, 1], and the
    adversarial example at 1.
    """
    drawn, names = named(rows.with_columns(pl.col("fraction").fill_null(1.0)))
    base = alt.Chart(width=CELL - 60, height=110).encode(
        x=alt.X("fraction:Q", title=None).scale(domain=[0, 1]).axis(format=".0%", tickCount=3, grid=False),
    )
    share = alt.Y("overlap:Q", title=None).scale(domain=[0, 1]).axis(format=".0%", tickCount=3)
    line = base.mark_line(color=ADVERSARIAL_COLOUR, strokeWidth=1.6).encode(y=share)
    span = base.mark_area(color=ADVERSARIAL_COLOUR, opacity=0.18).encode(
        y=alt.Y("overlap_low:Q", title=None), y2="overlap_high:Q"
    )
    turned = base.mark_line(color=ORIGINAL_COLOUR, strokeDash=[4, 3]).encode(
        y=alt.Y("target_share:Q", title=None)
    )
    dots = base.mark_circle(color=ADVERSARIAL_COLOUR, size=40, opacity=1).encode(
        y=share,
        tooltip=[
            alt.Tooltip("method:N"),
            alt.Tooltip("fraction:Q", title="of the way", format=".0%"),
            alt.Tooltip("overlap:Q", format=".1%"),
            alt.Tooltip("overlap_low:Q", title="95 % from", format=".1%"),
            alt.Tooltip("overlap_high:Q", title="to", format=".1%"),
            alt.Tooltip("target_share:Q", title="already the target", format=".1%"),
        ],
    )
    return (
        alt.layer(turned, span, line, dots, data=drawn)
        .facet(facet=alt.Facet("method:N", sort=names, title=None), columns=4, spacing=GAP)
        .resolve_axis(x="independent")
        .properties(usermeta=fitting(CELL - 60))
    )
