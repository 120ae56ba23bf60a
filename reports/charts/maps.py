"""Relevance maps of originals and adversarial examples, by method (the paper's Figs. 5 and 6)."""

from __future__ import annotations

import re
from textwrap import wrap
from typing import Any

import altair as alt
import polars as pl

from reports.charts.gallery import class_pickers, no_pair, pair_texts, picked, picker
from reports.images import DIVERGING, blank_uri, map_uri, pair_pixels, photo_uri, unflatten
from reports.names import ORIGINAL, method_name, method_order
from reports.results import StudyFacts

TILE = 64
"""Side of a map, in pixels of the page: two for each pixel of a CIFAR image."""

FIRST = 5
"""Pairs shown before a reader picks others."""

LINE = 12
"""Height of a line above a column."""

IMAGE = "image"
"""First column of the gallery: what the maps explain."""


def map_gallery(
    maps: pl.DataFrame, pairs: pl.DataFrame, facts: StudyFacts
) -> alt.LayerChart | alt.FacetChart:
    """Rows are pairs, original above adversarial example; columns are methods.

    `maps`: rows of map_gallery of one attack and one convention; `pairs`: rows of pair_gallery, which
    hold the images themselves. A map without finite, non-zero values is shown as even grey. The reader
    picks label, target and method.
    """
    methods = method_order(maps["method"])
    places = maps.filter(pl.col("subject") != ORIGINAL)["place"]
    pairs = pairs.filter(pl.col("place").is_in(places.to_list()))
    titles = _titles([IMAGE, *methods])
    tile = alt.Chart(width=alt.Step(TILE + 4), height=alt.Step(TILE + 4)).encode(
        x=alt.X("column:N", sort=alt.EncodingSortField("order", op="min"), title=None).axis(
            orient="top",
            labelAngle=0,
            domain=False,
            ticks=False,
            labelExpr="split(datum.label, '\\n')",
            labelFontSize=10,
            labelPadding=5 + LINE * (len(titles[IMAGE]) - 1),
            labelLineHeight=LINE,
        ),
        y=alt.Y("subject:N", sort=[ORIGINAL, "adversarial"], title=None).axis(domain=False, ticks=False),
    )
    shown = tile.mark_image(width=TILE, height=TILE, smooth=False).encode(
        url="url:N",
        tooltip=[
            alt.Tooltip("pair:N"),
            alt.Tooltip("subject:N", title="map of"),
            alt.Tooltip("name:N", title="method"),
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
        labelExpr="slice(split(datum.label, '\\n'), 1)",
        labelAngle=0,
        labelAlign="left",
        labelOrient="left",
        labelLimit=130,
    )
    row = alt.Row("heading:N", sort=alt.EncodingSortField("place", op="min"), title=None, header=header)
    layers = alt.layer(shown, scale_only, data=pl.DataFrame(_tiles(maps, pairs, titles, facts)))
    pick_method = picker("method", ["", *methods], ["all", *map(method_name, methods)])
    return (
        layers.facet(row=row, spacing=10)
        .transform_filter(picked(pairs, FIRST))
        .transform_filter(f"method == '' || datum.method == method || datum.method == '{IMAGE}'")
        .properties(title=no_pair(pairs))
        .add_params(*class_pickers(pairs, facts), pick_method)
    )


def _titles(methods: list[str]) -> dict[str, list[str]]:
    """The lines above each column: as many for each, so that the last ones stand side by side."""
    lines = {m: wrap(_breakable(m), 12, break_long_words=False) for m in methods}
    most = max(map(len, lines.values()))
    return {method: [""] * (most - len(found)) + found for method, found in lines.items()}


def _breakable(method: str) -> str:
    """Name of a column, to be broken between words: not before a number, but within the longest word."""
    name = method if method == IMAGE else method_name(method)
    return re.sub(r"\b(n|\u03c3) (?=\d)", "\\1\N{NO-BREAK SPACE}", name).replace("backprop", "back-prop")


def _tiles(
    maps: pl.DataFrame, pairs: pl.DataFrame, titles: dict[str, list[str]], facts: StudyFacts
) -> list[dict[str, Any]]:
    """Pair by pair its two images and, for each method, its two maps."""
    originals = _drawn(maps.filter(pl.col("subject") == ORIGINAL), "image_id", facts)
    adversarials = _drawn(maps.filter(pl.col("subject") != ORIGINAL), "place", facts)
    tiles = []
    for pair in pairs.iter_rows(named=True):
        for order, (method, lines) in enumerate(titles.items()):
            if method == IMAGE:
                name, pictures = "", _photos(pair)
            else:
                name = method_name(method)
                pictures = (
                    originals.get((pair["image_id"], method)),
                    adversarials.get((pair["place"], method)),
                )
            column = {"method": method, "name": name, "column": "\n".join(lines), "order": order}
            tiles += [
                pair_texts(pair, facts) | column | {"subject": subject, "value": 0.0} | picture
                for subject, picture in zip((ORIGINAL, "adversarial"), pictures, strict=True)
                if picture is not None
            ]
    return tiles


def _drawn(maps: pl.DataFrame, which: str, facts: StudyFacts) -> dict[tuple[int, str], dict[str, Any]]:
    """Each map as a picture, by the number in the column `which` and by method."""
    return {(row[which], row["method"]): _map(row, facts) for row in maps.iter_rows(named=True)}


def _map(row: dict[str, Any], facts: StudyFacts) -> dict[str, Any]:
    shape = row["height"], row["width"], row["channels"]
    drawn = row["status"] == "ok"
    url = map_uri(unflatten(row["relevance"], *shape)) if drawn else blank_uri(*shape[:2])
    return {"explains": facts.class_name(row["explained_class"]), "status": row["status"], "url": url}


def _photos(pair: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"explains": "", "status": "", "url": photo_uri(pixels)} for pixels in pair_pixels(pair)]
