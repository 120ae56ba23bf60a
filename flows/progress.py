"""Progress of long work: bars on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console(stderr=True)
logger = logging.getLogger("relevance_lake")
_display: Progress | None = None


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
        TimeRemainingColumn(),
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

    Without a terminal one line is written at the end.
    """
    display, started, notes = _display, time.monotonic(), [""]
    task = display.add_task(description, total=total, unit=unit, note="") if display else None

    def advance(steps: int = 1, note: str = "") -> None:
        notes[0] = note
        if display and task is not None:
            display.update(task, advance=steps, note=note)

    yield advance
    seconds = time.monotonic() - started
    if display is None or display.disable:
        line = f"{description}: {total} {unit} in {seconds:.1f} s {notes[0]}".rstrip()
        if display is None:
            logger.info(line)
        else:
            console.print(line, highlight=False)
