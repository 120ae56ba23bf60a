"""How alike two relevance maps are, compiled: what partial results of pairs are made from.

Maps of p pairs are [p, n]; the maps that they are held against, [o, n], and `of`, int [p], says which of them
stands beside each. A rank is 0 for the most relevant component.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from compute.comparison import rho_of_shifts
from compute.compiled import compiled, reduction
from compute.ranking import top_places


@dataclass(frozen=True)
class RankSimilarity:
    """Of each pair [p], the columns of sql/partials/compared_ranks.sql; counts int64, else float64."""

    shared_1: np.ndarray
    shared_10: np.ndarray
    signed_1: np.ndarray
    signed_10: np.ndarray
    shift_10: np.ndarray
    spearman: np.ndarray
    rbo_1: np.ndarray
    rbo_10: np.ndarray


def rank_similarity(
    rank: np.ndarray, other: np.ndarray, of: np.ndarray, start: np.ndarray, other_start: np.ndarray
) -> RankSimilarity:
    """Measures of ranks, uint [p, n] and [o, n]; start [p], other_start [o]: logits that maps start from."""
    n = rank.shape[1]
    k_1, k_10 = top_places(n)
    counts = np.zeros((len(of), 4), np.int64)
    sums = np.zeros((len(of), 4))
    weights = _weights(k_1, n), _weights(k_10, n)
    _measure_ranks(rank, other, of, start < 0, other_start < 0, k_1, k_10, *weights, counts, sums)
    shift, squares, rbo_1, rbo_10 = sums.T
    shared_1, shared_10, signed_1, signed_10 = counts.T
    spearman = rho_of_shifts(squares, n)
    return RankSimilarity(shared_1, shared_10, signed_1, signed_10, shift / k_10, spearman, rbo_1, rbo_10)


def persistence(k: int) -> float:
    """p of rank-biased overlap with which the best k ranks carry about 86 % of its weight.

    Equation 21 of Webber, Moffat and Zobel 2010; 0.86 for k = 10, 0.85 for many.
    """
    return 1 - 1 / k


def rank_biased_weights(p: float, n: int) -> np.ndarray:
    """What a component adds to rank-biased overlap, by the worse of its two ranks; float64 [n].

    Rank-biased overlap is (1 - p) sum over depths d of p^(d - 1) times the share of the best d that is common
    (Webber, Moffat and Zobel 2010, A similarity measure for indefinite rankings, ACM TOIS 28(4), equation 7);
    beyond the n-th place everything is common (equation 32). A component is common from its worse rank on.
    """
    depth = np.arange(n, dtype=np.float64)
    terms = p**depth / (depth + 1)
    return (1 - p) * np.cumsum(terms[::-1])[::-1] + p**n / n


@cache
def _weights(k: int, n: int) -> np.ndarray:
    return rank_biased_weights(persistence(k), n)


@compiled
def _measure_ranks(
    rank, other, of, is_negative, other_is_negative, k_1, k_10, weights_1, weights_10, counts, sums
):
    """counts [p, 4]: shared and signed; sums [p, 4]: shift of the top 10 %, squared shifts, and both rbo."""
    n = rank.shape[1]
    for pair in range(len(of)):
        of_map, of_other = rank[pair], other[of[pair]]
        turn, other_turn = is_negative[pair], other_is_negative[of[pair]]
        shift, squares, rbo_1, rbo_10 = 0, 0, 0.0, 0.0
        shared_1, shared_10, signed_1, signed_10 = 0, 0, 0, 0
        for i in range(n):
            a, b = np.int64(of_map[i]), np.int64(of_other[i])
            worse = max(a, b)
            shared_1 += worse < k_1
            shared_10 += worse < k_10
            if b < k_10:
                shift += a - b
            squares += (a - b) * (a - b)
            rbo_1 += weights_1[worse]
            rbo_10 += weights_10[worse]
            worse = max(n - 1 - a if turn else a, n - 1 - b if other_turn else b)
            signed_1 += worse < k_1
            signed_10 += worse < k_10
        counts[pair, 0], counts[pair, 1], counts[pair, 2], counts[pair, 3] = (
            shared_1,
            shared_10,
            signed_1,
            signed_10,
        )
        sums[pair, 0], sums[pair, 1], sums[pair, 2], sums[pair, 3] = shift, squares, rbo_1, rbo_10


def wasserstein(descending: np.ndarray, others: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Wasserstein-1 distance between the values of two maps, float64 [p].

    descending: sorted_values [p, n]; others: the same [o, n]. In one dimension the distance is
    the mean distance of sorted values (Ramdas, Garcia Trillos and Cuturi 2017, On Wasserstein two-sample
    testing and related families of nonparametric tests, Entropy 19(2), section 2.3, p = 1).
    """
    return _mean_distances(descending, others, of)


@reduction
def _mean_distances(descending, others, of):
    found = np.zeros(len(of))
    for pair in range(len(of)):
        x, y = descending[pair], others[of[pair]]
        total = 0.0
        for i in range(len(x)):
            total += abs(np.float64(x[i]) - np.float64(y[i]))
        found[pair] = total / len(x)
    return found


def sign_shares(maps: np.ndarray) -> np.ndarray:
    """Shares of negative, zero and positive values of each map, float64 [m, 3]."""
    counts = np.zeros((len(maps), 3), np.int64)
    _count_signs(maps, counts)
    return counts / maps.shape[1]


@compiled
def _count_signs(maps, counts):
    for row in range(len(maps)):
        negative = positive = 0
        for i in range(maps.shape[1]):
            negative += maps[row, i] < 0
            positive += maps[row, i] > 0
        counts[row, 0], counts[row, 2] = negative, positive
        counts[row, 1] = maps.shape[1] - negative - positive


def sorted_values(maps: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """The values of each map, float32 [m, n], in descending order; rank: uint [m, n], their stored ranks."""
    descending = np.empty_like(maps)
    np.put_along_axis(descending, rank.astype(np.intp), maps, axis=1)
    return descending


def magnitude_ranks(descending: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Twice the rank of each |value| in its map, 0 = the smallest, ties at their mean; int32 [m, n].

    descending: sorted_values, whose ends are merged: one pass instead of another sort.
    """
    ranks = np.empty(rank.shape, np.int32)
    _merge_ends(descending, rank, np.empty(rank.shape[1], np.int32), ranks)
    return ranks


@compiled
def _merge_ends(descending, rank, at_place, ranks):
    """at_place: scratch, the doubled rank of the value at each place of `descending`."""
    rows, n = rank.shape
    for row in range(rows):
        values = descending[row]
        top, bottom, done = 0, n - 1, 0  # of the largest and the smallest value left; how many are placed
        while done < n:
            size = max(abs(values[top]), abs(values[bottom]))
            from_top, from_bottom = top, bottom
            while from_top <= bottom and abs(values[from_top]) == size:
                from_top += 1
            while from_bottom >= from_top and abs(values[from_bottom]) == size:
                from_bottom -= 1
            tied = (from_top - top) + (bottom - from_bottom)
            doubled = 2 * (n - 1 - done) - (tied - 1)
            for place in range(top, from_top):
                at_place[place] = doubled
            for place in range(from_bottom + 1, bottom + 1):
                at_place[place] = doubled
            top, bottom, done = from_top, from_bottom, done + tied
        for i in range(n):
            ranks[row, i] = at_place[rank[row, i]]
