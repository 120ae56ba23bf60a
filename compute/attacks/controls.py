"""Controls of an attack: images as far from their original as its examples, or on the way to them.

The paper compares the map of an original with that of an adversarial example, where image and decision have
both changed. A control says how much of that difference the image alone makes: `noise` moves an image as far
in a random direction and keeps its class; `reverse` moves it the other way; `path` stops at a fraction of
the way, before or behind the point where the decision turns. Others say what 8-bit levels make of it: `round`
and `floor` put a delivered float image on them, and `darkened` does to an original what flooring did to the
PNG files of Dieter & Zisgen (2023).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from compute.attacks.result import LEVELS, AttackResult, Quantise, measured, quantised

NUMERICS_VERSION = 1
"""Raised when a change of this module changes results."""

DRAWS = 20
"""Random perturbations that are tried until one keeps the class."""

TOLERANCE = 0.02
"""By what share the L2 norm of noise, clipped and on the levels of an image, may miss that of the attack."""

HALVINGS = 40
"""Steps of the search for the noise's size."""

DARKENED = 0.44
"""Share of the components that are one level low in the PNG files released with Dieter & Zisgen (2023)."""

NO_EXAMPLE = "the attack failed"
NO_SIZE = f"no noise of {DRAWS} draws is as large as the attack's change within {TOLERANCE:.0%}"
NO_DRAW = f"no noise of {DRAWS} draws keeps the class"
OTHER_CLASS = "the network takes it for another class than label and target"

Logits = Callable[[np.ndarray], np.ndarray]
"""Pre-softmax outputs [m, k] of images [m, h, w, c]."""


@dataclass(frozen=True)
class Noise:
    """A random perturbation of the same L2 norm, whose class is the original's."""

    of: str
    """id of the attack"""
    seed: int = 0
    quantise: Quantise = "round"

    def as_row(self) -> dict[str, Any]:
        """Columns of the `attacks` table besides the id."""
        return _row("noise", self.of, self.quantise) | {"seed": self.seed}


@dataclass(frozen=True)
class Path:
    """The original moved by a fraction of the attack's change; negative: away from the adversarial example.

    Not put on the levels of an image: at half of a change of one level there would be nothing to see.
    """

    of: str
    fraction: float

    def as_row(self) -> dict[str, Any]:
        """Columns of the `attacks` table besides the id."""
        name = "reverse" if self.fraction < 0 else "path"
        return _row(name, self.of, "none") | {"fraction": self.fraction}


@dataclass(frozen=True)
class Darkened:
    """The original with a share of its components, drawn at random, one 8-bit level lower; 0 stays 0."""

    of: str
    seed: int = 0
    fraction: float = DARKENED

    def as_row(self) -> dict[str, Any]:
        """Columns of the `attacks` table besides the id."""
        return _row("darkened", self.of, "none") | {"seed": self.seed, "fraction": self.fraction}


@dataclass(frozen=True)
class Rounded:
    """The adversarial example, delivered in floats, put on 8-bit levels."""

    of: str
    how: Literal["round", "floor"]

    def as_row(self) -> dict[str, Any]:
        """Columns of the `attacks` table besides the id."""
        return _row(self.how, self.of, self.how)


Control = Noise | Path | Darkened | Rounded


def _row(algorithm: str, of: str, quantise: Quantise) -> dict[str, Any]:
    row = {"algorithm": algorithm, "targeted": True, "control_of": of, "quantise": quantise}
    return row | {"version": NUMERICS_VERSION}


@dataclass(frozen=True)
class Attacked:
    """Pairs of an attack, one place in every array for each.

    image_id, label, target: int64 [m]; originals, delivered: float32 [m, h, w, c] in [0, 1];
    succeeded: bool [m].
    """

    image_id: np.ndarray
    label: np.ndarray
    target: np.ndarray
    originals: np.ndarray
    delivered: np.ndarray
    succeeded: np.ndarray


def make(control: Control, name: str, pairs: Attacked, logits: Logits) -> list[AttackResult]:
    """The control of every pair; `name`, the control's id, is part of its random seed.

    A result's status is `kept` where the network takes the image for the label, `success` where it takes it
    for the target, else `failed`. A pair whose attack failed has no control.
    """
    results: list[AttackResult | None] = [None] * len(pairs.label)
    [open_pairs] = np.nonzero(pairs.succeeded)
    if isinstance(control, Noise):
        _draw(control, name, pairs, logits, open_pairs, results)
    else:
        images = _images(control, name, pairs, open_pairs)
        for place, image, own in zip(open_pairs, images, _logits(logits, images), strict=True):
            results[place] = _judged(pairs, int(place), image, own)
    [without] = np.nonzero(~pairs.succeeded)
    for place, own in zip(without, _logits(logits, pairs.originals[without]), strict=True):
        results[place] = _failed(pairs, int(place), pairs.originals[place], own, NO_EXAMPLE)
    return [result for result in results if result is not None]


