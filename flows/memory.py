"""Memory that is free again, but not yet the system's.

Where the C library is glibc, importing this module bounds the arenas of its malloc to one a core. By default
it makes up to eight a core, each of which keeps what it once held, so that memory grows with the number of
threads and with time: 0.1 GB where all of the paper's maps are analysed.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

import pyarrow as pa

from flows.parallel import cores, worker_threads

M_ARENA_MAX = -8
"""Of malloc.h; what it says holds for the arenas that are not there yet."""


def bound_arenas() -> None:
    """Let malloc have as many arenas as there are cores; more are of use only to more threads at once."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(M_ARENA_MAX, worker_threads() or cores())


bound_arenas()


def give_back() -> None:
    """Give free memory back to the system.

    Threads that allocate and free in turn leave free memory in arenas of glibc's malloc, up to gigabytes in
    a long run; Arrow's pool keeps some, too. Where the C library is another one, Arrow's is all.
    """
    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
