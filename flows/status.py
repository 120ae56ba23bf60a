"""How a study stands in a lake: what is there, who is at it, how the last runs ended, what is to come."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flows.lake import Lake
from flows.plan import Plan
from flows.run_log import read_log
from flows.runs import as_ended, is_alive, unrecorded
from flows.summary import Tally, status_table, tally, to_come
from flows.wanted import to_import
from sql.tables import RUNS

LAST = 8
"""Runs that are shown."""
STEP_OF = {"adversarials": "attack", "relevance": "explain"}
WROTE = {"written": "files", "pairs": "pairs", "maps": "maps"}
ENOUGH_SECONDS = 5.0
"""A step that took less says little of its rate."""


@dataclass(frozen=True)
class Part:
    """Partitions and rows of an attack, a method, a model or a dataset: wanted, and in the lake."""

    table: str
    what: str
    wanted: int
    present: int
    rows: float
    rows_present: float


@dataclass(frozen=True)
class Working:
    """A run that goes on; `doing`: what its log said last."""

    run: str
    command: str
    study: str
    who: str
    host: str
    pid: int
    started: str
    said: str
    doing: str


@dataclass(frozen=True)
class Left:
    """What is to come of a table, and how long it takes: at the rate of the last run, or as first guessed."""

    table: str
    partitions: int
    rows: float
    seconds: float
    measured: bool


@dataclass(frozen=True)
class Status:
    """All of it. runs: rows of `runs`, the last first, and those that were killed and are no rows yet."""

    study: str
    lake: str
    complete: bool
    parts: list[Part]
    working: list[Working]
    runs: list[dict[str, Any]]
    left: list[Left]
    to_import: list[str]

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


def status_of(plan: Plan) -> Status:
    """How a study stands. Raises LakeMismatch where the lake was made from other inputs than the study's."""
    lake = plan.lake
    parts = [Part(*key, **vars(found)) for key, found in tally(plan, plan.known()).items()]
    going, killed = [], []
    for _, events in unrecorded(lake):
        if is_alive(lake, events):
            going.append(_working(events))
        else:
            killed.append(as_ended(events))
    runs = sorted([*killed, *_last_runs(lake)], key=lambda row: row["run"], reverse=True)
    return Status(
        study=plan.study.name,
        lake=lake.url,
        complete=plan.has_predictions()
        and plan.has_randomisations()
        and all(part.present == part.wanted for part in parts),
        parts=parts,
        working=going,
        runs=[_as_json(row) for row in runs[:LAST]],
        left=list(_left(plan, runs)),
        to_import=to_import(plan),
    )


def _last_runs(lake: Lake) -> Iterator[dict[str, Any]]:
    """The last rows of `runs`; those of before some columns have nothing there."""
    for name in lake.names(RUNS.name)[-LAST:]:
        row = lake.read(f"{RUNS.name}/{name}").to_pylist()[0]
        yield row | {"steps": json.loads(row.get("steps") or "{}")}


def _as_json(row: dict[str, Any]) -> dict[str, Any]:
    names = (column.name for column in RUNS.columns if column.name not in ("versions", "settings"))
    shown = {name: row.get(name) for name in names}
    started = row["started"]
    return shown | {"started": started if isinstance(started, str) else started.isoformat()}


def _working(events: list[dict[str, Any]]) -> Working:
    start, last = events[0], events[-1]
    facts = {name: start[name] for name in ("run", "command", "study", "who", "host", "pid", "started")}
    said = next((e for e in reversed(events) if e["event"] in ("progress", "step", "unit")), last)
    return Working(**facts, said=last["time"], doing=sentence(said))


def _left(plan: Plan, runs: list[dict[str, Any]]) -> Iterator[Left]:
    rates = _rates(runs, plan.study.name)
    for table, some in to_come(plan)[0].items():
        if some.rows:
            rate = rates.get(table)
            seconds = some.rows / rate if rate else some.seconds
            yield Left(table, some.files, some.rows, seconds, rate is not None)


