"""The command `check`."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import LakeOption

if TYPE_CHECKING:
    from flows.check import Report

EXAMPLES = (
    "Example: relevance-lake check --lake big\n\n"
    "Example: relevance-lake check --lake big --format json --again"
)


class CheckFormat(StrEnum):
    """How the outcome is printed."""

    table = "table"
    json = "json"


def check(
    lake: LakeOption = "./lake",
    format: Annotated[CheckFormat, typer.Option(help="How the outcome is printed.")] = CheckFormat.table,
    again: Annotated[
        bool, typer.Option("--again", help="Read every file again, also those found sound before.")
    ] = False,
) -> None:
    """Check that a lake is sound: its files, and what is in them.

    Every file must be whole, of the schema of its table, and what its folder and name say.

    Every check must find nothing: keys unique, ranks the order of their map, originals to all examples, ...

    What was read before and has not changed is not read again. Exit code 1 where something is wrong.
    """
    from flows.check import check_lake
    from flows.lake import Lake
    from flows.progress import progress_display
    from flows.runs import record_run

    target = Lake(lake)
    target.must_exist()
    with progress_display(), record_run(None, target, "check", alone=False) as step:
        report = check_lake(target, again=again)
        step.add(target.counts)
    if format is CheckFormat.json:
        print(json.dumps(_as_json(report), indent=1))
    else:
        _print_tables(report)
    if not report.is_sound:
        raise typer.Exit(1)


def _as_json(report: Report) -> dict:
    from flows.check import outcome_table

    names = ("path", "fault", "problem", "remedy", "skipped")
    return {
        "sound": report.is_sound,
        "files": [{name: getattr(fault, name) for name in names} for fault in report.faults],
        "checks": outcome_table(report).to_pylist(),
    }


def _print_tables(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    from flows.check import outcome_table

    checks = Table("check", "what holds", "violations")
    checks.columns[0].no_wrap = True
    for row in outcome_table(report).to_pylist():
        checks.add_row(row["check"], row["title"], f"{row['violations']:,}")
    Console().print(checks)
    for outcome in report.violated:
        print(f"{outcome.check}: {outcome.violations:,} rows, such as {outcome.first}")
    for fault in report.faults:
        print(f"{fault.fault} file {fault}")
    if report.is_sound:
        print("The lake is sound.")
    elif report.refused:
        print("Checked without the faulty files; the lake is not opened as long as they are there.")
