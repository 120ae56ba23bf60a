"""A random map: the floor below every method."""

from __future__ import annotations

import hashlib

import numpy as np

from compute.attributions.network import Attribute, Network
from compute.maps import RawMaps
from compute.methods import Method


def random_map(network: Network, method: Method) -> Attribute:
    """Independent standard normal values that know nothing of the network.

    Drawn from SHA-256 of the seed, the image (its float32 bytes) and the class: the same alone as
    among others, and unrelated between any two images or classes that differ at all.
    """

    def attribute(x: np.ndarray, classes: np.ndarray) -> RawMaps:
        values = [
            draw(method.seed or 0, image, int(of_class)) for image, of_class in zip(x, classes, strict=True)
        ]
        return network.maps(np.stack(values), network.logit(x, classes))

    return attribute


def draw(seed: int, image: np.ndarray, of_class: int) -> np.ndarray:
    """float64 values of the image's shape."""
    said = f"random {seed} {of_class} ".encode() + image.astype("<f4").tobytes()
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(said).digest(), "little"))
    return generator.standard_normal(image.shape)
