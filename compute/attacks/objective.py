"""Loss and input gradient of a network, batched, for the attacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from compute.attacks.lockstep import Evaluate

CHUNK = 32
"""Images that go through the network at a time: on a CPU more are not faster, and need more memory."""


def cross_entropy_evaluator(
    logits_of: Callable[[Any], Any], logits: str = "true", chunk: int = CHUNK
) -> Evaluate:
    """Evaluate logits, cross-entropy of the target and its gradient with respect to the image.

    logits_of: images float32 [b, h, w, c] -> pre-softmax outputs [b, k]. logits: `true`, or
    `softmax` where the softmax of these is taken for logits (a double softmax, as in the
    experiments of Dieter & Zisgen 2023). Any number of images is evaluated in chunks of one shape,
    the last one filled up, so that an image's result does not depend on how many others there are.
    """

    @tf.function(autograph=False)
    def compiled(images: tf.Tensor, targets: tf.Tensor) -> tuple[Any, Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = logits_of(images)
            # in float32 the gradient of a saturated softmax is lost to rounding
            taken = tf.cast(outputs, tf.float64)
            taken = tf.nn.softmax(taken) if logits == "softmax" else taken
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, taken)
        return outputs, losses, tape.gradient(losses, images)

    def evaluate(images: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        count = len(images)
        missing = -count % chunk
        if missing:
            images = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.float32)])
            targets = np.concatenate([targets, np.zeros(missing, np.int64)])
        parts = [
            compiled(tf.constant(images[first : first + chunk]), tf.constant(targets[first : first + chunk]))
            for first in range(0, len(images), chunk)
        ]
        outputs, losses, gradient = (
            np.concatenate([part.numpy() for part in column])[:count] for column in zip(*parts, strict=True)
        )
        return outputs, losses, gradient

    return evaluate
