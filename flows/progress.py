"""Progress of long work: bars on a terminal, log lines elsewhere, and events in the log of the run."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from flows.run_log import note

console = Console(stderr=True)
logger = logging.getLogger("relevance_lake")
_display: Progress | None = None

SECONDS_A_LINE = 30.0
"""Time between the lines of unfinished work, where there is no terminal."""


class TimeLeft(ProgressColumn):
    """Time left at the mean rate so far: rich's own estimate forgets what was done 30 seconds ago."""

    def render(self, task: Task) -> Text:
        """The column's text."""
        if task.elapsed is None or task.total is None:
            return Text("")
        return Text(time_left(int(task.completed), int(task.total), task.elapsed), style="progress.remaining")


def time_left(done: int, total: int, seconds: float) -> str:
    """`0:01:30 left` after so many seconds; empty at the start and at the end."""
    left = seconds_left(done, total, seconds)
    return f"{timedelta(seconds=round(left))} left" if left else ""


def seconds_left(done: int, total: int, seconds: float) -> float | None:
    """Seconds that the rest takes at the mean rate; None before anything is done, and at the end."""
    return seconds / done * (total - done) if 0 < done < total else None


@contextmanager
def progress_display() -> Iterator[None]:
    """Show the bars of `track` on standard error while this is open."""
    global _display
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<34}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}  {task.fields[note]}"),
        TimeElapsedColumn(),
        TimeLeft(),
    )
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as display:
        _display = display
        try:
            yield
        finally:
            _display = None


@contextmanager
def track(description: str, total: int, unit: str) -> Iterator[Callable[..., None]]:
    """A bar of `total` units; yields `advance(steps=1, note="")`.

    Without a terminal a line is written now and then, and one at the end; the same in the log of the run,
    and one at the start.
    """
    display, started = _display, time.monotonic()
    task = display.add_task(description, total=total, unit=unit, note="") if display else None
    done, noted, said = 0, "", started
    _log(description, 0, total, unit, 0.0, "")

    def advance(steps: int = 1, note: str = "") -> None:
        nonlocal done, noted, said
        done, noted, now = done + steps, note, time.monotonic()
        rate = _rate(done, unit, now - started)
        if display and task is not None:
            display.update(task, advance=steps, note=_joined(rate, note))
        if now - said >= SECONDS_A_LINE and done < total:
            said = now
            left = time_left(done, total, now - started)
            _say(display, f"{description}: {_joined(f'{done} of {total} {unit}', rate, note, left)}")
            _log(description, done, total, unit, now - started, note)

    yield advance
    seconds = time.monotonic() - started
    _log(description, total, total, unit, seconds, noted)
    rate = _rate(total, unit, seconds)
    _say(display, f"{description}: {_joined(f'{total} {unit} in {seconds:.1f} s', rate, noted)}")


def _log(what: str, done: int, total: int, unit: str, seconds: float, said: str) -> None:
    """An event in the log of the run."""
    facts = {"what": what, "done": done, "total": total, "unit": unit, "seconds": round(seconds, 3)}
    if done and seconds > 0:
        facts["a_second"] = round(done / seconds, 3)
    if left := seconds_left(done, total, seconds):
        facts["seconds_left"] = round(left, 1)
    note("progress", **facts | ({"note": said} if said else {}))


def _rate(done: int, unit: str, seconds: float) -> str:
    """`12 pairs/s`."""
    if not done or seconds <= 0:
        return ""
    rate = done / seconds
    return f"{rate:,.0f} {unit}/s" if rate >= 100 else f"{rate:.3g} {unit}/s"


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _say(display: Progress | None, line: str) -> None:
    """Write a line where no bar is shown."""
    if display is None:
        logger.info(line)
    elif display.disable:
        console.print(line, highlight=False)
