"""The attacks of Foolbox 3 over many (image, class) pairs: run in batches, verified on what is delivered.

A pair's result does not depend on the pairs in its batch: batches are filled up to one size, random starts
follow from seed, image and class alone, and what Foolbox shares over a batch is turned off (Carlini-Wagner
and EAD never stop early, Boundary takes all of its steps and draws the same sequence for every pair).
Attacks that minimise the change look for images that are adversarial *as delivered*: rounded, and with the
confidence that is asked for. Those of a fixed budget are Foolbox's own; their delivered images keep to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from eagerpy.astensor import astensor
from foolbox.attacks.basic_iterative_method import LinfBasicIterativeAttack
from foolbox.attacks.boundary_attack import BoundaryAttack
from foolbox.attacks.carlini_wagner import L2CarliniWagnerAttack
from foolbox.attacks.ddn import DDNAttack
from foolbox.attacks.deepfool import L2DeepFoolAttack
from foolbox.attacks.ead import EADAttack
from foolbox.attacks.fast_gradient_method import LinfFastGradientAttack
from foolbox.attacks.projected_gradient_descent import (
    L2ProjectedGradientDescentAttack,
    LinfProjectedGradientDescentAttack,
)
from foolbox.criteria import Criterion, Misclassification, TargetedMisclassification
from foolbox.models.tensorflow import TensorFlowModel

from compute.attacks import eagerpy_shim  # noqa: F401
from compute.attacks import foolbox_parameters as p
from compute.attacks.inputs import AttackInputError, require_pairs
from compute.attacks.result import LEVELS, AttackResult, measured, quantised, softmax

NOT_REACHED = "the target was not reached"
NOT_LEFT = "the image kept its class"
NOT_SURE = "the class reached is less probable than the confidence asked for"
NO_START = "no correctly classified image of the target to start from"
NOT_FINITE = "the network gives values that are not finite"
OVER_BUDGET = "the delivered image is over the budget"
FUZZ = 4e-7
"""What a change may be over its budget: float32 knows a value near 1 no better than to 6e-8."""


@dataclass(frozen=True)
class Pool:
    """Images that a network classifies correctly: float32 [n, h, w, c] in [0, 1], labels int64 [n]."""

    images: np.ndarray
    labels: np.ndarray


def attack(
    forward: Callable[[Any], Any],
    images: np.ndarray,
    classes: np.ndarray,
    parameters: p.FoolboxAttack,
    batch_size: int = 64,
    on_result: Callable[[int, AttackResult], None] = lambda index, result: None,
    pool: Pool | None = None,
) -> list[AttackResult]:
    """Attack images float32 [m, h, w, c] in [0, 1].

    forward: images -> pre-softmax outputs [b, k], in TensorFlow. classes: int64 [m], the targets, or of an
    untargeted attack the labels. pool: where Boundary starts; other attacks need none.
    `on_result(index, result)` is called for every pair of a batch when the batch is done. Raises
    AttackInputError for images outside [0, 1] and for classes that the network does not have.
    """
    if not len(images):
        return []
    network = _Counted(forward)
    clean = _logits(network, images, batch_size)
    require_pairs(images, classes, clean.shape[1])
    results: dict[int, AttackResult] = {}

    def keep(index: int, result: AttackResult) -> None:
        results[index] = result
        on_result(index, result)

    broken: np.ndarray = np.logical_not(np.isfinite(clean).all(axis=1))
    arrived = np.equal(clean.argmax(axis=1) == classes, parameters.targeted) & ~broken
    starts, lost = images, np.zeros(len(images), bool)
    if isinstance(parameters, p.Boundary):
        starts, lost = _starting_points(network, images, classes, parameters, batch_size, pool)
    for i in map(int, np.flatnonzero(broken | arrived | lost)):
        status, reason = ("already_target", None) if arrived[i] else ("failed", NO_START)
        reason = NOT_FINITE if broken[i] else reason
        there = int(clean[i].argmax()) if arrived[i] else int(classes[i])
        spent = {"iterations": 0, "gradient_calls": 0, "forward_calls": 1}
        keep(i, measured(images[i], images[i], clean[i], there, status, reason, **spent))
    todo = np.flatnonzero(~(broken | arrived | lost))
    for first in range(0, len(todo), batch_size):
        rows = todo[first : first + batch_size]
        filled = rows[np.minimum(np.arange(batch_size), len(rows) - 1)]
        batch = _Batch(network, images[filled], classes[filled], parameters, clean.shape[1])
        for i, result in zip(map(int, rows), batch.run(starts[filled]), strict=False):
            keep(i, result)
    return [results[i] for i in range(len(images))]


class _Counted:
    """The network as Foolbox calls it, with a count of its evaluations.

    generators: one a row of the batch; where a gradient vanishes, normal noise takes its place.
    """

    def __init__(self, forward: Callable[[Any], Any]) -> None:
        self.calls = self.gradients = 0
        self.generators: Sequence[np.random.Generator] = ()
        self._forward = forward
        self._tapped = tf.custom_gradient(lambda images: (tf.identity(images), self._gradient))

    def __call__(self, images: Any) -> Any:
        self.calls += 1
        return self._forward(self._tapped(images))

    def _gradient(self, gradient: Any) -> Any:
        self.gradients += 1
        if not self.generators:
            return gradient
        values = gradient.numpy()
        for row in map(int, np.flatnonzero(~values.any(axis=(1, 2, 3)))):
            values[row] = self.generators[row].normal(size=values[row].shape)
        return tf.constant(values)


class _Batch:
    """One batch of pairs under attack, [b, ...]; rows beyond the real ones repeat the last of these."""

    def __init__(
        self,
        network: _Counted,
        images: np.ndarray,
        classes: np.ndarray,
        parameters: p.FoolboxAttack,
        class_count: int,
    ) -> None:
        self.network, self.images, self.classes, self.p = network, images, classes, parameters
        self.class_count = class_count
        self.asks_again = parameters.quantise != "none" or parameters.confidence > 0
        self.missed = np.zeros(len(images), np.int64)
        """by row, how often Foolbox asked for success in vain"""

    def run(self, starts: np.ndarray) -> list[AttackResult]:
        """Results of all rows."""
        self.network.calls = self.network.gradients = 0
        found = self._found(starts)
        # Carlini-Wagner and EAD give a black image where they find nothing
        nothing = ~(found.any(axis=(1, 2, 3)) & np.isfinite(found).all(axis=(1, 2, 3)))
        found[nothing] = self.images[nothing]
        delivered = np.stack([self._delivered(*pair) for pair in zip(self.images, found, strict=True)])
        logits = np.asarray(self.network(tf.constant(delivered)))
        over = np.zeros(len(delivered), bool)
        if isinstance(self.p, p.FixedBudget):
            over = np.array([size > self.p.epsilon + FUZZ for size in self._sizes(delivered)])
        success = reaches(logits, self.classes, self.p) & ~over
        results = []
        for i, (original, image, own) in enumerate(zip(self.images, delivered, logits, strict=True)):
            there = int(own.argmax()) if success[i] else int(self.classes[i])
            status, reason = (
                ("success", None) if success[i] else ("failed", self._reason(own, i, bool(over[i])))
            )
            results.append(measured(original, image, own, there, status, reason, **self._spent(i)))
        return results

    def _found(self, starts: np.ndarray) -> np.ndarray:
        """What Foolbox makes of the images, float32, neither rounded nor verified."""
        a, kind = self.p, foolbox_attack(self.p)
        network: Callable[[Any], Any] = self.network
        more: dict[str, Any] = {}
        if isinstance(a, p.FixedBudget):
            more["epsilon"] = a.epsilon
        if isinstance(a, p.PGDLinf | p.PGDL2):
            noise = np.stack(
                [_noise(generator, self.images[0].shape, a) for generator in self._generators(a.seed)]
            )
            kind.get_random_start = lambda x, epsilon: x + astensor(tf.constant(epsilon * noise))
        if isinstance(a, p.Boundary):
            more["starting_points"] = tf.constant(starts)
            network = self._of_delivered
            tf.random.set_seed(a.seed)  # one draw a step, of which every row makes its own direction
        self.network.generators = self._generators(a.seed) if isinstance(a, p.DDN) else ()
        model = TensorFlowModel(network, bounds=(0, 1), device="/CPU:0")
        try:
            return np.array(kind.run(model, tf.constant(self.images), self._criterion(), **more))
        finally:
            self.network.generators = ()

    def _generators(self, seed: int) -> list[np.random.Generator]:
        """A generator a row, which follows from seed, image and class."""
        return [
            np.random.default_rng([seed, int(target), *hashlib.sha256(image.tobytes()).digest()])
            for image, target in zip(self.images, self.classes, strict=True)
        ]

    def _of_delivered(self, images: Any) -> Any:
        return self.network(tf.constant(quantised(images.numpy(), self.p.quantise)))

    def _criterion(self) -> Criterion:
        """Foolbox's criterion; where the change is minimised it holds for the image as delivered."""
        batch = self
        kind: Any = TargetedMisclassification if self.p.targeted else Misclassification

        class Delivered(kind):
            def __call__(self, perturbed: Any, outputs: Any) -> Any:
                success = super().__call__(perturbed, outputs).numpy().copy()
                if batch.asks_again:
                    own = outputs if isinstance(batch.p, p.Boundary) else batch._of_delivered(perturbed)
                    success &= reaches(own.numpy(), batch.classes, batch.p)
                batch.missed += ~success
                return astensor(tf.constant(success))

        return Delivered(tf.constant(self.classes))

    def _delivered(self, original: np.ndarray, found: np.ndarray) -> np.ndarray:
        """The image as delivered; what rounding adds to a fixed budget is taken back."""
        delivered = quantised(found, self.p.quantise)
        if not isinstance(self.p, p.FixedBudget):
            return delivered
        if self.p.quantise == "none":
            change = found.astype(np.float64) - original
            size = np.linalg.norm(change.ravel(), np.inf if self.p.distance == "linf" else 2)
            return (original + change * min(1.0, self.p.epsilon / max(size, FUZZ))).astype(np.float32)
        within = _within_linf if self.p.distance == "linf" else _within_l2
        return within(original, found, delivered, self.p.epsilon)

    def _sizes(self, delivered: np.ndarray) -> np.ndarray:
        """Norms of the changes that a fixed budget bounds, float64 [b]."""
        changes = (delivered.astype(np.float64) - self.images).reshape(len(delivered), -1)
        return np.linalg.norm(changes, np.inf if self.p.distance == "linf" else 2, axis=1)

    def _reason(self, logits: np.ndarray, i: int, over: bool) -> str:
        if not np.isfinite(logits).all():
            return NOT_FINITE
        if (logits.argmax() == self.classes[i]) == self.p.targeted:
            return OVER_BUDGET if over else NOT_SURE
        return NOT_REACHED if self.p.targeted else NOT_LEFT

    def _spent(self, i: int) -> dict[str, int]:
        """Iterations and evaluations of a row: those of the batch, but DeepFool's until its own success."""
        gradients, calls = self.network.gradients, self.network.calls
        iterations = gradients
        if isinstance(self.p, p.Boundary):
            iterations = self.p.steps
        if isinstance(self.p, p.DeepFoolL2):
            iterations = int(self.missed[i])
            asked = min(iterations + 1, self.p.steps)
            boundaries = min(self.p.candidates, self.class_count) - 1
            gradients = iterations * boundaries + asked - iterations
            calls = 1 + gradients + asked * self.asks_again + 1
        # one more: whether the image had to be attacked at all
        return {"iterations": iterations, "gradient_calls": gradients, "forward_calls": calls - gradients + 1}


