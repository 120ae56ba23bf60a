"""Memory that malloc keeps for itself."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from flows.parallel import cores

TOGETHER = 8
"""Threads that allocate at the same time, for each core."""

ARENAS = f"""
import ctypes, threading
import flows

libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
together = threading.Barrier({TOGETHER * cores()})

def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(together.parties)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
report = ctypes.c_void_p(libc.fopen(b"arenas.xml", b"w"))
libc.malloc_info(0, report)
libc.fclose(report)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is another's")
def test_malloc_has_an_arena_a_core(tmp_path: Path) -> None:
    def arenas(script: str) -> int:
        environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
        subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, env=environment)
        return (tmp_path / "arenas.xml").read_text().count("<heap nr=")

    assert arenas(ARENAS) == cores()
    assert arenas(ARENAS.replace("import flows\n", "")) > cores()  # as it is by default
