"""Memory that is free again, but not yet the system's."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

from flows.parallel import cores

M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


def bound_arenas() -> None:
    """Let glibc's malloc have as many arenas as there are cores, unless MALLOC_ARENA_MAX says how many.

    By default it makes up to eight a core, each of which keeps what it once held, so that memory grows with
    the number of threads and with time: by 0.1 GB where all of the paper's maps are analysed. Of use early in
    a process: it keeps the arenas that there are, and where these are more than eight it may make others.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        _glibc("mallopt", M_ARENA_MAX, cores())


def give_back() -> None:
    """Give free memory back to the system.

    Threads that allocate and free in turn leave free memory in arenas of glibc's malloc, up to gigabytes in
    a long run; Arrow's pool keeps some, too. Where the C library is another one, Arrow's is all.
    """
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    _glibc("malloc_trim", 0)


def _glibc(function: str, *arguments: int) -> None:
    """Call a function of glibc, where that is the C library."""
    with suppress(OSError, AttributeError):
        getattr(ctypes.CDLL("libc.so.6"), function)(*arguments)
