"""What benchmarks measure and how they judge it; starts without TensorFlow."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def peak_memory() -> float:
    """The largest resident size of this process so far, GB.

    Linux carries ru_maxrss over from the process that started this one; VmHWM starts anew.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def verdict(value: float, bar: float) -> str:
    """`(bar 4: met)` where the value is at most the bar, else MISSED."""
    return f"(bar {bar:g}: {'met' if value <= bar else 'MISSED'})"
