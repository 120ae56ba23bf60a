"""Commands that look at a lake from outside: `status` and `log`."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from flows.errors import UserError
from flows.options import LakeOption, LimitOption, StudyArgument

STATUS_EXAMPLES = (
    "Example: relevance-lake status paper --lake big\n\n"
    "Example: relevance-lake status paper --lake big --format json | jq '.runs[0].outcome'"
)
LOG_EXAMPLES = (
    "Example: relevance-lake log --lake big\n\n"
    "Example: relevance-lake log --lake big --format json | jq 'select(.event == \"unit\")'"
)


class StatusFormat(StrEnum):
    """How it is printed."""

    table = "table"
    json = "json"


def status(
    study: StudyArgument = "demo",
    lake: LakeOption = "./lake",
    limit: LimitOption = None,
    format: Annotated[StatusFormat, typer.Option(help="json: for monitoring.")] = StatusFormat.table,
) -> None:
    """Show how a study stands: what is there and what is missing, who is at it, how the last runs ended.

    What is to come is told with an estimate of its time, at the rate of the study's last run.

    A run that was killed shows as interrupted; the next one goes on where it stopped. Nothing is written.
    """
    from rich.console import Console

    from flows.plan import Plan, opened
    from flows.status import printed, status_of

    loaded, target = opened(study, lake, limit)
    target.must_exist()
    plan = Plan(loaded, target)
    found = status_of(plan)
    if format is StatusFormat.json:
        print(json.dumps(found.as_json(), indent=1, default=str))
        return
    Console().print(printed(plan, found), highlight=False)
    for line in found.to_import:
        print(line)


def log(
    run: Annotated[
        str | None, typer.Argument(help="The run, as `status` names it.", show_default="last")
    ] = None,
    lake: LakeOption = "./lake",
    format: Annotated[
        StatusFormat, typer.Option(help="json: the events as they are, one a line.")
    ] = StatusFormat.table,
) -> None:
    """Print the log of a run: steps, units of work with their rates, how far it is, faults, how it ended.

    The logs are the files logs/RUN.jsonl in the lake, one JSON object a line, also of runs that were killed.
    """
    from flows.lake import Lake
    from flows.run_log import logged_runs, read_log
    from flows.status import log_lines

    target = Lake(lake)
    target.must_exist()
    known = logged_runs(target)
    if not known:
        raise UserError(f"{target.url} has no logs yet: every run writes one")
    if run is not None and run not in known:
        raise UserError(f"{target.url} has no log of a run {run}: the last ones are {', '.join(known[-3:])}")
    chosen = run or known[-1]
    if format is StatusFormat.json:
        lines = (json.dumps(event) for event in read_log(target, chosen))
    else:
        lines = log_lines(target, chosen)
    for line in lines:
        print(line)
