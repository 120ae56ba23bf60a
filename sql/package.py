"""The SQL of this package: macros, views, partial results, analyses, data checks, published figures."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TypeVar


@dataclass(frozen=True)
class Analysis:
    """One file of SQL, of analyses, partials, views or checks: a header comment and one select statement."""

    name: str
    title: str
    text: str
    sql: str

    @property
    def sources(self) -> set[str]:
        """Names that the statement reads: tables, views and its own CTEs."""
        return set(re.findall(r"\b(?:from|join) (\w+)", self.sql))

    @property
    def definition(self) -> str:
        """The statement with everything in this package that decides its rows."""
        views = shared_views() | partials()
        found = {name: views[name].sql for name in _read_by(self.sources, views)} | {self.name: self.sql}
        defined = [re.sub("^ *--.*\n", "", script, flags=re.MULTILINE) for script in macros()]
        return "\n".join([*defined, *(found[name] for name in sorted(found))])

    def said(self, field: str) -> str:
        """What the header says behind `field: `, or nothing."""
        match = re.search(rf"^{field}: (.*(?:\n  .*)*)", self.text, re.MULTILINE)
        return match[1] if match else ""

    @property
    def columns(self) -> dict[str, tuple[str, str]]:
        """Unit and meaning of each column that the header describes."""
        _, _, listed = self.text.partition("\nColumns:\n")
        entries = re.findall(r"^  (\w+)(?: \[(.*?)\])?: (.*(?:\n    .*)*)", listed, re.MULTILINE)
        return {name: (unit, " ".join(meaning.split())) for name, unit, meaning in entries}


Kind = TypeVar("Kind", bound=Analysis)


@dataclass(frozen=True)
class Partial(Analysis):
    """One file of sql/partials: rows that add up over the partitions of the lake."""

    @property
    def is_of_shard(self) -> bool:
        """Whether its rows are of one shard of one series, rather than of the whole series."""
        return self.said("Unit") == "shard"

    @property
    def compares(self) -> bool:
        """Whether it compares maps with those of their originals."""
        return "adversarials" in self.said("Inputs")

    @property
    def compares_all(self) -> bool:
        """Whether it compares all maps with those of their originals, not only the paper's."""
        return self.said("Maps") == "all"

    @property
    def compares_everything(self) -> bool:
        """Whether it compares maps with all that they are held against, not only with those of originals."""
        return self.said("References") == "all"


@dataclass(frozen=True)
class Check(Analysis):
    """One file of sql/checks: it selects the rows that are wrong."""

    @property
    def is_of_map(self) -> bool:
        """Whether it looks at each map by itself, at all of its values: see sql/map_checks.py."""
        return self.said("Unit") == "map"

    @property
    def violations(self) -> str:
        """The query of how many rows are wrong, and of one of them, the same every time."""
        return f"select count(*), min(to_json(wrong)::varchar) from ({self.sql}) as wrong"


@dataclass(frozen=True)
class TableMacro(Analysis):
    """One file of sql/table_macros: a view with parameters, which its header names."""

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters, in order."""
        return self.said("Parameters").split(", ")


def analyses() -> dict[str, Analysis]:
    """Every analysis of sql/analyses by name, read from its file."""
    return _read_folder("analyses", Analysis)


def shared_views() -> dict[str, Analysis]:
    """The views that analyses share, of sql/views, by name."""
    return _read_folder("views", Analysis)


def partials() -> dict[str, Partial]:
    """The partial results of sql/partials by name: sums over partitions, which a lake may keep."""
    return _read_folder("partials", Partial)


def views(only: Collection[str] | None = None) -> dict[str, Analysis]:
    """Shared views, partial results and analyses by name: all, or those wanted and what they read."""
    every = shared_views() | partials() | analyses()
    if only is None:
        return every
    found = _read_by(only, every)
    return {name: view for name, view in every.items() if name in found}


def _read_by(names: Collection[str], views: Mapping[str, Analysis]) -> set[str]:
    """Those of the names that are views, and the views that they read, directly or through others."""
    found = set(names) & views.keys()
    waiting = list(found)
    while waiting:
        read = views[waiting.pop()].sources & views.keys() - found
        found |= read
        waiting += read
    return found


def checks() -> dict[str, Check]:
    """The data checks of sql/checks by name: each selects the rows that are wrong."""
    return _read_folder("checks", Check)


def macros() -> list[str]:
    """The `create macro` scripts of sql/macros."""
    return [file.read_text("utf-8") for file in _sql_files("macros")]


def table_macros() -> dict[str, TableMacro]:
    """The views with parameters, of sql/table_macros, by name."""
    return _read_folder("table_macros", TableMacro)


def published_figures() -> str:
    """The figures printed in the paper, as CSV text; its columns are described in published/README.md."""
    return (resources.files("sql") / "published" / "published_figures.csv").read_text("utf-8")


def _read_folder(folder: str, kind: type[Kind]) -> dict[str, Kind]:
    return {file.name.removesuffix(".sql"): kind(*_parse(file)) for file in _sql_files(folder)}


@cache
def _sql_files(folder: str) -> list[Traversable]:
    files = (resources.files("sql") / folder).iterdir()
    return sorted((file for file in files if file.name.endswith(".sql")), key=lambda file: file.name)


@cache
def _parse(file: Traversable) -> tuple[str, str, str, str]:
    content = file.read_text("utf-8")
    header = re.match(r"(?:--.*\n)+", content)
    if header is None:
        raise ValueError(f"{file.name}: the file must start with a comment that says what it answers")
    text = re.sub(r"^-- ?", "", header.group(), flags=re.MULTILINE).strip()
    title = " ".join(text.split("\n\n")[0].split("\nColumns:")[0].split())
    return file.name.removesuffix(".sql"), title, text, content[header.end() :].strip()
