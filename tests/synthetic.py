"""Numbers for synthetic lakes: images, logits, outcomes of attacks, and relevance maps like LRP's.

A map is a standard normal per component, raised to about a power that keeps its sign: a monotone function
makes the tails heavy and leaves the ranks to the normals. The normals of an adversarial map are correlated
with those of its original, so that the overlap of their top components follows from that correlation. Which
power belongs to which rule was read off the quantiles of Tables 3 and 4 of Dieter & Zisgen (2023).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from compute.maps import RawMaps
from compute.methods import Method

SUCCESS_RATE = 0.9661
"""Share of attacked pairs that succeed, as in the paper's section 4.1."""

CORRECT_RATE = 0.8902
"""Share of images that are correctly classified."""

ODD_MAPS = {"zero": 0.001, "nan": 0.0006, "infinite": 0.0004, "coarse": 0.002, "sparse": 0.001}
"""Share of maps that are all zero, hold a NaN or an infinite value, have a few values, or many zeros."""

LINEAR_PART = np.float32(0.35)
"""Size of a normal below which its power is more of a line: real maps are less peaked at 0 than powers."""

BLACK = 0.003
"""Share of components that are 0 in an image, and so in its maps."""


@dataclass(frozen=True)
class Shape:
    """How the values of a method's maps are spread.

    power: that the normals are raised to. shift: added before; with it maps are non-negative.
    negative: factor of the negative values. correlation: of the normals of original and adversarial map.
    """

    power: int = 3
    shift: float = 0.0
    negative: float = 1.0
    correlation: float = 0.78


def shape_of(method: Method) -> Shape:
    """The spread of a method's maps."""
    if method.beta == 0 or method.family in ("lrp-plus", "lrp-w2", "lrp-flat"):
        return Shape(power=6, shift=3.2, correlation=0.87)
    if method.alpha is not None:
        return Shape(power=4, negative=0.4, correlation=0.79)
    if method.epsilon is not None and method.epsilon >= 1:
        return Shape(power=4, correlation=0.70)
    if method.epsilon is not None and 0.001 <= method.epsilon < 0.1:
        return Shape(power=2)
    return Shape()


def generator(seed: int, *keys: str | int | None) -> np.random.Generator:
    """Random numbers that belong to a seed and a name: the same in any process, in any order."""
    digest = hashlib.sha256(json.dumps([seed, *keys]).encode()).digest()
    return np.random.Generator(np.random.SFC64(np.frombuffer(digest, np.uint32).tolist()))


