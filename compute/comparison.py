"""Measures of pairs of maps: of an original, and of an adversarial example of it.

All take the maps of originals, [o, n], those of adversarial examples, [p, n], and `of`, int [p]: the row of
each one's original. A rank is 0 for the most relevant component.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compute.ranking import band_size

BLOCK = 32
"""Pairs at a time: their 3072 components as float64 are 0.8 MB, which stays near the processor."""


def top_components(rank: np.ndarray, k: int) -> np.ndarray:
    """The components of the k best ranks, most relevant first, intp [o, k]; rank: uint [o, n]."""
    rows, components = np.nonzero(rank < k)
    top = np.zeros((len(rank), min(k, rank.shape[1])), np.intp)
    top[rows, rank[rows, components]] = components
    return top


def depth_counts(original_rank: np.ndarray, adversarial_rank: np.ndarray, of: np.ndarray) -> np.ndarray:
    """How many components, of all pairs, have each depth: the greater of their two ranks; int64 [n]."""
    n = adversarial_rank.shape[1]
    counts = np.zeros(n, np.int64)
    for first in range(0, len(of), BLOCK):
        block = slice(first, first + BLOCK)
        depth = np.maximum(adversarial_rank[block], original_rank[of[block]])
        counts += np.bincount(depth.reshape(-1), minlength=n)
    return counts


@dataclass(frozen=True)
class ShiftCounts:
    """How often each rank shift occurs, int64 [s] each: the columns of sql/partials/shift_counts.sql."""

    label: np.ndarray
    original_place: np.ndarray
    adversarial_place: np.ndarray
    shift: np.ndarray
    components: np.ndarray


def shift_counts(adversarial_ranks: np.ndarray, label: np.ndarray, n: int) -> ShiftCounts:
    """Shifts of the original's top 10 % that are in the adversarial top 10 %.

    adversarial_ranks: [p, k], the ranks in the adversarial map of the original's k = 10 % most relevant
    components, most relevant first; label: int [p]; n: components of a map.
    """
    k = adversarial_ranks.shape[1]
    pair, original = np.nonzero(adversarial_ranks < k)
    adversarial = adversarial_ranks[pair, original].astype(np.int64)
    shape = (int(label.max(initial=0)) + 1, 3, 3, 2 * k - 1)
    places = label[pair], _place(original, n), _place(adversarial, n), adversarial - original + k - 1
    code, counts = np.unique(np.ravel_multi_index(places, shape), return_counts=True)
    found = np.unravel_index(code, shape)
    return ShiftCounts(found[0], found[1], found[2], found[3] - (k - 1), counts)


def _place(rank: np.ndarray, n: int) -> np.ndarray:
    """Narrowest band: 0 the most relevant component, 1 the top 1 %, 2 beyond."""
    return (rank >= 1).astype(np.int64) + (rank >= band_size(0.01, n))


def spearman(original_rank: np.ndarray, adversarial_rank: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Spearman's rho of ranks, 1 - 6 sum(shift^2) / (n (n^2 - 1)), float64 [p]; nan where n = 1."""
    n = adversarial_rank.shape[1]
    squares = np.empty(len(of))
    for first in range(0, len(of), BLOCK):
        block = slice(first, first + BLOCK)
        shift = adversarial_rank[block].astype(np.float64)
        shift -= original_rank[of[block]]
        squares[block] = np.einsum("pn,pn->p", shift, shift)
    return 1 - 6 * squares / (n * (n**2 - 1)) if n > 1 else np.full(len(of), np.nan)


def pearson(original: np.ndarray, adversarial: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the values, float64 [p]; nan where a map is constant."""
    found = np.empty(len(of))
    for first in range(0, len(of), BLOCK):
        block = slice(first, first + BLOCK)
        x, y = (_centred(maps) for maps in (original[of[block]], adversarial[block]))
        with np.errstate(invalid="ignore"):
            lengths = np.sqrt(np.einsum("pn,pn->p", x, x)) * np.sqrt(np.einsum("pn,pn->p", y, y))
            found[block] = np.einsum("pn,pn->p", x, y) / lengths
    return found


def _centred(maps: np.ndarray) -> np.ndarray:
    values = maps.astype(np.float64)
    values -= values.mean(axis=1, keepdims=True)
    return values


def sign_agreement(original: np.ndarray, adversarial: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Share of components whose values have the same sign (negative, zero, positive), float64 [p]."""
    same = np.empty(len(of))
    for first in range(0, len(of), BLOCK):
        block = slice(first, first + BLOCK)
        x, y = original[of[block]], adversarial[block]
        same[block] = (((x > 0) == (y > 0)) & ((x < 0) == (y < 0))).mean(axis=1)
    return same
