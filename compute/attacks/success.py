"""How far the network's outputs are from a success."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compute.attacks.result import softmax


@dataclass(frozen=True)
class Seen:
    """What logits [m, k] say of their targets [m]: arrays [m]."""

    h: np.ndarray
    """log-odds against the target, of the taken logits"""
    bound: np.ndarray
    """h where the target would just be reached"""
    share: np.ndarray
    """of the gradient of h in that of the cross-entropy: 1 - p of the taken logits"""
    reached: np.ndarray
    probability: np.ndarray
    """of the target, by the true logits"""

    def at(self, of: np.ndarray) -> Seen:
        """The same for some of the rows."""
        return Seen(*(values[of] for values in vars(self).values()))


def look(logits: np.ndarray, targets: np.ndarray, confidence: float, taken: str) -> Seen:
    """How far logits [m, k] are from a success for their targets [m].

    taken: `true`, or `softmax` where the softmax of the logits is what the attack takes for logits.
    """
    rows, z = np.arange(len(targets)), logits.astype(np.float64)
    own = z[rows, targets]
    others = z.copy()
    others[rows, targets] = -np.inf
    highest, all_others = others.max(axis=1), _log_sum(others)
    needed = highest
    if confidence > 0:
        needed = np.maximum(needed, all_others + np.log(confidence / (1 - confidence)))
    probability = 1 / (1 + np.exp(all_others - own))
    reached = (logits.argmax(axis=1) == targets) & (probability >= confidence)
    if taken == "softmax":
        at_bound = z.copy()
        at_bound[rows, targets] = needed
        h, bound = (_log_odds(softmax(values), rows, targets) for values in (z, at_bound))
    else:
        h, bound = all_others - own, all_others - needed
    return Seen(h, bound, 1 / (1 + np.exp(-h)), reached, probability)


def _log_odds(values: np.ndarray, rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
    own, others = values[rows, targets], values.copy()
    others[rows, targets] = -np.inf
    return _log_sum(others) - own


def _log_sum(values: np.ndarray) -> np.ndarray:
    highest = values.max(axis=1, keepdims=True)
    return highest[:, 0] + np.log(np.exp(values - highest).sum(axis=1))