def foolbox_attack(parameters: p.FoolboxAttack) -> Any:
    """Foolbox's own attack with these parameters."""
    match parameters:
        case p.FGSM():
            return LinfFastGradientAttack()
        case p.BIMLinf(steps=steps, relative_step=step):
            return LinfBasicIterativeAttack(rel_stepsize=step, steps=steps)
        case p.PGDLinf(steps=steps, relative_step=step):
            return LinfProjectedGradientDescentAttack(rel_stepsize=step, steps=steps)
        case p.PGDL2(steps=steps, relative_step=step):
            return L2ProjectedGradientDescentAttack(rel_stepsize=step, steps=steps)
        case p.CarliniWagnerL2() as a:
            return L2CarliniWagnerAttack(
                binary_search_steps=a.binary_search_steps, steps=a.steps, stepsize=a.step_size,
                confidence=a.kappa, initial_const=a.initial_const, abort_early=False,
            )  # fmt: skip
        case p.DDN() as a:
            return DDNAttack(init_epsilon=a.initial_epsilon, steps=a.steps, gamma=a.gamma)
        case p.EAD() as a:
            return EADAttack(
                binary_search_steps=a.binary_search_steps, steps=a.steps, initial_stepsize=a.step_size,
                confidence=a.kappa, initial_const=a.initial_const, regularization=a.regularization,
                decision_rule=a.decision_rule, abort_early=False,
            )  # fmt: skip
        case p.Boundary() as a:
            return BoundaryAttack(
                steps=a.steps, spherical_step=a.spherical_step, source_step=a.source_step,
                source_step_convergance=0.0, step_adaptation=a.step_adaptation,
            )  # fmt: skip
        case p.DeepFoolL2() as a:
            return L2DeepFoolAttack(steps=a.steps, candidates=a.candidates, overshoot=a.overshoot)
    raise AttackInputError(f"{parameters.algorithm} is none of Foolbox's attacks")


