"""`relevance-lake report`: the page, its charts as files, and other studies beside it."""

from __future__ import annotations

import sys
import webbrowser
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from flows.options import LakeOption, StudyArgument
from flows.steps import working

EXAMPLE = "Example: relevance-lake report demo --charts figures --open"


def report(
    study: StudyArgument = "demo",
    lake: LakeOption = "./lake",
    output: Annotated[
        str | None,
        typer.Option(
            help="Path of the HTML file, or its place in a bucket: s3://bucket/demo.html.",
            show_default="reports/STUDY.html in the lake, folder or bucket",
        ),
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STUDY|LAKE",
            help="Another study of this lake, or another lake that holds this study, on the same page; "
            "may be given again.",
        ),
    ] = None,
    charts: Annotated[
        str | None, typer.Option(help="Folder for each chart as SVG and PNG and each table as CSV.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Write the HTML report from the results in the lake."""
    from flows.plan import opened
    from flows.report import compared, local_copy
    from flows.report import report as write
    from flows.runs import record_run

    loaded, target = opened(study, lake)
    others = compared(compare or [], loaded, target)
    target.must_exist()
    recorded = nullcontext() if output else record_run(loaded, target, "report", alone=False)
    with working(f"report of {loaded.name}, lake {target.url}"), recorded:
        path = write(loaded, target, output, others, charts)
    Console().print(file_link(path), highlight=False, soft_wrap=True)
    if open_it and not webbrowser.open(Path(local_copy(path)).as_uri()):
        print("no browser was found to open it", file=sys.stderr)


def file_link(path: str) -> str:
    """Rich markup of a path that a terminal opens on a click; of a place in a bucket its address."""
    if "://" in path:
        return escape(path)
    return f"[link={Path(path).as_uri()}]{escape(path)}[/link]"
