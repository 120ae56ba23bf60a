"""Loss and input gradient of a network, batched, for the attacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from compute.attacks.lockstep import Evaluate


def cross_entropy_evaluator(logits_of: Callable[[Any], Any], logits: str = "true") -> Evaluate:
    """Evaluate logits, cross-entropy of the target and its gradient with respect to the image.

    logits_of: images float32 [b, h, w, c] -> pre-softmax outputs [b, k]. logits: `true`, or
    `softmax` where the softmax of these is taken for logits (a double softmax, as in the
    experiments of Dieter & Zisgen 2023).
    """

    @tf.function(autograph=False)
    def compiled(images: tf.Tensor, targets: tf.Tensor) -> tuple[Any, Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = logits_of(images)
            taken = tf.nn.softmax(outputs) if logits == "softmax" else outputs
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, taken)
        return outputs, losses, tape.gradient(losses, images)

    def evaluate(images: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        outputs, losses, gradient = compiled(tf.constant(images), tf.constant(targets))
        return outputs.numpy(), losses.numpy(), gradient.numpy()

    return evaluate
