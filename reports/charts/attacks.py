"""Charts of the attacks: success by class pair, and originals beside their adversarial examples."""

from __future__ import annotations

import altair as alt
import polars as pl

from reports.images import amplification, difference_uri, photo_uri, unflatten
from reports.results import StudyFacts

PHOTO = 84
"""Side of an image in the gallery, in pixels of the page."""


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
    return amplification([_adversarial(row) - _original(row) for row in pairs.iter_rows(named=True)])


def pair_gallery(pairs: pl.DataFrame, facts: StudyFacts) -> alt.FacetChart:
    """Original, adversarial example and amplified difference of every pair (the paper's Fig. 3).

    `pairs`: rows of pair_gallery of one attack.
    """
    factor = gallery_amplification(pairs)
    columns = ["original", "adversarial", f"{factor} x difference"]
    tiles, order = [], []
    for row in pairs.iter_rows(named=True):
        original, adversarial = _original(row), _adversarial(row)
        pair = pair_label(row, facts)
        order.append(pair)
        uris = [photo_uri(original), photo_uri(adversarial), difference_uri(adversarial - original, factor)]
        known = {name: row[name] for name in ("image_id", "target_probability", "l2", "linf")}
        tiles += [{"pair": pair, "column": c, "url": u} | known for c, u in zip(columns, uris, strict=True)]
    header = alt.Header(labelExpr="replace(datum.label, ',', '')", labelLimit=3 * PHOTO)
    return (
        alt.Chart(pl.DataFrame(tiles), width=alt.Step(PHOTO + 8), height=PHOTO)
        .mark_image(width=PHOTO, height=PHOTO, baseline="top")
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
            facet=alt.Facet("pair:N", sort=order, title=None, header=header),
            columns=3,
            spacing={"row": 12, "column": 30},
        )
        .resolve_axis(x="independent")
        .properties(usermeta={"cell": 3 * (PHOTO + 8) + 36})
    )


def pair_label(row: dict, facts: StudyFacts) -> str:
    """`cat, to dog, image 7`: the commas are where a chart breaks the line."""
    return f"{facts.class_name(row['label'])}, to {facts.class_name(row['target'])}, image {row['image_id']}"


def _original(row: dict):
    return unflatten(row["original_pixels"], row["height"], row["width"], row["channels"]) / 255.0


def _adversarial(row: dict):
    return unflatten(row["adversarial_pixels"], row["height"], row["width"], row["channels"])
