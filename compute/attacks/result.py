"""What an attack says of one pair, and the words that all attacks share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Distance = Literal["mse", "mae"]
Logits = Literal["true", "softmax"]
Quantise = Literal["none", "round", "floor"]

LEVELS = np.float32(255)
"""Steps of an 8-bit image between 0 and 1."""


@dataclass(frozen=True)
class AttackResult:
    """One attacked pair; `status` is success, failed or already_target.

    What an algorithm does not know of itself (`c` of an attack without one) is None.
    """

    status: str
    reason: str | None
    """why it failed, else None"""
    pixels: np.ndarray
    """float32 [n], the delivered image in [0, 1]: the best attempt where it failed"""
    logits: np.ndarray
    """float32 [k] at that image"""
    target: int
    """the class aimed at; of an untargeted attack the class reached"""
    target_probability: float
    second_class: int
    """the most probable class but the target"""
    second_probability: float
    l1: float
    l2: float
    linf: float
    c: float | None = None
    iterations: int | None = None
    gradient_calls: int | None = None
    forward_calls: int | None = None


def measured(
    original: np.ndarray,
    delivered: np.ndarray,
    logits: np.ndarray,
    target: int,
    status: str,
    reason: str | None = None,
    **spent: float | int | None,
) -> AttackResult:
    """The result of delivering an image [...] in place of the original [...], with the logits [k] there.

    spent: `c`, `iterations`, `gradient_calls`, `forward_calls`, as far as the attack has them.
    """
    pixels = delivered.reshape(-1).astype(np.float32)
    change = np.abs(pixels.astype(np.float64) - original.reshape(-1))
    probabilities = softmax(logits)
    others = np.where(np.isnan(probabilities), 0.0, probabilities)
    others[target] = -1
    second = int(others.argmax())
    return AttackResult(
        status=status,
        reason=reason,
        pixels=pixels,
        logits=logits.astype(np.float32),
        target=target,
        target_probability=float(probabilities[target]),
        second_class=second,
        second_probability=float(probabilities[second]),
        l1=float(change.sum()),
        l2=float(np.linalg.norm(change)),
        linf=float(change.max()),
        **spent,  # type: ignore[arg-type]
    )


def quantised(image: np.ndarray, how: str) -> np.ndarray:
    """The image as delivered, float32: unchanged, or on the levels k / 255."""
    image = image.astype(np.float32)
    if how == "none":
        return image
    return (np.rint if how == "round" else np.floor)(image * LEVELS) / LEVELS


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities float64 of logits [..., k]."""
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
