"""One self-contained HTML page: it loads nothing, and the reader's browser draws its charts."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports.datasets import taken_apart
from reports.embedded import packed, plain_columns
from reports.parts import Section, Studied
from reports.published import PublishedFigures, published_figures
from reports.results import ReportError, StudyFacts, check_results, load_results
from reports.sections import sections
from reports.study_tables import settings_table

__all__ = ["ReportError", "StudyFacts", "load_results", "render_page", "write_report"]

STYLES = ("page.css", "figures.css", "print.css")
SCRIPTS = ("data.js", "tables.js", "contents.js", "charts.js")
"""Files of the template, in the order in which they are joined: the scripts are one module."""


def write_report(
    results: Mapping[str, pl.DataFrame],
    study: StudyFacts,
    path: str | os.PathLike[str],
    *,
    others: Sequence[tuple[Mapping[str, pl.DataFrame], StudyFacts]] = (),
    queries: Mapping[str, str] | None = None,
    published: PublishedFigures | None = None,
) -> Path:
    """Write the report of a study as one HTML file, whole or not at all, and return its path.

    `results` maps each analysis to its stored result (see `load_results`); `others` are the results of other
    studies that stand beside it, with what is to be said of them; `queries` maps an analysis to
    its SQL text (default: the texts of the sql room); `published` are the figures to stand beside (default:
    the paper's). Raises ReportError where a result or one of its columns is missing.
    """
    page = render_page(results, study, others=others, queries=queries, published=published)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed below, then renamed
        "w", encoding="utf-8", dir=target.parent, prefix=".tmp-", delete=False
    )
    try:
        with file:
            file.write(page)
        os.chmod(file.name, 0o644)
        os.replace(file.name, target)
    except BaseException:
        os.unlink(file.name)
        raise
    return target


def render_page(
    results: Mapping[str, pl.DataFrame],
    study: StudyFacts,
    *,
    others: Sequence[tuple[Mapping[str, pl.DataFrame], StudyFacts]] = (),
    queries: Mapping[str, str] | None = None,
    published: PublishedFigures | None = None,
) -> str:
    """The text of the page; arguments and errors as `write_report`."""
    from reports.bundle import vega_bundle
    from reports.theme import config

    studies = side_by_side([(results, study), *others])
    content = page_content(studies, published)
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html.j2")
    shown = {figure.analysis for section in content for group in section.groups for figure in group.figures}
    specs, data = taken_apart(chart_specs(content))
    embedded = {
        one.label: {name: plain_columns(frame) for name, frame in one.results.items() if name in shown}
        for one in studies
    }
    return template.render(
        title=" and ".join(one.facts.title or one.label for one in studies),
        studies={one.label: one.facts for one in studies},
        sections=content,
        settings={one.label: settings_table(one.facts) for one in studies},
        queries=sql_texts() if queries is None else queries,
        embedded=embedded,
        data=Markup(packed(embedded)),
        charts=Markup(packed({"config": config("page"), "specs": specs, **data})),
        bundle=Markup(vega_bundle()),
        style=Markup(_joined(STYLES)),
        script=Markup(_joined(SCRIPTS)),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def side_by_side(studies: Sequence[tuple[Mapping[str, pl.DataFrame], StudyFacts]]) -> list[Studied]:
    """Studies whose results are complete, each with a label of its own: its name, with its lake where two
    have the same. Raises ReportError as `check_results`, and where a study is given twice."""
    names = [facts.name for _, facts in studies]
    made = []
    for results, facts in studies:
        label = facts.name if names.count(facts.name) == 1 else f"{facts.name} in {facts.lake}"
        if label in (one.label for one in made):
            raise ReportError(f"the study {label} is compared with itself: name another study or lake")
        made.append(Studied(label, check_results(results, facts.name, facts.lake), facts))
    return made


def page_content(studies: Sequence[Studied], published: PublishedFigures | None = None) -> list[Section]:
    """The sections of the page; `published` as `write_report`."""
    return sections(studies, published_figures() if published is None else published)


def chart_specs(content: list[Section]) -> dict[str, dict[str, Any]]:
    """Vega-Lite of every chart of the page, by the id of its place: `<figure>-<number of its panel>`."""
    from reports.theme import spec

    specs = {}
    for section in content:
        for group in section.groups:
            for figure in group.figures:
                for i, panel in enumerate(figure.panels):
                    if panel.chart is not None:
                        title = f"{figure.title}, {panel.title}" if panel.title else figure.title
                        specs[f"{figure.id}-{i}"] = spec(panel.chart) | {"description": title}
    return specs


def sql_texts() -> dict[str, str]:
    """SQL of every analysis, with the shared views that it reads before it."""
    from sql.package import analyses, partials, shared_views

    views = shared_views() | partials()

    def needed(sources: set[str]) -> list[str]:
        found: list[str] = []
        for name in sorted(sources & views.keys()):
            found += [*needed(views[name].sources), name]
        return list(dict.fromkeys(found))

    texts = {}
    for name, analysis in analyses().items():
        before = [
            f"-- view {view}: {views[view].title}\n{views[view].sql}" for view in needed(analysis.sources)
        ]
        texts[name] = "\n\n".join([*before, f"-- {name}: {analysis.title}\n{analysis.sql}"])
    return texts


def _joined(names: tuple[str, ...]) -> str:
    folder = Path(__file__).parent / "templates"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)
