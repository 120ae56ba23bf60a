"""The data of all charts of a page, small: every data set once, column by column, and every text once.

Several charts hold the same images and maps, and the rows of one chart name the same method a thousand times.
The page's script makes whole specifications of it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Rows = list[dict[str, Any]]


def taken_apart(specs: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Charts that only name their data sets, and {"texts": [...], "sets": {name: {column: values}}}.

    `specs`: Vega-Lite by chart, whose data sets have the same name only if they are the same (Altair names
    them by their content). The values of a column of texts are {"texts": [place in the list, ...]}.
    """
    texts: dict[str, int] = {}
    sets: dict[str, Any] = {}
    charts = {}
    for chart, spec in specs.items():
        found = spec.get("datasets", {})
        charts[chart] = {**spec, "datasets": list(found)}
        for name, rows in found.items():
            if name not in sets:
                sets[name] = {
                    column: _column((row[column] for row in rows), texts) for column in _names(rows)
                }
    return charts, {"texts": list(texts), "sets": sets}


def put_together(charts: Mapping[str, Mapping[str, Any]], data: Mapping[str, Any]) -> dict[str, Any]:
    """The specifications that were taken apart; the page's script does the same."""

    def rows(columns: Mapping[str, Any]) -> Rows:
        whole = [
            [data["texts"][place] for place in values["texts"]] if isinstance(values, dict) else values
            for values in columns.values()
        ]
        return [dict(zip(columns, row, strict=True)) for row in zip(*whole, strict=True)]

    return {
        chart: {**spec, "datasets": {name: rows(data["sets"][name]) for name in spec["datasets"]}}
        for chart, spec in charts.items()
    }


def _names(rows: Rows) -> list[str]:
    return list(rows[0]) if rows else []


def _column(values: Iterable[Any], texts: dict[str, int]) -> Any:
    column = list(values)
    if not all(isinstance(value, str) for value in column):
        return column
    return {"texts": [texts.setdefault(value, len(texts)) for value in column]}
