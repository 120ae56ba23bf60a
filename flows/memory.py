"""Memory that is free again, but not yet the system's."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import pyarrow as pa


def give_back() -> None:
    """Give free memory back to the system.

    Threads that allocate and free in turn leave free memory in arenas of glibc's malloc, up to gigabytes in
    a long run; Arrow's pool keeps some, too. Where the C library is another one, Arrow's is all.
    """
    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