def reaches(logits: np.ndarray, classes: np.ndarray, parameters: p.FoolboxAttack) -> np.ndarray:
    """Which of these outputs [b, k] are a success, bool [b]."""
    there = logits.argmax(axis=1)
    probability = softmax(logits)[np.arange(len(logits)), there]
    return ((there == classes) == parameters.targeted) & (probability >= parameters.confidence)


def _within_linf(
    original: np.ndarray, found: np.ndarray, delivered: np.ndarray, epsilon: float
) -> np.ndarray:
    """The delivered levels cut to those within epsilon; the original where a component has none."""
    levels, centre = float(LEVELS), original.astype(np.float64)
    lowest = np.ceil((centre - epsilon - FUZZ) * levels).clip(0, levels)
    highest = np.floor((centre + epsilon + FUZZ) * levels).clip(0, levels)
    if (lowest > highest).any():
        return original.copy()
    return np.rint(delivered * LEVELS).clip(lowest, highest).astype(np.float32) / LEVELS


def _within_l2(original: np.ndarray, found: np.ndarray, delivered: np.ndarray, epsilon: float) -> np.ndarray:
    """The delivered levels, the smallest changes set back to the original until the norm holds."""
    squares = (delivered.astype(np.float64) - original).reshape(-1) ** 2
    order = np.argsort(np.abs(found - original).reshape(-1), kind="stable")
    over = squares.sum() - np.cumsum(squares[order]) > (epsilon + FUZZ) ** 2
    back = int(over.sum()) + 1 if squares.sum() > (epsilon + FUZZ) ** 2 else 0
    image = delivered.reshape(-1).copy()
    image[order[:back]] = original.reshape(-1)[order[:back]]
    return image.reshape(original.shape)


