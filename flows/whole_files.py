"""Files of a local folder, written whole or not at all, and what dead processes left of them.

A file is written under a temporary name that says by whom, reaches the disk, and is renamed. A process that
is killed leaves the temporary file; readers pass over names that start with a dot.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from flows.processes import is_alive, machine
from sql.tables import TABLES

TEMPORARY = re.compile(r"\.tmp-(?:(?:([0-9a-f]{8})-)?(\d+)-.+\.(?:parquet|json|duckdb)|[a-z0-9_]{8})")
"""Machine and process that write the file, where its name says so; pages of reports have neither."""

FOLDERS = (*TABLES, "results", "partials", "checked", "reports")
"""Where a lake's writers write, besides its root: whatever else lies there is somebody else's."""

LEFTOVER_AGE = 3600.0
"""Seconds since its last change after which a temporary file is left over, whoever wrote it."""


def write_whole(target: str, data: bytes | memoryview, first: Callable[[], None] | None = None) -> None:
    """Write under a temporary name in the same folder, reach the disk, do what comes first, rename."""
    folder, name = os.path.split(target)
    _make_folders(folder)
    mark = f".tmp-{machine()}-{os.getpid()}-{secrets.token_hex(2)}-"
    temporary = os.path.join(folder, mark + name)
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if first:
            first()
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.remove(temporary)
        raise
    _reach_disk(folder)


def leftovers(root: str) -> Iterator[str]:
    """Paths of temporary files of a lake that no process writes any more."""
    with suppress(FileNotFoundError):
        yield from _leftovers_in(root, os.listdir(root))
    for name in FOLDERS:
        for folder, _, names in os.walk(os.path.join(root, name), followlinks=True):
            yield from _leftovers_in(folder, names)


def _leftovers_in(folder: str, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name.startswith(".tmp-") and _is_leftover(os.path.join(folder, name)):
            yield os.path.join(folder, name)


def remove_leftovers(root: str) -> int:
    """Delete what dead processes left in a lake; how many files."""
    count = 0
    for path in leftovers(root):
        with suppress(OSError):  # gone by now, or of another user
            os.remove(path)
            count += 1
    return count


def remove_empty_folders(root: str) -> None:
    """Delete the folders below one, and itself, that hold nothing."""
    for folder, _, _ in os.walk(root, topdown=False):
        with suppress(OSError):
            os.rmdir(folder)


def _is_leftover(path: str) -> bool:
    match = TEMPORARY.fullmatch(os.path.basename(path))
    if match is None or (match[2] is None and os.path.basename(os.path.dirname(path)) != "reports"):
        return False
    if match[1] == machine() and not is_alive(int(match[2])):
        return True
    try:
        return time.time() - os.path.getmtime(path) > LEFTOVER_AGE
    except FileNotFoundError:  # renamed since
        return False


def _make_folders(folder: str) -> None:
    """Make a folder and those above it, so that they are there after a power cut."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    if above and above != folder:
        _make_folders(above)
    with suppress(FileExistsError):
        os.mkdir(folder)
    _reach_disk(above or ".")


def _reach_disk(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