def _images(control: Path | Darkened | Rounded, name: str, pairs: Attacked, places: np.ndarray) -> np.ndarray:
    """What a control without a search makes of some pairs, float32 [m, h, w, c] in [0, 1]."""
    originals, delivered = pairs.originals[places], pairs.delivered[places]
    if isinstance(control, Path):
        return np.clip(originals + np.float32(control.fraction) * (delivered - originals), 0, 1)
    if isinstance(control, Rounded):
        return quantised(delivered, control.how)
    seeds = [_seed(control.seed, int(pairs.image_id[p]), int(pairs.target[p]), name, 0) for p in places]
    return darkened(originals, seeds, control.fraction)


def darkened(originals: np.ndarray, seeds: Sequence[int], fraction: float) -> np.ndarray:
    """Originals on levels k / 255, float32 [m, h, w, c], with this share of components a level lower.

    Which ones is drawn without replacement, round(fraction * components) of them; one at 0 stays there.
    """
    lower = np.zeros((len(originals), int(np.prod(originals.shape[1:]))), np.float32)
    for row, seed in zip(lower, seeds, strict=True):
        row[np.random.default_rng(seed).permutation(len(row))[: round(fraction * len(row))]] = 1
    return np.maximum(np.rint(originals * LEVELS) - lower.reshape(originals.shape), 0) / LEVELS


def _draw(
    control: Noise,
    name: str,
    pairs: Attacked,
    logits: Logits,
    left: np.ndarray,
    results: list[AttackResult | None],
) -> None:
    for draw in range(DRAWS):
        if not len(left):
            return
        seeds = [_seed(control.seed, int(pairs.image_id[p]), int(pairs.target[p]), name, draw) for p in left]
        images, is_sized = noise(pairs.originals[left], pairs.delivered[left], seeds, control.quantise)
        outputs = _logits(logits, images)
        is_kept = outputs.argmax(axis=1) == pairs.label[left]
        for i, place in enumerate(left):
            if is_sized[i] and is_kept[i]:
                results[place] = _judged(pairs, place, images[i], outputs[i], draw + 1)
            elif draw == DRAWS - 1:
                reason = NO_DRAW if is_sized[i] else NO_SIZE
                results[place] = _failed(pairs, place, images[i], outputs[i], reason, draw + 1)
        left = left[~(is_sized & is_kept)]


def noise(
    originals: np.ndarray, delivered: np.ndarray, seeds: Sequence[int], quantise: Quantise
) -> tuple[np.ndarray, np.ndarray]:
    """Originals moved in a Gaussian direction as far as `delivered` is, float32 [m, h, w, c] in [0, 1].

    Also whether the norm is met, bool [m]: the size of the direction is halved in until the change, clipped
    and on the levels of an image, has the L2 norm of the attack's within TOLERANCE.
    """
    wanted = _norms(delivered - originals)
    shape = originals.shape[1:]
    directions = np.stack([np.random.default_rng(seed).standard_normal(shape, np.float32) for seed in seeds])
    low, high = np.zeros(len(seeds)), np.ones(len(seeds)) * 4
    best, error = originals.copy(), np.full(len(seeds), np.inf)
    for _ in range(HALVINGS):
        size = (low + high) / 2
        moved = originals + size[:, None, None, None].astype(np.float32) * directions
        images = quantised(np.clip(moved, 0, 1), quantise)
        found = _norms(images - originals)
        miss = np.abs(found - wanted) / np.maximum(wanted, 1e-12)
        better = miss < error
        best[better], error[better] = images[better], miss[better]
        low, high = np.where(found < wanted, size, low), np.where(found < wanted, high, size)
        if (error < TOLERANCE / 100).all():
            break
    return best, error <= TOLERANCE


def _norms(change: np.ndarray) -> np.ndarray:
    return np.linalg.norm(change.reshape(len(change), -1).astype(np.float64), axis=1)


def _seed(study_seed: int, image_id: int, target: int, control: str, draw: int) -> int:
    text = f"{study_seed} {image_id} {target} {control} {draw}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def _judged(
    pairs: Attacked, place: int, image: np.ndarray, logits: np.ndarray, draws: int | None = None
) -> AttackResult:
    taken = int(logits.argmax())
    status = {int(pairs.target[place]): "success", int(pairs.label[place]): "kept"}.get(taken, "failed")
    if status == "failed":
        return _failed(pairs, place, image, logits, OTHER_CLASS, draws)
    target = int(pairs.target[place])
    return measured(pairs.originals[place], image, logits, target, status, None, forward_calls=draws)


def _failed(
    pairs: Attacked,
    place: int,
    image: np.ndarray,
    logits: np.ndarray,
    reason: str,
    draws: int | None = None,
) -> AttackResult:
    target = int(pairs.target[place])
    return measured(pairs.originals[place], image, logits, target, "failed", reason, forward_calls=draws)


def _logits(logits: Logits, images: np.ndarray) -> np.ndarray:
    return logits(images) if len(images) else np.empty((0, 1), np.float32)