def _rates(runs: Iterable[dict[str, Any]], study: str) -> dict[str, float]:
    """Rows a second of a table in the last run of the study that made enough of them to tell."""
    rates: dict[str, float] = {}
    for row in runs:
        for table, step in STEP_OF.items():
            done = row["steps"].get(step, {})
            rows, seconds = done.get("rows", {}).get(table, 0), done.get("seconds", 0.0)
            if row["study"] == study and table not in rates and rows and seconds > ENOUGH_SECONDS:
                rates[table] = rows / seconds
    return rates


def sentence(event: dict[str, Any]) -> str:
    """What an event of a run's log says, in one line."""
    kind = event["event"]
    if kind == "start":
        return f"{event['command']} of {event['study'] or 'the lake'} by {event['who']} on {event['host']}"
    if kind == "progress":
        left = event.get("seconds_left")
        rate = f"{event['a_second']:,.3g} {event['unit']}/s" if "a_second" in event else ""
        far = f"{event['done']:,} of {event['total']:,} {event['unit']}"
        to_come = f"{timedelta(seconds=round(left))} left" if left else ""
        return f"{event['what']}: " + ", ".join(
            part for part in (far, rate, event.get("note"), to_come) if part
        )
    if kind in ("step", "unit"):
        name = event["step"] if kind == "step" else f"{event['step']}, {event['unit']}"
        if event["state"] == "begun":
            return f"{name} begins"
        if "error" in event:
            return f"{name} {event['state']}: {event['error']}"
        wrote = f"{event['written']:,} files, {event['bytes'] / 1e6:,.1f} MB in {event['seconds']:,.1f} s"
        return f"{name} {event['state']}: {wrote}"
    if kind == "end":
        error = f": {event['error']}" if event["error"] else ""
        return f"{event['outcome']} after {event['seconds']:,.1f} s{error}"
    return f"{kind}: " + ", ".join(str(v) for name, v in event.items() if name not in ("time", "event"))


def log_lines(lake: Lake, run: str) -> Iterator[str]:
    """The log of a run for people: when, and what."""
    for event in read_log(lake, run):
        yield f"{event['time'][:19].replace('T', ' ')}  {sentence(event)}"


def printed(plan: Plan, status: Status) -> RenderableType:
    """A status for a terminal."""
    tallies = {(p.table, p.what): Tally(p.wanted, p.present, p.rows, p.rows_present) for p in status.parts}
    shown: list[RenderableType] = [status_table(plan, tallies)]
    if status.left:
        shown.append(_left_line(status.left))
    for one in status.working:
        who = f"{one.who} on {one.host}, process {one.pid}, since {_minute(one.started)} UTC"
        what = f"{one.command} of {one.study or 'the lake'} ({one.run})"
        shown.append(Text(f"at work: {what} by {who}. {one.said[11:19]}: {one.doing}"))
    if status.runs:
        shown.append(_runs_table(status.runs))
    return Group(*shown)


def _left_line(left: list[Left]) -> Text:
    hours = sum(one.seconds for one in left) / 3600
    measured = all(one.measured for one in left if one.seconds)
    rows = ", ".join(f"{one.rows:,.0f} rows of {one.table}" for one in left)
    how = "at the rate of the last run" if measured else "first guess, for 2 cores"
    return Text(f"to come: {rows}; about {hours:,.1f} hours ({how}), analyses and report aside")


def _runs_table(runs: list[dict[str, Any]]) -> Table:
    table = Table("run", "command", "outcome", "took", "wrote", title="last runs")
    table.columns[0].no_wrap = True
    for row in runs:
        wrote = [f"{row[name]:,} {unit}" for name, unit in WROTE.items() if row[name]]
        wrote += [f"{row['bytes'] / 1e6:,.1f} MB"] if row["bytes"] else []
        for step in STEP_OF.values():
            for name, rate in row["steps"].get(step, {}).items():
                if name in ("pairs_a_second", "maps_a_second"):
                    wrote.append(f"{rate:,.3g} {name.replace('_a_second', '/s')}")
        took = str(timedelta(seconds=round(row["seconds"])))
        what = f"{row['command']} {row['study']}".strip()
        table.add_row(row["run"], what, row["outcome"], took, ", ".join(wrote))
    return table


def _minute(time: str) -> str:
    return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M}"
