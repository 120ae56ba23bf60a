"""The preset `foolbox-2.4`: the L-BFGS attack as Foolbox 2.4.0 has it, step by step, for comparison.

Source: Foolbox 2.4.0, foolbox/v1/attacks/lbfgs.py and foolbox/v1/adversarial.py (Rauber, Brendel & Bethge
2017, arXiv:1707.04131). It minimises `1e10 * (distance + c * cross-entropy)` in the box by scipy's L-BFGS-B
(Zhu, Byrd, Lu & Nocedal 1997), each time from the original. c is doubled until the minimiser is adversarial,
then bisected down to an absolute tolerance; the closest of all images evaluated on the way is delivered.
The factor matters: with all variables boxed the first trial step of L-BFGS-B has length 1, which with it
leads to a corner of the box.

scipy calls its objective and waits. Here each search runs scipy in a coroutine (greenlet) that hands out
the image to evaluate, so that many searches share batches.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from threadpoolctl import threadpool_limits

from compute.attacks.inputs import require_pairs
from compute.attacks.lockstep import Evaluate, Evaluation, Search, run_in_lockstep
from compute.attacks.result import AttackResult, Distance, Logits, Quantise, measured, quantised, softmax

NUMERICS_VERSION = 1
"""Raised when a change of this module changes results."""

SCALE = 1e10
DOUBLINGS = 30

NOT_REACHED = "c reached its limit"
BUDGET_SPENT = "budget spent"
NO_GRADIENT = "gradient is zero"
NOT_FINITE = "the network gives values that are not finite"
NOT_DELIVERED = "the target is lost on 8-bit levels"


@dataclass(frozen=True)
class Foolbox24:
    """Parameters of the attack; all of them are stored with its results."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # where a study is validated

    preset: Literal["foolbox-2.4"] = "foolbox-2.4"
    distance: Distance = "mse"
    """`mse` or `mae`: mean over components, in units of the box"""
    logits: Logits = "true"
    """`true`, or `softmax`: the softmax output is taken for logits, as in the paper's experiment"""
    quantise: Quantise = "none"
    """what becomes of the closest image in the end: `none`; `round` or `floor` to 8-bit levels"""
    tolerance: float = 1e-5
    """of c, absolute; also half of the first c that is tried"""
    max_iterations: int = 150
    """for one value of c"""
    history: int = 15
    threshold: float | None = None
    """a distance that is small enough to stop the search"""
    max_gradient_calls: int = 100_000
    """budget of a pair"""

    def __post_init__(self) -> None:
        if self.preset != "foolbox-2.4":
            raise ValueError(f"preset must be foolbox-2.4, not {self.preset!r}")
        for name, choices in (("distance", Distance), ("logits", Logits), ("quantise", Quantise)):
            if getattr(self, name) not in get_args(choices):
                allowed = ", ".join(get_args(choices))
                raise ValueError(f"{name} must be one of {allowed}, not {getattr(self, name)!r}")
        if not 0 < self.tolerance < float("inf"):
            raise ValueError(f"tolerance must be above 0 and finite, not {self.tolerance}")
        if self.threshold is not None and not 0 <= self.threshold < float("inf"):
            raise ValueError(f"threshold must be at least 0 and finite, not {self.threshold}")
        for name in ("max_iterations", "history", "max_gradient_calls"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def as_row(self) -> dict[str, Any]:
        """Columns of the `attacks` table besides the id."""
        return {"algorithm": "lbfgs", "targeted": True, "version": NUMERICS_VERSION, **asdict(self)}


def attack(
    evaluate: Evaluate,
    images: np.ndarray,
    targets: np.ndarray,
    parameters: Foolbox24,
    batch_size: int = 64,
    on_result: Callable[[int, AttackResult], None] = lambda index, result: None,
) -> list[AttackResult]:
    """Attack pairs of images float32 [m, h, w, c] in [0, 1] and target classes int64 [m].

    `on_result(index, result)` is called as soon as a pair is done. Raises AttackInputError for images
    outside [0, 1] and for classes that the network does not have.
    """
    if not len(images):
        return []
    filled = np.resize(images, (batch_size, *images.shape[1:])).astype(np.float32)
    classes = evaluate(filled, np.zeros(batch_size, np.int64))[0].shape[1]
    require_pairs(images, targets, classes)
    searches = (
        (int(target), _PairSearch(image, int(target), parameters).run())
        for image, target in zip(images, targets, strict=True)
    )
    import scipy.optimize  # noqa: F401 - its BLAS can be limited once it is loaded

    # more threads cost more than they save on products this small, and stall where cores are shared
    with threadpool_limits(1, "blas"):
        return run_in_lockstep(searches, evaluate, images.shape[1:], batch_size, on_result)


class _StopSearch(Exception):
    """The search is over before its end; `reason` says why it failed, if nothing was found."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class _Seen:
    """An evaluated image that may be delivered."""

    image: np.ndarray
    logits: np.ndarray
    rank: float
    """distance of an adversarial one, target probability of another"""
    c: float | None


class _PairSearch:
    """The search for one pair: `run()` is its generator."""

    def __init__(self, image: np.ndarray, target: int, parameters: Foolbox24) -> None:
        self.original = image.astype(np.float32)
        self.target = target
        self.p = parameters
        self.c: float | None = None
        self.iterations = self.gradient_calls = self.forward_calls = 0
        self.best: _Seen | None = None
        self.attempt: _Seen | None = None

    def run(self) -> Search[AttackResult]:
        try:
            start, adversarial = yield from self._look(self.original)
            if adversarial:
                return (yield from self._delivered("already_target"))
            if not start.gradient.any():
                raise _StopSearch(NO_GRADIENT)
            found = yield from self._search_c()
            return (yield from self._delivered("" if found else NOT_REACHED))
        except _StopSearch as stopped:
            return (yield from self._delivered(stopped.reason))

    def _search_c(self) -> Generator[np.ndarray, Evaluation, bool]:
        """Double c until its minimiser is adversarial, then bisect; whether such a c was found."""
        c = self.p.tolerance
        for _ in range(DOUBLINGS):
            c *= 2
            if (yield from self._minimise(c)):
                break
        else:
            return False
        low, high = 0.0, c
        while high - low >= self.p.tolerance:
            c = (low + high) / 2
            if (yield from self._minimise(c)):
                high = c
            else:
                low = c
        return True

    def _minimise(self, c: float) -> Generator[np.ndarray, Evaluation, bool]:
        """Run L-BFGS-B for one c, from the original; whether its last iterate is adversarial."""
        import greenlet
        from scipy.optimize import fmin_l_bfgs_b  # half a second, which commands that attack nothing save

        self.c = c

        def count(_: np.ndarray) -> None:
            self.iterations += 1

        def run() -> np.ndarray:
            return fmin_l_bfgs_b(
                waiting.switch,
                self.original.reshape(-1).astype(np.float64),
                bounds=[(0.0, 1.0)] * self.original.size,
                m=self.p.history,
                maxiter=self.p.max_iterations,
                callback=count,
            )[0]

        waiting, optimiser = greenlet.getcurrent(), greenlet.greenlet(run)
        try:
            x = optimiser.switch()
            while not optimiser.dead:
                if self.gradient_calls >= self.p.max_gradient_calls:
                    raise _StopSearch(BUDGET_SPENT)
                self.gradient_calls += 1
                image = self._image(x)
                seen, _ = yield from self._look(image, forward=False)
                x = optimiser.switch(self._objective(image, seen, c))
        finally:
            with suppress(greenlet.error):  # where the whole attack was given up by another thread
                optimiser.throw()
        _, adversarial = yield from self._look(self._image(np.clip(x, 0.0, 1.0)))
        return adversarial

    def _image(self, x: np.ndarray) -> np.ndarray:
        return x.astype(np.float32).reshape(self.original.shape)

    def _objective(self, image: np.ndarray, seen: Evaluation, c: float) -> tuple[float, np.ndarray]:
        """Value in float64 of parts in float32, gradient [n] in float32: as Foolbox has them."""
        distance, gradient = self._distance(image)
        value = distance + c * seen.cross_entropy
        return SCALE * value, (SCALE * (gradient + c * seen.gradient)).reshape(-1).astype(np.float64)

    def _distance(self, image: np.ndarray) -> tuple[float, np.ndarray]:
        """foolbox.distances.MSE or MAE from the original, and its gradient."""
        change = image - self.original
        if self.p.distance == "mse":
            return float(np.vdot(change, change)) / change.size, change / (change.size / 2)
        return float(np.mean(np.abs(change))), 1 / change.size * np.sign(change)

    def _look(
        self, image: np.ndarray, forward: bool = True
    ) -> Generator[np.ndarray, Evaluation, tuple[Evaluation, bool]]:
        """Evaluate an image and remember it if it is the best yet; whether it is adversarial."""
        self.forward_calls += forward
        seen = yield image
        if not (
            np.isfinite(seen.logits).all()
            and np.isfinite(seen.cross_entropy)
            and np.isfinite(seen.gradient).all()
        ):
            self.attempt = self.attempt or _Seen(image, seen.logits.copy(), 0.0, self.c)
            raise _StopSearch(NOT_FINITE)
        adversarial = bool(seen.logits.argmax() == self.target)
        if adversarial:
            distance = self._distance(image)[0]
            inside = image.min() >= 0 and image.max() <= 1
            if inside and (self.best is None or distance < self.best.rank):
                self.best = _Seen(image, seen.logits.copy(), distance, self.c)
                if self.p.threshold is not None and 0 < distance <= self.p.threshold:
                    raise _StopSearch
        elif self.best is None:
            probability = float(softmax(seen.logits)[self.target])
            if self.attempt is None or probability > self.attempt.rank:
                self.attempt = _Seen(image, seen.logits.copy(), probability, self.c)
        return seen, adversarial

    def _delivered(self, outcome: str) -> Search[AttackResult]:
        """The closest adversarial image, verified on its levels; else a failure for the reason `outcome`."""
        chosen = self.best or self.attempt
        assert chosen is not None
        status = "already_target" if outcome == "already_target" else "success" if self.best else "failed"
        reason = outcome if status == "failed" else None
        image, logits = quantised(chosen.image, self.p.quantise), chosen.logits
        if self.p.quantise != "none" and outcome != NOT_FINITE:
            self.forward_calls += 1
            logits = (yield image).logits.copy()
            if status != "failed" and logits.argmax() != self.target:
                status, reason = "failed", NOT_DELIVERED
        return measured(
            self.original,
            image,
            logits,
            self.target,
            status,
            reason,
            c=chosen.c,
            iterations=self.iterations,
            gradient_calls=self.gradient_calls,
            forward_calls=self.forward_calls,
        )
