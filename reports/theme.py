"""One theme for all charts: colours, type and spacing, in a light and a dark variant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import altair as alt

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
ORIGINAL_COLOUR = "#4a8fc7"
ADVERSARIAL_COLOUR = "#e0742f"
REFERENCE_COLOUR = "#8a8f98"
"""Chance levels and printed figures: what a result is held against."""

CELL = 244
"""Width that many a small multiple is derived from, in pixels."""

GAP = 14
"""Space between small multiples, in pixels."""


def fitting(width: int, names: Sequence[str] = ("100 %",)) -> dict[str, int]:
    """What the page's script needs to choose how many small multiples of a width stand side by side.

    names: labels of the axis at the left, beside the first of them.
    """
    return {"cell": width + GAP, "margin": 16 + 6 * max(map(len, names), default=0)}


INKS = {
    "light": ("#1d2430", "#4b5563", "#dfe3e8"),
    "dark": ("#e6e8eb", "#aeb6c0", "#343a44"),
    "page": ("var(--ink)", "var(--soft)", "var(--line)"),
}
"""Colours of text, of lesser text and of lines; those of `page` are defined by its style sheet."""


def config(variant: Literal["light", "dark", "page"]) -> dict[str, Any]:
    """Vega-Lite configuration; the background stays transparent, so that the page's own shows through.

    `page`: a chart drawn as SVG inside the page turns from light to dark, and to paper, with its style.
    """
    ink, soft, line = INKS[variant]
    text = {"labelColor": soft, "titleColor": soft, "labelFontSize": 11, "titleFontSize": 11}
    return {
        "background": None,
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            **text,
            "titleFontWeight": "normal",
            "gridColor": line,
            "domainColor": line,
            "tickColor": line,
        },
        "legend": {**text, "titleFontWeight": "normal"},
        "header": {**text, "labelColor": ink, "labelFontWeight": 600},
        "title": {"color": ink, "fontSize": 12},
        "text": {"color": ink},
        "rule": {"color": soft},
        "range": {
            "category": [
                ORIGINAL_COLOUR,
                ADVERSARIAL_COLOUR,
                REFERENCE_COLOUR,
                "#009e73",
                "#cc79a7",
                "#b8a100",
            ]
        },
    }


def spec(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """Vega-Lite of a chart, without configuration: the page adds the light or the dark one.

    Checking it against the schema takes longer than all else of a page; the tests do that.
    """
    import altair as alt

    with alt.data_transformers.enable("default", max_rows=None):
        made = chart.to_dict(validate=False)
    made.pop("config", None)
    return made
