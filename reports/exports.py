"""Every chart of a report as SVG and PNG, and every table as CSV, for papers and slides."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from reports.page import chart_specs
from reports.parts import Section
from reports.table import Table

PNG_SCALE = 2.0
"""Pixels of a PNG for each pixel of the page."""


def export_count(content: Sequence[Section]) -> int:
    """How many charts and tables `export` writes."""
    return len(chart_specs(list(content))) + sum(1 for _ in _tables(content))


def export(content: Sequence[Section], folder: str | os.PathLike[str]) -> Iterator[list[Path]]:
    """Write `<figure>-<panel>.svg` and `.png` of each chart, `.csv` of each table, in light colours.

    Yields the paths of each chart or table once they are written; files of the same name are replaced.
    """
    import vl_convert

    from reports.theme import config

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for name, spec in chart_specs(list(content)).items():
        chart = spec | {"config": config("light") | {"background": "white"}}
        svg, png = target / f"{name}.svg", target / f"{name}.png"
        svg.write_text(vl_convert.vegalite_to_svg(chart), encoding="utf-8")
        png.write_bytes(vl_convert.vegalite_to_png(chart, scale=PNG_SCALE))
        yield [svg, png]
    for name, table in _tables(content):
        path = target / f"{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(_lines(table))
        yield [path]


def _tables(content: Sequence[Section]) -> Iterator[tuple[str, Table]]:
    for section in content:
        for group in section.groups:
            for figure in group.figures:
                for i, panel in enumerate(figure.panels):
                    if panel.table is not None:
                        yield f"{figure.id}-{i}", panel.table


def _lines(table: Table) -> Iterator[list[str]]:
    """The heading and every row; a number is the exact one, a head that spans rows stands in each."""
    yield list(table.columns)
    heads: list[str] = []
    left: list[int] = []
    for row in table.rows:
        for i, (text, span) in enumerate(row.heads):
            if i == len(heads):
                heads.append("")
                left.append(0)
            if span:
                heads[i], left[i] = text, span
        yield [*heads[: len(row.heads)], *(c.text if c.value is None else repr(c.value) for c in row.cells)]
