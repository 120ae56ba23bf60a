"""The targeted L-BFGS attack of Szegedy et al. (2014), Intriguing properties of neural networks, section 4.1.

Minimise `distance(x', x) + c * cross_entropy(f(x'), target)` over x' in the box [0, 1]^n for the
smallest c whose minimiser is adversarial: c grows until it succeeds (or shrinks until it fails),
then log c is bisected. The minimiser is a projected L-BFGS (Nocedal & Wright 2006, Algorithm 7.4
for the direction; Bertsekas 1982 for the variables held at the box; Armijo steps along the
projected path). Curvature pairs are kept apart for distance and cross-entropy, because the pair of
their weighted sum then holds for every c: a new c starts with the old curvature, at the best image.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, get_args

import numpy as np

from compute.attacks.lockstep import Evaluate, Evaluation, Search, run_in_lockstep
from compute.attacks.result import AttackResult, Distance, Logits, Quantise, measured, quantised, softmax

NUMERICS_VERSION = 1
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
    initial_c: float = 1e-3
    growth: float = 4.0
    bisections: int = 5
    history: int = 8
    max_iterations: int = 8
    """for one value of c"""
    max_gradient_calls: int = 1_000
    """budget of a pair"""

    def __post_init__(self) -> None:
        for name, choices in (("distance", Distance), ("logits", Logits), ("quantise", Quantise)):
            if getattr(self, name) not in get_args(choices):
                allowed = ", ".join(get_args(choices))
                raise ValueError(f"{name} must be one of {allowed}, not {getattr(self, name)!r}")
        if not 0 <= self.confidence < 1:
            raise ValueError(f"confidence must lie in [0, 1), not {self.confidence}")
        if self.initial_c <= 0 or self.growth <= 1:
            raise ValueError("initial_c must be above 0 and growth above 1")
        for name in ("history", "max_iterations", "max_gradient_calls"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.bisections < 0:
            raise ValueError(f"bisections must be at least 0, not {self.bisections}")

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
    """Attack pairs of images float32 [m, ...] in [0, 1] and target classes int64 [m].

    `on_result(index, result)` is called as soon as a pair is done.
    """
    searches = (
        (int(target), _PairSearch(image, int(target), parameters).run())
        for image, target in zip(images, targets, strict=True)
    )
    return run_in_lockstep(searches, evaluate, images.shape[1:], batch_size, on_result)


@dataclass
class _Point:
    """An evaluated image with both parts of the objective and their gradients, flat float64."""

    x: np.ndarray
    distance: float
    distance_gradient: np.ndarray
    cross_entropy: float
    cross_entropy_gradient: np.ndarray
    reached: bool

    def value(self, c: float) -> float:
        return self.distance + c * self.cross_entropy

    def gradient(self, c: float) -> np.ndarray:
        return self.distance_gradient + c * self.cross_entropy_gradient


class _PairSearch:
    """The search for one pair: `run()` is its generator."""

    def __init__(self, image: np.ndarray, target: int, parameters: LBFGS) -> None:
        self.shape = image.shape
        self.original = image.reshape(-1).astype(np.float64)
        self.target = target
        self.p = parameters
        self.curvature: deque[tuple[np.ndarray, np.ndarray, np.ndarray]] = deque(maxlen=parameters.history)
        self.iterations = self.gradient_calls = self.forward_calls = 0
        self.c = 0.0
        self.best: tuple[float, np.ndarray, np.ndarray, float] | None = None
        """distance, delivered image, its logits and c: the closest verified success"""
        self.best_point: _Point | None = None
        self.attempt: tuple[float, np.ndarray, np.ndarray, float] | None = None
        """target probability, delivered image, its logits and c: the best failure"""

    def run(self) -> Search[AttackResult]:
        start = yield from self._evaluate(self.original)
        clean = yield from self._deliver(start)
        if clean:
            return self._result("already_target")
        c = self.p.initial_c
        succeeded, point = yield from self._minimise(start, c)
        low, high = (0.0, c) if succeeded else (c, 0.0)
        while not succeeded and self._budget_left() and c < 1e10:
            c *= self.p.growth
            succeeded, point = yield from self._minimise(point, c)
            low, high = (low, c) if succeeded else (c, high)
        while high and not low and self._budget_left() and c > 1e-10:
            c /= self.p.growth
            succeeded, _ = yield from self._minimise(self._warm_start(), c)
            low, high = (low, c) if succeeded else (c, high)
        for _ in range(self.p.bisections if high and low else 0):
            c = float(np.sqrt(low * high))
            succeeded, _ = yield from self._minimise(self._warm_start(), c)
            low, high = (low, c) if succeeded else (c, high)
        return self._result("success" if self.best else "failed")

    def _budget_left(self) -> bool:
        return self.gradient_calls < self.p.max_gradient_calls

    def _warm_start(self) -> _Point:
        assert self.best_point is not None
        return self.best_point

    def _minimise(self, point: _Point, c: float) -> Generator[np.ndarray, Evaluation, tuple[bool, _Point]]:
        """Minimise for one c from a point; whether its minimiser succeeds when delivered, and the minimiser.

        The last image on the way that reached the target is delivered too where the minimiser does
        not reach it: it may be the closest yet.
        """
        self.c = c
        start = point.value(c)
        reached = point if point.reached and point is not self.best_point else None
        for _ in range(self.p.max_iterations):
            if not self._budget_left():
                break
            following = yield from self._step(point, c)
            if following is None:
                break
            self.iterations += 1
            decrease = point.value(c) - following.value(c)
            point = following
            if point.reached:
                reached = point
            # the second condition keeps a search going on the plateau of a saturated softmax
            if decrease <= 1e-4 * abs(point.value(c)) and decrease <= 0.1 * (start - point.value(c)):
                break
        if reached is None:
            if not point.reached:
                yield from self._deliver(point)
            return point is self.best_point, point
        succeeded = yield from self._deliver(reached)
        return succeeded and point.reached, point

    def _step(self, point: _Point, c: float) -> Generator[np.ndarray, Evaluation, _Point | None]:
        """One projected L-BFGS iteration; None where no step goes down."""
        gradient = point.gradient(c)
        held = ((point.x <= 0) & (gradient > 0)) | ((point.x >= 1) & (gradient < 0))
        downhill = np.where(held, 0.0, -gradient)
        if not downhill.any():
            return None
        direction = np.where(held, 0.0, self._two_loop(downhill, c))
        if direction @ gradient >= 0:
            direction = downhill
        length = 1.0
        if not self.curvature:
            longest = 0.003 * np.sqrt(direction.size)
            length = min(1.0, longest / float(np.linalg.norm(direction)))
        for _ in range(12):
            trial = yield from self._evaluate(np.clip(point.x + length * direction, 0.0, 1.0))
            slope = float(gradient @ (trial.x - point.x))
            rise = trial.value(c) - point.value(c)
            if rise <= 1e-4 * slope:
                self.curvature.append(
                    (
                        trial.x - point.x,
                        trial.distance_gradient - point.distance_gradient,
                        trial.cross_entropy_gradient - point.cross_entropy_gradient,
                    )
                )
                return trial
            if not self._budget_left():
                return None
            # the minimum of the parabola through value, slope and trial value
            shrink = -slope / (2 * (rise - slope)) if slope < 0 else 0.1
            length *= float(np.clip(shrink, 0.1, 0.5))
        self.curvature.clear()
        return None

    def _two_loop(self, downhill: np.ndarray, c: float) -> np.ndarray:
        """Inverse Hessian estimate times a vector: Nocedal & Wright, Algorithm 7.4."""
        pairs = []
        for step, distance_change, cross_entropy_change in self.curvature:
            change = distance_change + c * cross_entropy_change
            product = float(step @ change)
            if product > 1e-10 * float(change @ change):
                pairs.append((step, change, product))
        if not pairs:
            # the exact inverse Hessian of the mean squared distance
            return downhill * (downhill.size / 2)
        direction = downhill.copy()
        shares = []
        for step, change, product in reversed(pairs):
            share = float(step @ direction) / product
            direction -= share * change
            shares.append(share)
        _, change, product = pairs[-1]
        direction *= product / float(change @ change)
        for (step, change, product), share in zip(pairs, reversed(shares), strict=True):
            direction += (share - float(change @ direction) / product) * step
        return direction

    def _evaluate(self, x: np.ndarray) -> Generator[np.ndarray, Evaluation, _Point]:
        self.gradient_calls += 1
        seen = yield x.reshape(self.shape).astype(np.float32)
        change = x - self.original
        if self.p.distance == "mse":
            distance, gradient = float(np.mean(change**2)), change * (2 / change.size)
        else:
            distance, gradient = float(np.mean(np.abs(change))), np.sign(change) / change.size
        return _Point(
            x, distance, gradient, seen.cross_entropy,
            seen.gradient.reshape(-1).astype(np.float64), self._reaches(seen.logits)[0],
        )  # fmt: skip

    def _reaches(self, logits: np.ndarray) -> tuple[bool, float]:
        """Whether these logits are a success, and the target's probability."""
        probability = float(softmax(logits)[self.target])
        return bool(logits.argmax() == self.target and probability >= self.p.confidence), probability

    def _deliver(self, point: _Point) -> Generator[np.ndarray, Evaluation, bool]:
        """Verify the image as delivered and remember it if it is the best yet; whether it is a success."""
        delivered = quantised(point.x, self.p.quantise).reshape(self.shape)
        self.forward_calls += 1
        seen = yield delivered
        success, probability = self._reaches(seen.logits)
        change = delivered.reshape(-1) - self.original
        distance = float(np.mean(change**2) if self.p.distance == "mse" else np.mean(np.abs(change)))
        if success and (self.best is None or distance < self.best[0]):
            self.best = (distance, delivered, seen.logits.copy(), self.c)
            self.best_point = point
        if not success and (self.attempt is None or probability > self.attempt[0]):
            self.attempt = (probability, delivered, seen.logits.copy(), self.c)
        return success

    def _result(self, status: str) -> AttackResult:
        chosen = self.best or self.attempt
        assert chosen is not None
        _, delivered, logits, c = chosen
        return measured(
            self.original,
            delivered,
            logits,
            self.target,
            status,
            "budget spent" if status == "failed" else None,
            c=c,
            iterations=self.iterations,
            gradient_calls=self.gradient_calls,
            forward_calls=self.forward_calls,
        )
