"""Relevance maps of originals and adversarial examples, by method (the paper's Figs. 5 and 6)."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from reports.charts.attacks import pair_label
from reports.images import DIVERGING, blank_uri, map_uri, photo_uri, unflatten
from reports.names import ORIGINAL, method_name, method_order
from reports.results import StudyFacts

TILE = 68
"""Side of a map, in pixels of the page."""

IMAGE = "image"
"""First column of the gallery: what the maps explain."""


def map_gallery(
    maps: pl.DataFrame, pairs: pl.DataFrame, facts: StudyFacts
) -> alt.LayerChart | alt.FacetChart:
    """Rows are pairs, original above adversarial example; columns are methods.

    `maps`: rows of map_gallery of one attack and one convention; `pairs`: rows of pair_gallery, which
    hold the images themselves. A map without finite, non-zero values is shown as even grey.
    """
    methods = method_order(maps["method"])
    columns = [IMAGE, *(method_name(method) for method in methods)]
    images = {(row["attack"], row["image_id"], row["target"]): row for row in pairs.iter_rows(named=True)}
    tiles: list[dict[str, Any]] = []
    order: list[str] = []
    for row in maps.sort("label", "image_id", "target", maintain_order=True).iter_rows(named=True):
        pair = pair_label(row, facts)
        if pair not in order:
            order.append(pair)
            tiles += _image_tiles(pair, images.get((row["attack"], row["image_id"], row["target"])))
        tiles.append(_map_tile(pair, row, facts))
    tile = alt.Chart(width=alt.Step(TILE + 4), height=alt.Step(TILE + 4)).encode(
        x=alt.X("column:N", sort=columns, title=None).axis(
            orient="top",
            labelAngle=0,
            domain=False,
            ticks=False,
            labelExpr="split(datum.label, ' ')",
            labelPadding=17,
        ),
        y=alt.Y("subject:N", sort=[ORIGINAL, "adversarial"], title=None).axis(domain=False, ticks=False),
    )
    shown = tile.mark_image(width=TILE, height=TILE).encode(
        url="url:N",
        tooltip=[
            alt.Tooltip("pair:N"),
            alt.Tooltip("subject:N", title="map of"),
            alt.Tooltip("column:N", title="method"),
            alt.Tooltip("explains:N", title="explains the class"),
            alt.Tooltip("status:N"),
        ],
    )
    scale = alt.Scale(domain=[-1 + i / 5 for i in range(11)], range=list(DIVERGING))
    legend = alt.Legend(
        orient="top",
        direction="horizontal",
        gradientLength=220,
        gradientOpacity=1,
        values=[-1, -0.5, 0, 0.5, 1],
        titleLimit=400,
    )
    scale_only = tile.mark_point(size=0, opacity=0).encode(
        color=alt.Color("value:Q", scale=scale, legend=legend, title="relevance, share of the map's largest")
    )
    header = alt.Header(
        labelExpr="split(datum.label, ', ')", labelAngle=0, labelAlign="left", labelOrient="left"
    )
    layers = alt.layer(shown, scale_only, data=pl.DataFrame(tiles))
    return layers.facet(row=alt.Row("pair:N", sort=order, title=None, header=header), spacing=10)


def _image_tiles(pair: str, row: dict[str, Any] | None) -> list[dict[str, Any]]:
    if row is None:
        return []
    shape = row["height"], row["width"], row["channels"]
    original = photo_uri(unflatten(row["original_pixels"], *shape) / 255.0)
    adversarial = photo_uri(unflatten(row["adversarial_pixels"], *shape))
    common = {"pair": pair, "column": IMAGE, "status": "", "explains": "", "value": 0.0}
    return [
        common | {"subject": ORIGINAL, "url": original},
        common | {"subject": "adversarial", "url": adversarial},
    ]


def _map_tile(pair: str, row: dict[str, Any], facts: StudyFacts) -> dict[str, Any]:
    shape = row["height"], row["width"], row["channels"]
    relevance = row["relevance"] if row["status"] == "ok" else None
    return {
        "pair": pair,
        "column": method_name(row["method"]),
        "subject": ORIGINAL if row["subject"] == ORIGINAL else "adversarial",
        "status": row["status"],
        "explains": facts.class_name(row["explained_class"]),
        "value": 0.0,
        "url": blank_uri(*shape[:2]) if relevance is None else map_uri(unflatten(relevance, *shape)),
    }
