"""The targeted L-BFGS attack of Szegedy et al. (2014), Intriguing properties of neural networks, section 4.1.

Minimise `distance(x', x) + c * cross_entropy(f(x'), target)` over x' in the box [0, 1]^n for the
smallest c whose minimiser is adversarial. That minimiser is the stationary point of the distance
where the target just reaches its confidence, with c as the multiplier of that constraint. So c is not
grown and bisected over many minimisations but found by Newton's method within one (`search`); what is
stored as c is the weight at which the delivered image is that stationary point.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, get_args

import numpy as np
from threadpoolctl import threadpool_limits

from compute.attacks.inputs import require_pairs
from compute.attacks.lockstep import Evaluate
from compute.attacks.result import AttackResult, Distance, Logits, Quantise, measured
from compute.attacks.search import Searches

NUMERICS_VERSION = 2
"""Raised when a change of this module changes results."""


@dataclass(frozen=True)
class LBFGS:
    """Parameters of the attack; all of them are stored with its results."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # where a study is validated

    distance: Distance = "mse"
    """`mse` or `mae`: mean over components, in units of the box"""
    confidence: float = 0.99
    """target probability that a success must reach on the delivered image (0: just the arg max)"""
    logits: Logits = "true"
    """`true`, or `softmax`: the softmax output is taken for logits, as in the paper's experiment"""
    quantise: Quantise = "round"
    """`none`; `round` or `floor` to 8-bit levels; success is verified on the delivered image"""
    tolerance: float = 1e-4
    """relative gain in distance below which a search ends"""
    margin: float = 0.005
    """how far a search aims beyond the required log-odds, as a share of how far the original is from them"""
    history: int = 6
    """L-BFGS corrections kept"""
    max_gradient_calls: int = 300
    """budget of a pair"""

    def __post_init__(self) -> None:
        for name, choices in (("distance", Distance), ("logits", Logits), ("quantise", Quantise)):
            if getattr(self, name) not in get_args(choices):
                allowed = ", ".join(get_args(choices))
                raise ValueError(f"{name} must be one of {allowed}, not {getattr(self, name)!r}")
        if not 0 <= self.confidence < 1:
            raise ValueError(f"confidence must lie in [0, 1), not {self.confidence}")
        for name in ("tolerance", "margin"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {getattr(self, name)}")
        for name in ("history", "max_gradient_calls"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def as_row(self) -> dict[str, Any]:
        """Columns of the `attacks` table besides the id."""
        return {"algorithm": "lbfgs", "targeted": True, "version": NUMERICS_VERSION, **asdict(self)}


def attack(
    evaluate: Evaluate,
    images: np.ndarray,
    targets: np.ndarray,
    parameters: LBFGS,
    batch_size: int = 64,
    on_result: Callable[[int, AttackResult], None] = lambda index, result: None,
) -> list[AttackResult]:
    """Attack pairs of images float32 [m, h, w, c] in [0, 1] and target classes int64 [m].

    At most `batch_size` searches run at a time; one that ends leaves its place to the next pair.
    `on_result(index, result)` is called as soon as a pair is done. Raises AttackInputError where images
    or targets cannot be attacked. An image that is of its target's class already, at the confidence that is
    asked for, has status `already_target`.
    """
    if not len(images):
        return []
    images = np.ascontiguousarray(images, np.float32)
    classes = evaluate(images[:1], np.zeros(1, np.int64))[0].shape[1]
    require_pairs(images, targets, classes)
    originals = images.reshape(len(images), -1)
    places = min(batch_size, len(images))
    index_at, free = np.zeros(places, np.int64), list(range(places))
    results: dict[int, AttackResult] = {}

    def end(place: int, status: str, reason: str | None) -> None:
        index, c = int(index_at[place]), float(searches.chosen_c[place])
        results[index] = measured(
            originals[index],
            searches.chosen[place],
            searches.chosen_logits[place],
            int(targets[index]),
            status,
            reason,
            c=c if np.isfinite(c) else None,
            iterations=int(searches.iterations[place]),
            gradient_calls=int(searches.gradient_calls[place]),
            forward_calls=int(searches.forward_calls[place]),
        )
        free.append(place)
        on_result(index, results[index])

    searches = Searches(places, originals.shape[1], classes, parameters, end)
    waiting = iter(range(len(images)))
    # threads of BLAS cost more than they save on products this small, and stall where cores are shared
    with threadpool_limits(1, "blas"):
        while len(results) < len(images):
            for place, index in zip(sorted(free), waiting, strict=False):
                index_at[place] = index
                searches.start(place, originals[index], int(targets[index]))
                free.remove(place)
            rows = searches.running()
            batch = searches.image[rows].reshape(-1, *images.shape[1:])
            logits, _, gradient = evaluate(batch, searches.target[rows])
            searches.receive(rows, logits, gradient.reshape(len(rows), -1))
    return [results[index] for index in range(len(images))]