def images(rng: np.random.Generator, count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Images uint8 [count, h, w, c]: coarse blocks under fine noise, with a few black components."""
    height, width, channels = shape
    coarse = rng.integers(16, 224, (count, -(-height // 4), -(-width // 4), channels), np.uint8)
    pixels = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]
    pixels = pixels + rng.integers(0, 32, pixels.shape, np.uint8)
    pixels[rng.random(pixels.shape, np.float32) < BLACK] = 0
    return pixels


def logits(rng: np.random.Generator, winner: np.ndarray, wins: np.ndarray, classes: int) -> np.ndarray:
    """Logits float32 [n, classes]; `winner` is the largest exactly where `wins`, by a random lead."""
    values = rng.normal(0, 2.5, (len(winner), classes)).astype(np.float32)
    rows = np.arange(len(winner))
    others = values.copy()
    others[rows, winner] = -np.inf
    lead = rng.gamma(4.0, 1.5, len(winner)).astype(np.float32) + np.float32(0.01)
    values[rows, winner] = others.max(axis=1) + np.where(wins, lead, -lead)
    return values


def softmax(values: np.ndarray) -> np.ndarray:
    """Probabilities float64 [n, k] of logits [n, k]."""
    powers = np.exp(values.astype(np.float64) - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def attacked(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """Delivered images float32 [n, d] in [0, 1], rounded to grey levels, of originals uint8 [n, d]."""
    change = np.rint(rng.standard_normal(pixels.shape, np.float32) * np.float32(1.5))
    return np.clip(pixels + change, 0, 255).astype(np.float32) / np.float32(255)


def normals(rng: np.random.Generator, count: int, components: int) -> np.ndarray:
    """What originals' maps are made of: float32 [count, components]."""
    return rng.standard_normal((count, components), np.float32)


def correlated(rng: np.random.Generator, like: np.ndarray, shape: Shape) -> np.ndarray:
    """What adversarial maps are made of, float32 [n, d]: correlated with `like`, some more than others."""
    correlation = shape.correlation + 0.08 * rng.standard_normal(len(like), np.float32)
    correlation = np.clip(correlation, 0.2, 0.97)[:, None].astype(np.float32)
    values = rng.standard_normal(like.shape, np.float32)
    values *= np.sqrt(1 - correlation**2)
    values += correlation * like
    return values


def raw_maps(
    rng: np.random.Generator,
    values: np.ndarray,
    shape: Shape,
    black: np.ndarray,
    start: np.ndarray,
    lrp: bool,
) -> RawMaps:
    """Raw maps of normals float32 [n, d], which are overwritten.

    black: bool [n, d], components of value 0. start: float32 [n], explained logits; with `lrp` they are
    accounted for: sum of the map + what was absorbed.
    """
    count = len(values)
    _spread(values, shape)
    values[black] = 0
    size = np.exp(rng.normal(-4, 0.7, count)).astype(np.float32) / np.abs(values).max(axis=1).clip(1e-20)
    values *= size.astype(np.float32)[:, None]
    odd = np.searchsorted(np.cumsum(list(ODD_MAPS.values())), rng.random(count), side="right")
    for row in np.flatnonzero(odd < len(ODD_MAPS)):
        _make_odd(rng, values[row], list(ODD_MAPS)[odd[row]])
    if not lrp:
        unknown = np.full(count, np.nan)
        return RawMaps(values, start, unknown, unknown, unknown)
    with np.errstate(invalid="ignore"):
        total = values.sum(axis=1, dtype=np.float64)
    finite = np.isfinite(total)
    stabiliser = np.where(finite, rng.normal(0, 0.01, count), np.nan)
    bias = np.where(finite, start.astype(np.float64) - total - stabiliser, np.nan)
    return RawMaps(values, start, bias, stabiliser, np.where(finite, 0.0, np.nan))


def _spread(values: np.ndarray, shape: Shape) -> None:
    """Make the tails of standard normals heavy, in place."""
    if shape.shift:
        values += np.float32(shape.shift)
        np.maximum(values, 0, out=values)
    magnitude = np.abs(values) + LINEAR_PART
    for _ in range(shape.power - 1):
        values *= magnitude
    if shape.negative != 1:
        values *= np.where(values < 0, np.float32(shape.negative), np.float32(1))


def _make_odd(rng: np.random.Generator, values: np.ndarray, kind: str) -> None:
    """Change one map in place to one of ODD_MAPS."""
    if kind == "zero":
        values[:] = 0
    elif kind in ("nan", "infinite"):
        values[rng.integers(len(values))] = np.nan if kind == "nan" else np.inf
    elif kind == "coarse":
        step = np.abs(values).max() / 8
        values[:] = np.rint(values / step) * step if step else 0
    else:
        values[rng.random(len(values)) < 0.95] = 0


def parse_shape(text: str) -> tuple[int, int, int]:
    """Height, width and channels of `32x32x3`."""
    sizes = text.split("x")
    if len(sizes) != 3 or not all(size.isdigit() and int(size) for size in sizes):
        raise ValueError(f"shape {text!r} is not HEIGHTxWIDTHxCHANNELS, such as 32x32x3")
    height, width, channels = map(int, sizes)
    if channels not in (1, 3):
        raise ValueError(f"shape {text!r}: images have 1 or 3 channels")
    return height, width, channels
