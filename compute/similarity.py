"""Structural similarity of relevance maps, pair by pair.

Source: Wang, Bovik, Sheikh & Simoncelli 2004, Image quality assessment: from error visibility to structural
similarity, IEEE Transactions on Image Processing 13(4), equation 13, with the settings of section III.B.
"""

from __future__ import annotations

from functools import cache

import numpy as np

WINDOW = 11
"""Side of the Gaussian window in pixels; of a smaller image the largest odd number that fits."""
SIGMA = 1.5
"""Its standard deviation in pixels."""
K1, K2 = 0.01, 0.03
"""Constants of equations 7 and 8: as shares of the range, they keep denominators from zero."""
RANGE = 2.0
"""Of the values of a map, which is divided by its largest |value|: from -1 to 1."""
PAIRS = 32
"""Pairs at a time: their filtered maps stay near the processor."""


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean structural similarity float64 [p] of maps a and b, float32 [p, h, w, c] in [-1, 1].

    1: the same map, 0: no structure in common, below 0: turned structure. Local means, variances and
    covariance under the window, wherever all of it lies inside the map; the index at each place, then its
    mean over places and channels. Places where both maps are small against K2 * RANGE count as alike: the
    index of maps with few large values is high, whatever these are. NaN where a map is not finite. Raises
    ValueError where the shapes differ.
    """
    if a.shape != b.shape or a.ndim != 4:
        raise ValueError(
            f"maps must be two arrays [pairs, height, width, channels], not {a.shape} and {b.shape}"
        )
    parts = [slice(first, first + PAIRS) for first in range(0, len(a), PAIRS)]
    return np.concatenate([np.empty(0), *(_ssim(a[part], b[part]) for part in parts)])


def _ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    x, y = (np.ascontiguousarray(maps.transpose(0, 3, 1, 2), np.float64) for maps in (a, b))
    with np.errstate(invalid="ignore", over="ignore"):  # of a map that is not finite
        # equation 13 needs the sum of the variances alone
        mean_x, mean_y, squares, products = _means(np.stack([x, y, x * x + y * y, x * y]))
        of_means, sum_of_squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
        variances, covariance = squares - sum_of_squares, products - of_means
        index = (2 * of_means + c1) * (2 * covariance + c2) / ((sum_of_squares + c1) * (variances + c2))
        return index.mean(axis=(1, 2, 3))


def _means(values: np.ndarray) -> np.ndarray:
    """Weighted means [..., h', w'] of float64 [..., h, w] under the window at each place inside.

    The Gaussian is a product of one along rows and one along columns: two products of matrices.
    """
    height, width = values.shape[-2:]
    size = min(WINDOW, height - 1 + height % 2, width - 1 + width % 2)
    return _band(height, size) @ (values @ _band(width, size).T)


@cache
def _band(length: int, size: int) -> np.ndarray:
    """float64 [length - size + 1, length]: the window's weights, which sum to 1, at each place."""
    weights = np.exp(-0.5 * ((np.arange(size) - size // 2) / SIGMA) ** 2)
    band = np.zeros((length - size + 1, length))
    for place, row in enumerate(band):
        row[place : place + size] = weights / weights.sum()
    return band
