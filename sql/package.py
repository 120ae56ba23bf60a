"""The SQL that ships with this package: macros, shared views, analyses, data checks, published figures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable


@dataclass(frozen=True)
class Analysis:
    """One file of sql/analyses, sql/views or sql/checks: a header comment and one select statement."""

    name: str
    title: str
    text: str
    sql: str

    @property
    def sources(self) -> set[str]:
        """Names that the statement reads: tables, views and its own CTEs."""
        return set(re.findall(r"\b(?:from|join) (\w+)", self.sql))

    @property
    def columns(self) -> dict[str, tuple[str, str]]:
        """Unit and meaning of each column that the header describes."""
        _, _, listed = self.text.partition("\nColumns:\n")
        entries = re.findall(r"^  (\w+)(?: \[(.*?)\])?: (.*(?:\n    .*)*)", listed, re.MULTILINE)
        return {name: (unit, " ".join(meaning.split())) for name, unit, meaning in entries}


def analyses() -> dict[str, Analysis]:
    """Every analysis of sql/analyses by name, read from its file."""
    return dict(_read_folder("analyses"))


def shared_views() -> dict[str, Analysis]:
    """The views that analyses share, of sql/views, by name."""
    return dict(_read_folder("views"))


def checks() -> dict[str, Analysis]:
    """The data checks of sql/checks by name: each selects the rows that are wrong."""
    return dict(_read_folder("checks"))


def macros() -> list[str]:
    """The `create macro` scripts of sql/macros."""
    return [file.read_text("utf-8") for file in _sql_files("macros")]


def published_figures() -> str:
    """The figures printed in the paper, as CSV text; its columns are described in published/README.md."""
    return (resources.files("sql") / "published" / "published_figures.csv").read_text("utf-8")


@cache
def _read_folder(folder: str) -> dict[str, Analysis]:
    return {analysis.name: analysis for analysis in map(_parse, _sql_files(folder))}


def _sql_files(folder: str) -> list[Traversable]:
    files = (resources.files("sql") / folder).iterdir()
    return sorted((file for file in files if file.name.endswith(".sql")), key=lambda file: file.name)


def _parse(file: Traversable) -> Analysis:
    content = file.read_text("utf-8")
    header = re.match(r"(?:--.*\n)+", content)
    if header is None:
        raise ValueError(f"{file.name}: the file must start with a comment that says what it answers")
    text = re.sub(r"^-- ?", "", header.group(), flags=re.MULTILINE).strip()
    title = " ".join(text.split("\n\n")[0].split("\nColumns:")[0].split())
    return Analysis(file.name.removesuffix(".sql"), title, text, content[header.end() :].strip())