def _noise(generator: np.random.Generator, shape: tuple[int, ...], parameters: p.FoolboxAttack) -> np.ndarray:
    """A point drawn evenly from the unit ball, float32.

    L2: of the sphere in two more dimensions, without these two (Voelker, Gosmann & Stewart 2017).
    """
    if parameters.distance == "linf":
        return generator.uniform(-1, 1, shape).astype(np.float32)
    point = generator.normal(size=int(np.prod(shape)) + 2)
    return (point / np.linalg.norm(point))[:-2].reshape(shape).astype(np.float32)


def _logits(network: Callable[[Any], Any], images: np.ndarray, batch_size: int) -> np.ndarray:
    """Outputs [m, k] in batches of one size."""
    outputs = []
    for first in range(0, len(images), batch_size):
        batch = images[first : first + batch_size]
        filled = np.pad(batch, ((0, batch_size - len(batch)), (0, 0), (0, 0), (0, 0)))
        outputs.append(np.asarray(network(tf.constant(filled)))[: len(batch)])
    return np.concatenate(outputs)


def _starting_points(
    network: Callable[[Any], Any],
    images: np.ndarray,
    targets: np.ndarray,
    parameters: p.Boundary,
    batch_size: int,
    pool: Pool | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The closest image of each target in the pool, and for which pairs there is none, bool [m]."""
    starts, lost = images.copy(), np.ones(len(images), bool)
    if pool is None or not len(pool.labels):
        return starts, lost
    delivered = quantised(pool.images, parameters.quantise)
    there = reaches(_logits(network, delivered, batch_size), pool.labels, parameters)
    for i, (image, target) in enumerate(zip(images, targets, strict=True)):
        candidates = np.flatnonzero(there & (pool.labels == target))
        if len(candidates):
            away = ((pool.images[candidates] - image) ** 2).sum(axis=(1, 2, 3))
            starts[i], lost[i] = pool.images[candidates[away.argmin()]], False
    return starts, lost
