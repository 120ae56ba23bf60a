"""Occlusion: what the logit loses when a square of the image is covered."""

from __future__ import annotations

import numpy as np

from compute.attributions.network import Attribute, Network, UnsupportedMethod
from compute.maps import RawMaps
from compute.methods import Method


def occlusion(network: Network, method: Method) -> Attribute:
    """The mean loss of the logit over the squares that cover a pixel, each filled with the baseline.

    Zeiler & Fergus 2014, Visualizing and understanding convolutional networks, section 4.2. Squares of
    `window` pixels begin every `stride` pixels, the last ones at the border, so that each pixel is
    covered; all channels are filled, and the channels of a pixel share its value.
    """
    assert method.window and method.stride and method.baseline is not None
    window, stride, baseline = method.window, method.stride, method.baseline
    height, width, _ = network.graph.input_shape
    check_window(network, method)
    squares = [
        (slice(None), slice(top, top + window), slice(left, left + window))
        for top in places(height, window, stride)
        for left in places(width, window, stride)
    ]

    def attribute(x: np.ndarray, classes: np.ndarray) -> RawMaps:
        start = network.logit(x, classes)
        losses, covered = np.zeros(x.shape[:3]), np.zeros(x.shape[:3])
        for square in squares:
            occluded = x.copy()
            occluded[square] = baseline
            losses[square] += (start - network.logit(occluded, classes))[:, None, None]
            covered[square] += 1
        return network.maps(losses / covered, start)

    return attribute


def places(size: int, window: int, stride: int) -> list[int]:
    """Where windows begin along an axis: every `stride` pixels, and one that ends at the border."""
    return sorted({*range(0, size - window, stride), size - window})


def check_window(network: Network, method: Method) -> None:
    """Refuse a window that does not fit into the image."""
    height, width, _ = network.graph.input_shape
    if (method.window or 0) > min(height, width):
        raise UnsupportedMethod(
            method, f"its window of {method.window} pixels does not fit into images of {height} x {width}"
        )
