"""The log of a run, `logs/<run>.jsonl` in the lake, a JSON object a line: what it did, even if it was killed.

Every line has `time` (UTC) and `event`:

start      who and what: study, command, who, host, pid, versions, settings
step       a step begins (state: begun) or ends (done, failed): files, rows, bytes, seconds, rates
unit       a task is done or failed: a shard of attacks, maps of a subject and shard, a part of the analyses
progress   how far the work at hand is: done of total, rate, seconds that are left at it; at its start, now
           and then, and at its end
warning    what was warned of meanwhile: storage that failed and is tried again, a lease that was lost
fault      something beside the work was not made, such as an artifact: nothing is lost by it
end        outcome, what went wrong, and what the whole run wrote

Into a folder lines are appended as they come. A bucket knows no appending: there the log is one object that
is put anew now and then. A log that cannot be written is given up with a warning: it makes no run fail.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from datetime import UTC, datetime
from typing import IO, Any

from flows.counts import Step
from flows.lake import Lake

FOLDER = "logs"
SUFFIX = ".jsonl"
SECONDS_BETWEEN_PUTS = 30.0
"""On a bucket; the events of the last so many seconds are lost with a run that is killed."""

logger = logging.getLogger("relevance_lake")
_open: list[RunLog] = []


class RunLog:
    """The log of one run that goes on; `note` writes to the one opened last. Safe in threads."""

    def __init__(self, lake: Lake, run: str) -> None:
        self.lake, self.run = lake, run
        self.steps: list[Step] = []
        self._path = f"{lake.root}/{FOLDER}/{run}{SUFFIX}"
        self._lock = threading.RLock()
        self._warnings = _Warnings(self)
        self._file: IO[str] | None = None
        self._lines: list[str] = []
        self._put_at = -SECONDS_BETWEEN_PUTS
        self._given_up = False

    def __enter__(self) -> RunLog:
        _open.append(self)
        logger.addHandler(self._warnings)
        return self

    def __exit__(self, *_: object) -> None:
        _open.remove(self)
        logger.removeHandler(self._warnings)
        self._try(self._close)

    def write(self, event: str, **facts: Any) -> None:
        """Add a line."""
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
        line = json.dumps({"time": now, "event": event} | facts, default=str)
        self._try(self._append if self.lake.is_local else self._collect, line)

    def _try(self, write: Any, *line: str) -> None:
        failed = None
        with self._lock:
            if self._given_up:
                return
            try:
                write(*line)
            except Exception as error:  # whatever a storage raises: no record is worth the work it is of
                self._given_up, failed = True, error
        if failed:  # said without the lock, which this warning asks for
            logger.warning(f"the log {self._path} is given up: {failed}")

    def _append(self, line: str) -> None:
        if self._file is None:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            self._file = open(self._path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115
        self._file.write(line + "\n")

    def _collect(self, line: str) -> None:
        self._lines.append(line)
        if time.monotonic() - self._put_at >= SECONDS_BETWEEN_PUTS:
            self._put()

    def _put(self) -> None:
        self._put_at = time.monotonic()
        self.lake.fs.pipe_file(self._path, "".join(line + "\n" for line in self._lines).encode())

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._lines:
            self._put()


class _Warnings(logging.Handler):
    """Writes what is warned of into a log."""

    def __init__(self, log: RunLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.write("warning", message=record.getMessage())


def note(event: str, **facts: Any) -> None:
    """Add a line to the log of the run that this process is at; without one nothing."""
    if _open:
        _open[-1].write(event, **facts)


def open_log(lake: Lake) -> RunLog | None:
    """The log of the run that this process is at in a lake."""
    return next((log for log in reversed(_open) if log.lake.root == lake.root), None)


def is_open(run: str) -> bool:
    """Whether this process is at a run."""
    return any(log.run == run for log in _open)


def steps_of(lake: Lake) -> list[Step]:
    """The steps of that run so far; none where there is no run."""
    log = open_log(lake)
    return list(log.steps) if log else []


def logged_runs(lake: Lake) -> list[str]:
    """Runs that have a log, the oldest first."""
    bucket = lake.storage.bucket
    try:
        names = os.listdir(f"{lake.root}/{FOLDER}") if bucket is None else bucket.paths(f"{FOLDER}/")
    except (FileNotFoundError, NotADirectoryError):
        return []
    names = (name.rpartition("/")[2] for name in names)
    return sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))


def read_log(lake: Lake, run: str) -> list[dict[str, Any]]:
    """The events of a run; a line that was cut off when the run was killed is left out."""
    events = []
    for line in lake.fs.cat_file(f"{lake.root}/{FOLDER}/{run}{SUFFIX}").decode().splitlines():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return events
