"""The record of runs: who ran what, when, on what, for how long, how much it wrote, and how it ended.

Every command that writes to a lake records its run: a row of `runs` when it ends, and a log as it goes
(flows/run_log.py). A run that was killed writes no row; the next run finds its log, and that nobody is at it
any more, and writes the row in its place.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from flows import processes
from flows.counts import Counts, Step
from flows.lake import Lake
from flows.lease import Held, current_lease, held, leased, new_run
from flows.processes import machine
from flows.run_log import RunLog, is_open, logged_runs, open_log, read_log
from flows.study import Study
from flows.versions import versions
from sql.tables import RUNS

SECONDS_OF_SILENCE = 600.0
"""A run elsewhere that holds no lease, and whose log says nothing for so long, is over."""

logger = logging.getLogger("relevance_lake")


@contextmanager
def record_run(study: Study | None, lake: Lake, command: str, alone: bool = True) -> Iterator[Step]:
    """Record the block as a run of a command on a lake; within another run of it, as a step of that one.

    study: None where the command is of the whole lake. alone: it holds the lake's lease meanwhile; LakeInUse
    where another run does. Outcomes: completed, failed (an error), interrupted (Ctrl-C, a cancelled flow run,
    or what killed it).
    """
    if outer := open_log(lake):
        with _step(outer, command) as step:
            yield step
        return
    name = study.name if study else ""
    with (
        leased(lake, command, name) if alone else nullcontext() as mine,
        RunLog(lake, _id(lake, mine)) as log,
    ):
        clock = time.monotonic()
        start = _start(study, command, log.run)
        log.write("start", **start)
        _record_others(lake)
        end: dict[str, Any] = {"outcome": "completed", "error": None}
        try:
            with _step(log, command) as step:
                yield step
        except BaseException as error:
            stop = _stop(error)
            end = {"outcome": "interrupted" if stop else "failed", "error": _message(stop or error)}
            raise
        finally:
            end["seconds"] = time.monotonic() - clock
            end |= _totals(sum((one.counts for one in log.steps), Counts()))
            end["steps"] = {one.name: one.counts.as_row() for one in log.steps}
            _write_row(lake, start | end)
            log.write("end", **end)


def _id(lake: Lake, mine: Held | None) -> str:
    """The run of the lease; one of its own where that is told already, or none is held."""
    if mine is not None and mine.lease.run not in logged_runs(lake):
        return mine.lease.run
    return new_run()


@contextmanager
def _step(log: RunLog, name: str) -> Iterator[Step]:
    """A step of a run; its end is logged, whatever it is."""
    step, clock = Step(name), time.monotonic()
    log.steps.append(step)
    log.write("step", step=name, state="begun")
    end: dict[str, Any] = {"state": "done"}
    try:
        yield step
    except BaseException as error:
        end = {"state": "failed", "error": _message(error)}
        raise
    finally:
        step.counts = replace(step.counts, seconds=time.monotonic() - clock)
        log.write("step", step=name, **end, **step.counts.as_row())


def _start(study: Study | None, command: str, run: str) -> dict[str, Any]:
    """What is known of a run when it begins."""
    started = datetime.now(UTC)
    return {
        "run": run,
        "study": study.name if study else "",
        "command": command,
        "started": f"{started:%Y-%m-%dT%H:%M:%S.%f}"[:-3],
        "who": _who(),
        "host": platform.node(),
        "machine": machine(),
        "pid": os.getpid(),
        "python": platform.python_version(),
        "versions": versions(),
        "settings": study.model_dump(mode="json") if study else None,
    }


def _who() -> str:
    """Who runs this; a process in a container may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid()) if hasattr(os, "getuid") else ""


def _stop(error: BaseException | None) -> BaseException | None:
    """The Ctrl-C or signal behind an error: who is stopped may fail at what is then to be tidied."""
    seen: set[int] = set()  # an error may be its own cause
    while isinstance(error, Exception) and id(error) not in seen:
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None if isinstance(error, Exception) else error


