"""L-BFGS curvature of many problems at once, by inner products.

The two-loop recursion (Nocedal & Wright 2006, Algorithm 7.4) needs nothing of its vectors but their
inner products, so that one matrix product a round serves it (Chen, Wang & Zhou 2014, Large-scale
L-BFGS using MapReduce, section 3). Here each problem has a Hessian I + weight * K, of which the
identity is exact (half the squared distance) and K is what was seen of a second function, so that the
pairs hold for every weight.
"""

from __future__ import annotations

import numpy as np

SMALLEST = 1e-8
"""Pairs whose curvature is below this share of the change of gradient are left out."""

STRETCH = 2.0
"""Factor on the first estimate of the inverse Hessian, |step| / |change of gradient|: networks of ReLUs bend
at every kink, and longer steps end nearer."""


class Curvature:
    """Steps and changes of gradient of `places` problems in `size` variables, the last `history` of each.

    `vectors` is float32 [places, 2 * history + 2, size]: steps, changes of gradient, and two rows for
    the caller's vectors, that `solve` multiplies.
    """

    def __init__(self, places: int, history: int, size: int) -> None:
        self.history = history
        self.vectors = np.zeros((places, 2 * history + 2, size), np.float32)
        self.count = np.zeros(places, np.int64)
        """pairs seen since the last `clear`"""

    def clear(self, rows: np.ndarray) -> None:
        """Forget the pairs of these problems."""
        self.count[rows] = 0

    def push(self, rows: np.ndarray, steps: np.ndarray, changes: np.ndarray) -> None:
        """Add a pair to each of these problems: float32 [len(rows), size], the change of K's gradient."""
        place = self.count[rows] % self.history
        self.vectors[rows, place] = steps
        self.vectors[rows, self.history + place] = changes
        self.count[rows] += 1

    def solve(self, rows: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inverse Hessian estimate times the caller's two vectors, as coefficients.

        weight: float64 [m] of K, for the m `rows`. Returns coefficients float64 [m, 2, 2 * history + 2]
        over `vectors`, one line for each of the two products, and the inner products of `vectors`,
        float64 [m, 2 * history + 2, 2 * history + 2].
        """
        m, history = len(rows), self.history
        chosen = self.vectors if m == len(self.vectors) else self.vectors[rows]
        products = np.matmul(chosen, chosen.transpose(0, 2, 1)).astype(np.float64)
        every, coefficients = np.arange(m), np.zeros((m, 2, 2 * history + 2))
        coefficients[:, 0, -2] = coefficients[:, 1, -1] = 1
        weight = weight[:, None]
        kept = np.minimum(self.count[rows], history)
        shares: list[tuple[np.ndarray, ...]] = []
        scale, scaled = np.ones(m), np.zeros(m, bool)
        for age in range(int(kept.max(initial=0))):
            step = (self.count[rows] - 1 - age) % history
            change = history + step
            by_step = products[every, step]
            by_change = by_step + weight * products[every, change]
            squared = by_step[every, step]
            curvature = squared + weight[:, 0] * by_step[every, change]
            length = squared + 2 * weight[:, 0] * by_step[every, change]
            length += weight[:, 0] ** 2 * products[every, change, change]
            used = (age < kept) & (curvature > SMALLEST * length) & (curvature > 0)
            inverse = np.where(used, 1 / np.where(used, curvature, 1), 0)
            share = np.einsum("ij,irj->ir", by_step, coefficients) * inverse[:, None]
            coefficients[every, :, step] -= share
            coefficients[every, :, change] -= share * weight
            shares.append((step, by_change, inverse, share))
            newest = used & ~scaled
            scale[newest] = STRETCH * np.sqrt(squared[newest] / length[newest])
            scaled |= used
        coefficients *= np.minimum(scale, 1)[:, None, None]
        for step, by_change, inverse, share in reversed(shares):
            back = np.einsum("ij,irj->ir", by_change, coefficients) * inverse[:, None]
            coefficients[every, :, step] += np.where(inverse[:, None] > 0, share - back, 0)
        return coefficients, products

    def combined(self, rows: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        """Sums of `vectors` with these coefficients [m, 2 * history + 2]: float32 [m, size]."""
        chosen = self.vectors if len(rows) == len(self.vectors) else self.vectors[rows]
        return np.matmul(coefficients[:, None].astype(np.float32), chosen)[:, 0]
