"""Charts of the attacks: success by class pair, and originals beside their adversarial examples."""

from __future__ import annotations

import altair as alt
import polars as pl

from reports.charts.gallery import class_pickers, no_pair, pair_texts, picked
from reports.images import amplification, difference_uri, pair_pixels, photo_uri
from reports.results import StudyFacts

PHOTO = 96
"""Side of an image in the gallery, in pixels of the page: three for each pixel of a CIFAR image."""

FIRST = 10
"""Pairs shown before a reader picks others: one a label, at most so many."""


def success_matrix(summary: pl.DataFrame, facts: StudyFacts) -> alt.LayerChart | alt.FacetChart:
    """Success rate by label and target: colour is the rate, the text rate and number of pairs.

    `summary`: rows of attack_summary of one attack; of an untargeted one the target is the class reached.
    """
    aimed = bool(summary["targeted"].all())
    share = "success rate" if aimed else "share of the label's images"
    names = (
        pl.col("label", "target").map_elements(facts.class_name, return_dtype=pl.String).name.suffix("_name")
    )
    cells = summary.select("label", "target", "pairs", "successes", "success_rate").with_columns(names)
    classes = [facts.class_name(i) for i in sorted({*summary["label"], *summary["target"]})]
    size = max(40, min(58, 580 // max(1, len(classes))))
    base = alt.Chart(cells, width=alt.Step(size), height=alt.Step(36)).encode(
        x=alt.X("target_name:N", sort=classes, title="target of the attack" if aimed else "class reached")
        .axis(orient="top", labelAngle=-35, domain=False, ticks=False)
        .scale(domain=classes),
        y=alt.Y("label_name:N", sort=classes, title="label of the image")
        .axis(domain=False, ticks=False)
        .scale(domain=classes),
        tooltip=[
            alt.Tooltip("label_name:N", title="label"),
            alt.Tooltip("target_name:N", title="target"),
            alt.Tooltip("pairs:Q", format=","),
            alt.Tooltip("successes:Q", format=","),
            alt.Tooltip("success_rate:Q", title=share, format=".2%"),
        ],
    )
    rate = alt.Color("success_rate:Q", title=share).scale(scheme="cividis", domain=[0, 1])
    ink = alt.condition("datum.success_rate > 0.55", alt.value("#111111"), alt.value("#ffffff"))
    squares = base.mark_rect(cornerRadius=3, stroke="#80808040").encode(
        color=rate.legend(format=".0%", gradientLength=160)
    )
    shares = base.mark_text(fontSize=11, dy=-6).encode(
        text=alt.Text("success_rate:Q", format=".0%"), color=ink
    )
    counts = base.transform_calculate(n="'of ' + format(datum.pairs, ',')").mark_text(fontSize=9, dy=8)
    return alt.layer(squares, shares, counts.encode(text="n:N", color=ink))


def gallery_amplification(pairs: pl.DataFrame) -> int:
    """How many times the differences of a pair gallery are amplified: one factor for all of its images."""
    both = map(pair_pixels, pairs.iter_rows(named=True))
    return amplification([adversarial - original for original, adversarial in both])


def pair_gallery(pairs: pl.DataFrame, facts: StudyFacts) -> alt.FacetChart:
    """Original, adversarial example and amplified difference of every pair (the paper's Fig. 3).

    `pairs`: rows of pair_gallery of one attack. The reader picks label and target.
    """
    factor = gallery_amplification(pairs)
    columns = ["original", "adversarial", f"{factor} x difference"]
    tiles = []
    for row in pairs.iter_rows(named=True):
        original, adversarial = pair_pixels(row)
        uris = [photo_uri(original), photo_uri(adversarial), difference_uri(adversarial - original, factor)]
        known = {name: row[name] for name in ("target_probability", "l2", "linf")} | pair_texts(row, facts)
        tiles += [known | {"column": c, "url": u} for c, u in zip(columns, uris, strict=True)]
    texts = "split(datum.label, '\\n')"
    header = alt.Header(
        labelExpr=f"{texts}[1] + ' ' + {texts}[2] + ', ' + {texts}[3]", labelLimit=3 * PHOTO, labelPadding=4
    )
    return (
        alt.Chart(pl.DataFrame(tiles), width=alt.Step(PHOTO + 2), height=PHOTO)
        .mark_image(width=PHOTO, height=PHOTO, baseline="top", smooth=False)
        .encode(
            x=alt.X("column:N", sort=columns, title=None).axis(labelAngle=0, domain=False, ticks=False),
            y=alt.value(0),
            url="url:N",
            tooltip=[
                alt.Tooltip("pair:N"),
                alt.Tooltip("target_probability:Q", title="probability of the target", format=".3f"),
                alt.Tooltip("l2:Q", title="L2 of the change", format=".3f"),
                alt.Tooltip("linf:Q", title="largest change", format=".3f"),
            ],
        )
        .facet(
            facet=alt.Facet(
                "heading:N", sort=alt.EncodingSortField("place", op="min"), title=None, header=header
            ),
            columns=3,
            spacing={"row": 12, "column": 20},
        )
        .transform_filter(picked(pairs, min(FIRST, pairs["label"].n_unique())))
        .resolve_axis(x="independent")
        .properties(usermeta={"cell": 3 * (PHOTO + 2) + 20}, title=no_pair(pairs))
        .add_params(*class_pickers(pairs, facts))
    )
