"""One run at a time on a lake: a lease with an owner, which a heartbeat extends as long as the owner lives.

The lease is a small file, `lease.json`, in the lake. Whoever finds a live one of another run stops before any
work; one that expired, or whose process is dead, is taken over. In a folder two takers are kept apart by a
lock on a file. A bucket has no locks: two runs that start in the same second may both go on there. That
wastes work and harms nothing, since partitions are written whole, under names that say what they hold, and
two runs write the same ones. The lease saves work; how a lake is written keeps it sound (flows/lake.py).
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import platform
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta

from flows.errors import UserError
from flows.lake import Lake
from flows.processes import is_alive, machine
from flows.storage_faults import StorageFault, steadily
from flows.whole_files import remove_leftovers

logger = logging.getLogger("relevance_lake")

FILE = "lease.json"
LOCK = ".lease.lock"

EXPIRY_SECONDS = 60.0
"""After its last heartbeat a lease is anybody's. Clocks of hosts that share a lake agree better than this."""

HEARTBEAT_SECONDS = 15.0
"""Time between heartbeats; three may fail."""


class LakeInUse(UserError):
    """Another run holds the lease of the lake."""


@dataclass(frozen=True)
class Lease:
    """Who works on a lake: times in UTC; `machine` as flows/processes.py has it."""

    run: str
    command: str
    study: str
    host: str
    machine: str
    pid: int
    started: datetime
    until: datetime

    @property
    def is_live(self) -> bool:
        """Whether its owner may still be at work."""
        return datetime.now(UTC) < self.until and (self.machine != machine() or is_alive(self.pid))

    def sentence(self) -> str:
        """The owner, and from when until when."""
        study = f" of study {self.study}" if self.study else ""
        return (
            f"`relevance-lake {self.command}`{study} (process {self.pid} on {self.host}, "
            f"run {self.run}), since {self.started:%Y-%m-%d %H:%M:%S} UTC, "
            f"until {self.until:%H:%M:%S} UTC unless it extends that"
        )

    def as_json(self) -> str:
        times = {name: getattr(self, name).isoformat() for name in ("started", "until")}
        return json.dumps(asdict(self) | times, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Lease:
        values = json.loads(text)
        times = {name: datetime.fromisoformat(values[name]) for name in ("started", "until")}
        return cls(**(values | times))


@dataclass
class Held:
    """A lease that this process holds. interrupted: the one that was taken over, of a run that died."""

    lake: Lake
    lease: Lease
    interrupted: Lease | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    def extend(self) -> None:
        """Move the end of the lease; where another run has it by now, leave it there."""
        with _alone(self.lake):
            if self._over.is_set():
                return
            found = current_lease(self.lake)
            if found is not None and found.run != self.lease.run:
                self._over.set()
                logger.warning(
                    "this run was silent for so long that another took its lease of %s: %s. Both go on, "
                    "nothing is harmed, some work is done twice",
                    self.lake.url, found.sentence(),
                )  # fmt: skip
                return
            extended = replace(self.lease, until=_expiry())
            _write(self.lake, extended)
            self.lease = extended

    def beat(self) -> None:
        """Extend the lease now and then, until it is over."""
        while not self._over.wait(HEARTBEAT_SECONDS):
            try:
                self.extend()
            except Exception as error:  # whatever a storage raises: the run's own writes meet it too
                logger.warning("the lease of %s could not be extended: %s", self.lake.url, error)

    def release(self) -> None:
        """Give the lake free."""
        self._over.set()
        _runs.discard(self.lease.run)
        with suppress(Exception), _alone(self.lake):  # one that stays expires
            found = current_lease(self.lake)
            if found is not None and found.run == self.lease.run:
                self.lake.delete(FILE)


_runs: set[str] = set()
"""Runs of this process that go on: a lease of another one of it was left where its release failed."""

_holding: ContextVar[tuple[Held, ...]] = ContextVar("_holding", default=())


def held(lake: Lake) -> Held | None:
    """The lease that this run holds of a lake."""
    for one in _holding.get():
        if one.lake.root == lake.root and type(one.lake.fs) is type(lake.fs) and one.lease.pid == os.getpid():
            return one
    return None


def current_lease(lake: Lake) -> Lease | None:
    """The lease of a lake, live or not (`is_live`), or None; one look at one file."""
    path = f"{lake.root}/{FILE}"
    try:
        lake.fs.invalidate_cache(lake.root)
        text = steadily(f"{lake.url}/{FILE}", "read", lambda: lake.fs.cat_file(path))
        return Lease.from_json(text)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        logger.warning("%s/%s is no lease and counts for none (%s)", lake.url, FILE, error)
        return None


@contextmanager
def leased(lake: Lake, command: str, study: str) -> Iterator[Held]:
    """Hold the lease of a lake while the block runs; a run that holds it already goes on under that one.

    Raises LakeInUse where another run does. Removes what dead runs left half written.
    """
    if (outer := held(lake)) is not None:
        yield outer
        return
    mine = _take(lake, command, study)
    token = _holding.set((*_holding.get(), mine))
    heart = threading.Thread(target=mine.beat, name="lease", daemon=True)
    heart.start()
    try:
        if lake.is_local and (count := remove_leftovers(lake.root)):
            logger.info("%s: removed %d temporary files of dead runs", lake.url, count)
        yield mine
    finally:
        mine.release()
        heart.join(HEARTBEAT_SECONDS)
        _holding.reset(token)


def _take(lake: Lake, command: str, study: str) -> Held:
    with _alone(lake):
        found = current_lease(lake)
        is_own = found is not None and (found.machine, found.pid) == (machine(), os.getpid())
        if found is not None and found.is_live and (not is_own or found.run in _runs):
            raise LakeInUse(
                f"{lake.url} is in use by {found.sentence()}. Wait for it, or give another --lake; where "
                f"that run is dead, the lake is free {EXPIRY_SECONDS:.0f} s after its last sign of life"
            )
        now = datetime.now(UTC)
        mine = Lease(
            run=new_run(),
            command=command,
            study=study,
            host=platform.node(),
            machine=machine(),
            pid=os.getpid(),
            started=now,
            until=_expiry(),
        )
        _write(lake, mine)
        _runs.add(mine.run)
    if found is not None:
        logger.warning("a run was interrupted: %s. Its work goes on", found.sentence())
    return Held(lake, mine, found)


def new_run() -> str:
    """A name for a run: its time of start and a random part."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _expiry() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=EXPIRY_SECONDS)


def _write(lake: Lake, lease: Lease) -> None:
    lake.put(FILE, lease.as_json().encode())


@contextmanager
def _alone(lake: Lake) -> Iterator[None]:
    """Keep other processes from reading and writing the lease of a folder; of a bucket nothing can."""
    if not lake.is_local:
        yield
        return
    path = os.path.join(lake.root, LOCK)
    try:
        os.makedirs(lake.root, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StorageFault(f"{lake.url} cannot be written to ({error}): give another --lake") from error
    try:
        with suppress(OSError):  # some network file systems know no locks: as of a bucket, then
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
