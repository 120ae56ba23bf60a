"""From raw relevance to what the lake keeps of a map: scaled values, status, ranks, ties."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

SHARES = (0.01, 0.1)
"""The top shares of components whose last place is checked for ties: 31 and 307 of 3072."""

HALVES = slice(None) if sys.byteorder == "little" else slice(None, None, -1)
"""Takes the two halves of a uint64 to the order (low, high)."""

BLOCK = 64
"""Maps sorted at a time: their keys (1.5 MB for 3072 components) stay near the processor."""


@dataclass(frozen=True)
class Maps:
    """Columns of the lake's table `relevance` for n maps of d components.

    relevance: float32 [n, d], divided by the map's largest |value|; a zero map as it is, a
        non-finite one undivided.
    scale: float32 [n], that largest |value|; 0 for a zero map, NaN for a non-finite one.
    status: str [n], ok, zero or non_finite. Where it is not ok, `rank` holds zeros and the ties -1:
        null in the lake.
    rank: uint16 [n, d] (uint32 beyond 65,536 components), 0 = most relevant.
    ties_at_31, ties_at_307: int32 [n], number of other components that share the value at the 31st
        and 307th place (of 3072; else at the last place of the top 1 % and 10 %).
    """

    relevance: np.ndarray
    scale: np.ndarray
    status: np.ndarray
    rank: np.ndarray
    ties_at_31: np.ndarray
    ties_at_307: np.ndarray

    @property
    def ok(self) -> np.ndarray:
        """bool [n]: which maps enter statistics and have ranks."""
        return self.status == "ok"


def band_size(share: float, n: int) -> int:
    """Number of components in the band of the `share` most relevant of n, halves rounded up, at least one."""
    return max(1, int(n * share + 0.5))


def top_places(components: int) -> tuple[int, ...]:
    """Number of components in the top 1 % and 10 %."""
    return tuple(band_size(share, components) for share in SHARES)


def top_components(rank: np.ndarray, k: int) -> np.ndarray:
    """The components of the k best ranks, most relevant first, intp [o, k]; rank: uint [o, n]."""
    rows, components = np.nonzero(rank < k)
    top = np.zeros((len(rank), min(k, rank.shape[1])), np.intp)
    top[rows, rank[rows, components]] = components
    return top


def finish_maps(raw: np.ndarray) -> Maps:
    """Scale and rank raw relevance, float32 or float64 [n, d].

    A map is non_finite when a value is, or when its largest |value| does not fit float32; it is
    zero when that value is zero in float32.
    """
    if raw.ndim != 2 or raw.shape[1] == 0:
        raise ValueError(f"raw relevance must be [maps, components], at least one component, not {raw.shape}")
    n, d = raw.shape
    with np.errstate(over="ignore", invalid="ignore"):
        largest = np.abs(raw).max(axis=1, initial=0)
        scale = largest.astype(np.float32)
        relevance = raw.astype(np.float32)
        status = np.where(~np.isfinite(scale), "non_finite", np.where(scale == 0, "zero", "ok"))
    scale[status == "non_finite"] = np.nan
    relevance[status == "zero"] = 0
    ok = np.flatnonzero(status == "ok")
    rank = np.zeros((n, d), np.uint16 if d <= 65_536 else np.uint32)
    ties = np.full((len(SHARES), n), -1, np.int32)
    for start in range(0, len(ok), BLOCK):
        rows = ok[start : start + BLOCK]
        # + 0 makes -0 of +0, which would else sort apart from it
        relevance[rows] = (raw[rows] / largest[rows, None]).astype(np.float32) + np.float32(0)
        rank[rows], ties[:, rows] = _rank(relevance[rows], rank.dtype)
    return Maps(relevance, scale, status, rank, *ties)


def _rank(values: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Ranks [n, d] and ties [places, n] of float32 values [n, d] without NaN and -0.

    Sorts (key of the value, component) packed in one uint64, which is three times as fast as a
    stable argsort and has its tie-break: positive floats order as their bits do, negative ones in
    reverse, so that inverting the bits of the positive ones gives keys in descending order.
    """
    n, d = values.shape
    keys = np.empty((n, d), np.uint64)
    component, key = np.moveaxis(keys.view(np.uint32).reshape(n, d, 2)[:, :, HALVES], 2, 0)
    bits = values.view(np.int32)
    component[:] = np.arange(d, dtype=np.uint32)
    np.bitwise_xor(bits, ~(bits >> np.int32(31)) & np.int32(0x7FFF_FFFF), out=key.view(np.int32))
    keys.sort(axis=1)
    rank = np.empty((n, d), dtype)
    rank.reshape(-1)[component.astype(np.intp) + np.arange(0, n * d, d)[:, None]] = np.arange(d, dtype=dtype)
    ties = [(key == key[:, k - 1, None]).sum(axis=1) - 1 for k in top_places(d)]
    return rank, np.array(ties, np.int32)
