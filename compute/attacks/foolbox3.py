"""The L-BFGS attack for users of Foolbox 3, which has none: for its models of any framework.

>>> import foolbox, tensorflow as tf
>>> from compute.attacks.foolbox3 import LBFGSAttack
>>> from compute.classifier import load_classifier
>>> from compute.graph.operators import logits_function
>>> logits = tf.function(logits_function(load_classifier("shipped")))
>>> model = foolbox.TensorFlowModel(logits, bounds=(0, 1))
>>> images, labels = foolbox.samples(model, dataset="cifar10", batchsize=2)
>>> targets = foolbox.criteria.TargetedMisclassification((labels + 1) % 10)
>>> raw, clipped, success = LBFGSAttack()(model, images, targets, epsilons=[0.1, None])
>>> success.shape  # epsilons and images
TensorShape([2, 2])

Source: Foolbox 3.3.4, foolbox/attacks/base.py (Rauber, Zimmermann, Bethge & Brendel 2020, JOSS 5(53), 2607).
"""

from __future__ import annotations

from typing import Any

import eagerpy as ep
import numpy as np
from eagerpy.astensor import astensor_
from eagerpy.tensor.tensor import Tensor
from foolbox import distances
from foolbox.attacks.base import (
    MinimizationAttack,
    T,
    get_criterion,
    raise_if_kwargs,
    verify_input_bounds,
)
from foolbox.criteria import TargetedMisclassification
from foolbox.distances import Distance
from foolbox.models.base import Model

from compute.attacks import eagerpy_shim  # noqa: F401
from compute.attacks.lbfgs import LBFGS, attack
from compute.attacks.lockstep import Evaluate
from compute.attacks.result import Distance as Measure
from compute.attacks.result import Quantise

OUTWARDS = (1 + 1e-4, 1 + 1e-3, 1 + 1e-2)
"""How much longer a change may become whose success depends on the batch that it is seen in."""


class LBFGSAttack(MinimizationAttack):
    """Targeted attack with box constraints, for the smallest mean squared or mean absolute change. [#Szeg14]_

    Args:
        distance: ``mse``, or ``mae`` for the mean absolute change. Foolbox's measure of the result is
            the l2 norm for the one and the l1 norm for the other.
        confidence: Probability of the target class that makes a success (0: it is the most probable).
        quantise: ``round`` or ``floor`` delivers images on 256 equal steps between the bounds of the
            model, verified there; ``none`` leaves them as they are.
        history: Curvature pairs of L-BFGS.
        max_gradient_calls: Budget of an image.
        batch_size: At most so many images are evaluated at once.

    The model must give logits. An image for which nothing is found comes back as it was.

    References:
        .. [#Szeg14] Christian Szegedy, Wojciech Zaremba, Ilya Sutskever, Joan Bruna, Dumitru Erhan, Ian
            Goodfellow, Rob Fergus, "Intriguing properties of neural networks",
            https://arxiv.org/abs/1312.6199
    """

    def __init__(
        self,
        *,
        distance: Measure = "mse",
        confidence: float = 0.0,
        quantise: Quantise = "none",
        history: int = LBFGS.history,
        max_gradient_calls: int = LBFGS.max_gradient_calls,
        batch_size: int = 64,
    ) -> None:
        self.parameters = LBFGS(
            distance=distance,
            confidence=confidence,
            quantise=quantise,
            history=history,
            max_gradient_calls=max_gradient_calls,
        )
        self.batch_size = batch_size

    @property
    def distance(self) -> Distance:
        """What Foolbox measures and clips the result by."""
        return distances.l2 if self.parameters.distance == "mse" else distances.l1

    def run(
        self, model: Model, inputs: T, criterion: Any, *, early_stop: float | None = None, **kwargs: Any
    ) -> T:
        """Perturbed inputs [n, ...] within the bounds of the model; `early_stop` is not made use of.

        Raises ValueError unless the criterion is TargetedMisclassification with n classes of the model's.
        """
        raise_if_kwargs(kwargs)
        x, restore_type = astensor_(inputs)
        aim = get_criterion(criterion)
        if not isinstance(aim, TargetedMisclassification):
            raise ValueError(
                "unsupported criterion: this attack takes TargetedMisclassification(target_classes) alone"
            )
        if aim.target_classes.shape != (len(x),):
            raise ValueError(
                f"expected target_classes to have shape ({len(x)},), got {aim.target_classes.shape}"
            )
        verify_input_bounds(x, model)
        box = _Box(model, x)
        results = attack(
            box.evaluate,
            box.inwards(x),
            aim.target_classes.numpy().astype(np.int64),
            self.parameters,
            max(min(self.batch_size, len(x)), 1),
        )
        found = np.array([result.status == "success" for result in results], bool)
        pixels = np.stack([result.pixels for result in results])
        kept = ep.from_numpy(x, found).reshape((len(x),) + (1,) * (x.ndim - 1))
        perturbed = ep.where(kept, box.outwards(pixels), x)
        if self.parameters.quantise == "none" and self.parameters.confidence == 0:
            perturbed = _pushed(model, x, perturbed, aim, found)
        return restore_type(perturbed)


class _Box:
    """A model's inputs, seen as images [n, 1, 1, size] in [0, 1]."""

    def __init__(self, model: Model, like: Tensor) -> None:
        self.like = like
        self.lower, self.upper = (float(bound) for bound in model.bounds)

        def loss(x: Tensor, targets: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            logits = model(x)
            losses = ep.crossentropy(logits, targets)
            return losses.sum(), (logits, losses)

        self._loss_and_gradient = ep.value_and_grad_fn(like, loss, has_aux=True)

    def inwards(self, x: Tensor) -> np.ndarray:
        unit = (x.numpy().astype(np.float64) - self.lower) / (self.upper - self.lower)
        return np.clip(unit, 0, 1).reshape(len(unit), 1, 1, -1).astype(np.float32)

    def outwards(self, images: np.ndarray) -> Tensor:
        values = self.lower + images.astype(np.float64) * (self.upper - self.lower)
        values = values.astype(np.float32).clip(self.lower, self.upper)
        return ep.from_numpy(self.like, values.reshape(-1, *self.like.shape[1:])).astype(self.like.dtype)

    @property
    def evaluate(self) -> Evaluate:
        """Logits, cross-entropy of the target and its gradient, in the units of the box."""

        def evaluate(images: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            classes = ep.from_numpy(self.like, targets)
            _, (logits, losses), gradient = self._loss_and_gradient(self.outwards(images), classes)
            slope = gradient.numpy().reshape(images.shape) * (self.upper - self.lower)
            return (
                logits.numpy().astype(np.float32),
                losses.numpy().astype(np.float32),
                slope.astype(np.float32),
            )

        return evaluate


def _pushed(
    model: Model, x: Tensor, perturbed: Tensor, aim: TargetedMisclassification, found: np.ndarray
) -> Tensor:
    """Successes that are none in a batch of this size, a hair further from their originals.

    They stand on the boundary, and a network's logits are not the same to the last digit in every batch.
    """
    first = perturbed
    for factor in OUTWARDS:
        lost = found & ~aim(perturbed, model(perturbed)).numpy()
        if not lost.any():
            break
        chosen = ep.from_numpy(x, lost).reshape((len(x),) + (1,) * (x.ndim - 1))
        perturbed = ep.where(chosen, (x + (first - x) * factor).clip(*model.bounds), perturbed)
    return perturbed
