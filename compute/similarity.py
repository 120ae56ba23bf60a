"""Structural similarity of relevance maps, pair by pair.

Source: Wang, Bovik, Sheikh & Simoncelli 2004, Image quality assessment: from error visibility to structural
similarity, IEEE Transactions on Image Processing 13(4), equation 13, with the settings of section III.C.
"""

from __future__ import annotations

import numpy as np

from compute.compiled import reduction

WINDOW = 11
"""Side of the Gaussian window in pixels; of a smaller image the largest odd number that fits."""
SIGMA = 1.5
"""Its standard deviation in pixels."""
K1, K2 = 0.01, 0.03
"""Constants of equations 7 and 8: as shares of the range, they keep denominators from zero."""
RANGE = 2.0
"""Of the values of a map, which is divided by its largest |value|: from -1 to 1."""


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
    found = np.empty(len(a))
    one, two = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    lines = (len(a), a.shape[1], a.shape[2] * a.shape[3])
    _measure(a.reshape(lines), b.reshape(lines), a.shape[3], gaussian(min(a.shape[1:3])), one, two, found)
    return found


def gaussian(side: int) -> np.ndarray:
    """The window's weights along one side of an image, float64 [w], which sum to 1."""
    reach = (min(WINDOW, side) - 1) // 2
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / SIGMA) ** 2)
    return weights / weights.sum()


@reduction
def _measure(a, b, channels, weights, one, two, found):
    """Along rows, then along columns: the Gaussian is a product. Equation 13 needs the variances' sum."""
    height, width = a.shape[1:]
    size = len(weights)
    rows, line = height - size + 1, width - (size - 1) * channels
    along = np.empty((4, height, line))
    for pair in range(len(found)):
        along[:] = 0
        for row in range(height):
            x, y = a[pair, row], b[pair, row]
            for place in range(size):
                weight, first = weights[place], place * channels
                for i in range(line):
                    u, v = np.float64(x[first + i]), np.float64(y[first + i])
                    along[0, row, i] += weight * u
                    along[1, row, i] += weight * v
                    along[2, row, i] += weight * (u * u + v * v)
                    along[3, row, i] += weight * u * v
        total = 0.0
        for row in range(rows):
            for i in range(line):
                mean_x = mean_y = squares = products = 0.0
                for place in range(size):
                    weight = weights[place]
                    mean_x += weight * along[0, row + place, i]
                    mean_y += weight * along[1, row + place, i]
                    squares += weight * along[2, row + place, i]
                    products += weight * along[3, row + place, i]
                of_means, of_squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
                alike = (2 * of_means + one) * (2 * (products - of_means) + two)
                total += alike / ((of_squares + one) * (squares - of_squares + two))
        found[pair] = total / (rows * line)
