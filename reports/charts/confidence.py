"""How sure the network is of the target."""

from __future__ import annotations

import altair as alt
import polars as pl

from reports.theme import ADVERSARIAL_COLOUR, ORIGINAL_COLOUR


def target_probability(quantiles: pl.DataFrame, printed: pl.DataFrame) -> alt.LayerChart | alt.FacetChart:
    """Share of the successes whose target has at most a probability; the share's axis is logarithmic.

    quantiles: rows of target_probability_quantiles of one attack; printed: columns level and value, the
    paper's (no rows where nothing was printed).
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
        x=alt.X("value:Q", title="probability of the target").scale(domain=[0, 1]),
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
