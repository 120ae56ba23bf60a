"""A number by class pair, as a matrix of labels against targets."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl

from reports.results import StudyFacts
from reports.theme import GAP, fitting


def class_matrices(
    cells: pl.DataFrame,
    facts: StudyFacts,
    value: str,
    title: str,
    form: str,
    *,
    domain: Sequence[float] | None = None,
    facet: str = "",
    order: Sequence[str] = (),
) -> alt.Chart | alt.FacetChart:
    """Colour is `value`; one small multiple for each of `order`, the values of the column `facet`, if named.

    cells: columns label, target, pairs, `value` and `facet`. form: how a value is written (d3-format).
    domain: of the colours; by default that of the values.
    """
    named = cells.with_columns(
        pl.col("label", "target").map_elements(facts.class_name, return_dtype=pl.String).name.suffix("_name")
    ).select("label_name", "target_name", "pairs", value, *([facet] if facet else []))
    classes = [facts.class_name(i) for i in sorted({*cells["label"], *cells["target"]})]
    step = 15 if facet else max(24, min(44, 520 // max(1, len(classes))))
    scale = alt.Scale(scheme="cividis", domain=list(domain)) if domain else alt.Scale(scheme="cividis")
    chart = (
        alt.Chart(named, width=alt.Step(step), height=alt.Step(step if facet else 26))
        .mark_rect(stroke="#80808040")
        .encode(
            x=alt.X("target_name:N", sort=classes, title=None if facet else "target of the attack")
            .axis(orient="top", labelAngle=-60, domain=False, ticks=False)
            .scale(domain=classes),
            y=alt.Y("label_name:N", sort=classes, title=None if facet else "label of the image")
            .axis(domain=False, ticks=False)
            .scale(domain=classes),
            color=alt.Color(f"{value}:Q", title=title, scale=scale).legend(
                format=form, orient="top", gradientLength=180, titleLimit=400
            ),
            tooltip=[
                *([alt.Tooltip(f"{facet}:N")] if facet else []),
                alt.Tooltip("label_name:N", title="label"),
                alt.Tooltip("target_name:N", title="target"),
                alt.Tooltip("pairs:Q", format=","),
                alt.Tooltip(f"{value}:Q", title=title, format=form),
            ],
        )
    )
    if not facet:
        return chart
    return (
        chart.facet(
            facet=alt.Facet(f"{facet}:N", sort=list(order), title=None),
            columns=4,
            spacing=GAP,
        )
        .resolve_axis(x="independent", y="independent")
        .properties(usermeta=fitting(step * len(classes) + 6 * max(map(len, classes)), []))
    )
