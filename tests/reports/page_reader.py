"""Reads a written page back: its tables, links, figures and chart specifications."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from reports.datasets import put_together
from reports.embedded import unpacked

VOID = {"meta", "br", "link", "img", "hr", "input"}


@dataclass
class Figure:
    """One figure: text of its caption and fold, and of each table row the cells (text, exact value)."""

    title: str = ""
    text: str = ""
    rows: list[list[tuple[str, float | None]]] = field(default_factory=list)


class PageReader(HTMLParser):
    """Fails on tags that are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.figures: dict[str, Figure] = {}
        self.scripts: dict[str, str] = {}
        self.text = ""
        self._figure: Figure | None = None
        self._script = ""
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    @property
    def specs(self) -> dict[str, Any]:
        """Vega-Lite of every chart, whole, by its place."""
        charts = unpacked(self.scripts["packed-charts"])
        return put_together(charts["specs"], charts)

    @property
    def results(self) -> dict[str, Any]:
        """By study and analysis the results that the page carries: of each its columns and how many rows."""
        return unpacked(self.scripts["packed-results"])

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.addresses += [
            (tag, v) for k, v in attrs if k in ("src", "href", "action", "data", "poster") and v
        ]
        if "id" in values:
            self.ids.append(values["id"] or "")
        if tag not in VOID:
            self.open.append(tag)
        if tag == "figure":
            self._figure = self.figures[values["id"] or ""] = Figure()
        if tag == "tr" and self._figure:
            self._figure.rows.append([])
        if tag in ("td", "th") and self._figure:
            value = values.get("data-value")
            self._figure.rows[-1].append(("", None if value is None else float(value)))
        if tag == "script":
            self._script = values.get("id") or f"script-{len(self.scripts)}"
            self.scripts[self._script] = ""

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]} at {self.getpos()}"
        self.open.pop()
        if tag == "figure":
            self._figure = None

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[self._script] += data
            return
        if self.open and self.open[-1] == "style":
            return
        self.text += data
        if self._figure is None:
            return
        self._figure.text += data
        if {"h3", "h4"} & set(self.open):
            self._figure.title += data
        if self.open and self.open[-1] in ("td", "th"):
            text, value = self._figure.rows[-1][-1]
            self._figure.rows[-1][-1] = (text + data, value)