def _message(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:2000].removesuffix(": ")


def _totals(counts: Counts) -> dict[str, int]:
    return {
        "written": counts.written,
        "skipped": counts.found,
        "pairs": counts.rows.get("adversarials", 0),
        "maps": counts.rows.get("relevance", 0),
        "bytes": counts.bytes,
    }


def _write_row(lake: Lake, facts: Mapping[str, Any]) -> None:
    """Write the row of a run that is over.

    A record that fails is no reason for a run to fail, and is not to hide what did; its log is there still.
    """
    row = {column.name: facts.get(column.name) for column in RUNS.columns}
    row["started"] = datetime.fromisoformat(facts["started"])
    for name in ("versions", "settings", "steps"):
        row[name] = None if facts[name] is None else json.dumps(facts[name])
    try:
        lake.write_entity(RUNS, row)
    except Exception as error:
        logger.warning(f"the run {facts['run']} is not recorded: {error}")


def _record_others(lake: Lake) -> None:
    """Record what was killed before; that this fails is no reason for a run not to begin."""
    try:
        record_interrupted(lake)
    except Exception as error:
        logger.warning(f"whether runs of {lake.url} were interrupted is not known: {error}")


def record_interrupted(lake: Lake) -> list[str]:
    """Write the rows of runs that were killed before they could; which they are."""
    found = []
    for run, events in unrecorded(lake):
        if not is_alive(lake, events) and not _is_recorded(lake, run):
            _write_row(lake, as_ended(events))
            found.append(run)
    return found


def _is_recorded(lake: Lake, run: str) -> bool:
    """Whether a run has a row by now: the listing may be older than its end."""
    lake.fs.invalidate_cache()
    return lake.fs.exists(f"{lake.root}/{RUNS.name}/{run}.parquet")


def unrecorded(lake: Lake) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Runs of other processes that have a log and no row, with their events: they go on, or were killed."""
    recorded = {name.removesuffix(".parquet") for name in lake.names(RUNS.name)}
    own = open_log(lake)
    for run in logged_runs(lake):
        if run not in recorded and (own is None or run != own.run):
            events = read_log(lake, run)
            if events and events[0]["event"] == "start":
                yield run, events


def is_alive(lake: Lake, events: list[dict[str, Any]]) -> bool:
    """Whether somebody is at a run without a row: its process here; elsewhere, what lease and log say."""
    start, last = events[0], events[-1]
    if last["event"] == "end":
        return False
    if start["machine"] == machine():
        if start["pid"] == os.getpid():  # in a container that starts again, of a run before
            return is_open(start["run"])
        return processes.is_alive(start["pid"])
    lease = current_lease(lake)
    if lease is not None and lease.run == start["run"]:
        return lease.is_live
    mine = held(lake)
    before = mine.interrupted if mine else None
    if before is not None and before.run == start["run"] and _time(last) < before.until:
        return False
    return datetime.now(UTC) - _time(last) < timedelta(seconds=SECONDS_OF_SILENCE)


def as_ended(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The facts of a run that wrote no row, from its log: its end, or what it did until its last word."""
    start, last = events[0], events[-1]
    if last["event"] == "end":
        return start | {name: value for name, value in last.items() if name not in ("time", "event")}
    done, pending, steps = Counts(), Counts(), {}
    for event in events:
        if event["event"] == "unit" and event["state"] == "done":
            pending += _counts(event)
            steps[event["step"]] = pending.as_row()
        elif event["event"] == "step" and event["state"] != "begun":
            done, pending = done + _counts(event), Counts()
            steps[event["step"]] = _counts(event).as_row()
    seconds = (_time(last) - _time(start)).total_seconds()
    facts = start | {"outcome": "interrupted", "error": f"no word of it after {last['time']}"}
    return facts | _totals(done + pending) | {"seconds": seconds, "steps": steps}


def _counts(event: Mapping[str, Any]) -> Counts:
    return Counts(event["written"], event["found"], event["rows"], event["bytes"], event["seconds"])


def _time(event: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(event["time"])
