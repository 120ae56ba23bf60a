"""Loops over millions of components, compiled: one pass where NumPy makes one for every operation."""

from __future__ import annotations

from numba import njit

compiled = njit(cache=True, nogil=True, error_model="numpy")
"""Compiles a function at its first call, and keeps that beside the source; it runs beside other threads."""

reduction = njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz", "contract"})
"""The same of sums of floats, whose terms may be added in any order."""
