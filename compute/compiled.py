"""Loops over millions of components, compiled: one pass where NumPy makes one for every operation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import njit


def _compiled(function: Callable[..., Any], fastmath: bool | set[str] = False) -> Any:
    loops = njit(nogil=True, error_model="numpy", fastmath=fastmath)(function)
    with suppress(RuntimeError):  # where neither beside the source nor at home anything may be written
        loops.enable_caching()
    return loops


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function at its first call, and keep that where one may; it runs beside other threads."""
    return _compiled(function)


def reduction(function: Callable[..., Any]) -> Any:
    """The same of sums of floats, whose terms may be added in any order."""
    return _compiled(function, {"reassoc", "nsz", "contract"})


@compiled
def _nothing():
    return 0


def get_ready() -> None:
    """Load what Numba needs for the first compiled function that is called, in half a second."""
    _nothing()
