"""Who is at work: a process as others recognise it, on this machine or another."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE = Path("/proc/self/ns/pid")


@cache
def machine() -> str:
    """Eight hex digits of where a process id means the same: this host since its start, this container."""
    parts = [platform.node()]
    if BOOT_ID.exists():
        parts.append(BOOT_ID.read_text())
    if PID_NAMESPACE.exists():
        parts.append(os.readlink(PID_NAMESPACE))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs, another user's too; one that nobody has buried yet does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # no such file system, or gone since
        return True
    return state != "Z"
