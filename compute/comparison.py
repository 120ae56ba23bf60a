"""Measures of pairs of maps: of an original, and of an adversarial example of it.

All take the maps of originals, [o, n], those of adversarial examples, [p, n], and `of`, int [p]: the row of
each one's original. A rank is 0 for the most relevant component.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compute.compiled import compiled, reduction
from compute.ranking import band_size


def depth_counts(original_rank: np.ndarray, adversarial_rank: np.ndarray, of: np.ndarray) -> np.ndarray:
    """How many components, of all pairs, have each depth: the greater of their two ranks; int64 [n]."""
    counts = np.zeros(adversarial_rank.shape[1], np.int64)
    _count_depths(original_rank, adversarial_rank, of, counts)
    return counts


@compiled
def _count_depths(original, adversarial, of, counts):
    for pair in range(len(of)):
        x, y = original[of[pair]], adversarial[pair]
        for component in range(len(counts)):
            counts[max(x[component], y[component])] += 1


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
    counts = np.empty((3, 3, 2 * k - 1), np.int64)  # label by label: of all at once, 2 GB for ImageNet's
    columns: list[tuple[np.ndarray, ...]] = []
    for one in np.unique(label):
        counts[:] = 0
        _count_shifts(adversarial_ranks, np.flatnonzero(label == one), band_size(0.01, n), counts)
        original, adversarial, shift = found = np.unravel_index(np.flatnonzero(counts), counts.shape)
        columns.append((np.full(len(shift), one), original, adversarial, shift - (k - 1), counts[found]))
    if not columns:
        return ShiftCounts(*np.empty((5, 0), np.int64))
    return ShiftCounts(*map(np.concatenate, zip(*columns, strict=True)))


@compiled
def _count_shifts(adversarial_ranks, pairs, k_1, counts):
    k = adversarial_ranks.shape[1]
    for pair in pairs:
        for original in range(k):
            adversarial = np.int64(adversarial_ranks[pair, original])
            if adversarial < k:
                places = counts[_band(original, k_1), _band(adversarial, k_1)]
                places[adversarial - original + k - 1] += 1


@compiled
def _band(rank, k_1):
    """Narrowest band: 0 the most relevant component, 1 the top 1 %, 2 beyond."""
    return (rank >= 1) + (rank >= k_1)


def spearman(original_rank: np.ndarray, adversarial_rank: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Spearman's rho of ranks, float64 [p]; nan where n = 1."""
    squares = _squared_shifts(original_rank, adversarial_rank, of)
    return rho_of_shifts(squares, adversarial_rank.shape[1])


def rho_of_shifts(squares: np.ndarray, n: int) -> np.ndarray:
    """Spearman's rho, 1 - 6 sum(shift^2) / (n (n^2 - 1)), of sums of squared shifts [p]; nan where n = 1."""
    return 1 - 6 * squares / (n * (n**2 - 1)) if n > 1 else np.full(len(squares), np.nan)


@compiled
def _squared_shifts(original, adversarial, of):
    squares = np.zeros(len(of))
    for pair in range(len(of)):
        x, y = original[of[pair]], adversarial[pair]
        total = np.int64(0)
        for component in range(len(y)):
            shift = np.int64(y[component]) - np.int64(x[component])
            total += shift * shift
        squares[pair] = total
    return squares


def pearson(original: np.ndarray, adversarial: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the values, float64 [p]; nan where a map is constant."""
    return _correlations(original, adversarial, of)


@reduction
def _correlations(original, adversarial, of):
    found = np.empty(len(of))
    for pair in range(len(of)):
        x, y = original[of[pair]], adversarial[pair]
        x_mean = y_mean = 0.0
        for component in range(len(y)):
            x_mean += np.float64(x[component])
            y_mean += np.float64(y[component])
        x_mean, y_mean = x_mean / len(y), y_mean / len(y)
        xx = xy = yy = 0.0
        for component in range(len(y)):
            u, v = np.float64(x[component]) - x_mean, np.float64(y[component]) - y_mean
            xx += u * u
            xy += u * v
            yy += v * v
        lengths = np.sqrt(xx) * np.sqrt(yy)
        found[pair] = xy / lengths if lengths > 0 else np.nan
    return found


def sign_agreement(original: np.ndarray, adversarial: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Share of components whose values have the same sign (negative, zero, positive), float64 [p]."""
    return _same_signs(original, adversarial, of) / adversarial.shape[1]


@compiled
def _same_signs(original, adversarial, of):
    same = np.zeros(len(of), np.int64)
    for pair in range(len(of)):
        x, y = original[of[pair]], adversarial[pair]
        for component in range(len(y)):
            a, b = x[component], y[component]
            same[pair] += ((a > 0) == (b > 0)) & ((a < 0) == (b < 0))
    return same
