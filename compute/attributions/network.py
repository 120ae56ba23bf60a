"""The explained logit as a function of the image: what the methods here ask of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from compute.graph.nodes import Activation, LayerGraph
from compute.graph.operators import forward, outputs, traced_once
from compute.maps import RawMaps, unaccounted
from compute.methods import Method

Attribute = Callable[[np.ndarray, np.ndarray], RawMaps]
"""(images [b, h, w, c] of the network's dtype, classes int64 [b]) to maps; b up to the batch size."""

Compiled = Callable[[np.ndarray, np.ndarray], list[np.ndarray]]

Activate = Callable[[Activation, tf.Tensor], tf.Tensor]


class UnsupportedMethod(ValueError):
    """A method that cannot explain this network, or not in this installation."""

    def __init__(self, method: Method, reason: str) -> None:
        super().__init__(f"method '{method.id}': {reason}")


class Network:
    """Logits of chosen classes and their gradients, compiled once for all methods.

    batch_size: the most images that a method gives it at a time: it bounds the memory. dtype:
    float32 or float64, of images, logits and gradients.
    """

    def __init__(self, graph: LayerGraph, batch_size: int, dtype: str) -> None:
        self.graph, self.batch_size, self.dtype = graph, batch_size, np.dtype(dtype)
        self._logit = self.compiled(lambda x, classes: [chosen(forward(graph, x), classes)])
        self._gradient = self.compiled(lambda x, classes: logit_gradient(graph, x, classes))

    def logit(self, x: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Logits [b] of classes int64 [b] for images [b, h, w, c]."""
        return self._logit(x, classes)[0]

    def gradient(self, x: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The logits' derivatives by the images [b, h, w, c], and the logits [b]."""
        gradient, logit = self._gradient(x, classes)
        return gradient, logit

    def compiled(self, function: Callable[[tf.Tensor, tf.Tensor], list[tf.Tensor]]) -> Compiled:
        """A function of (images, classes) to tensors, as one of NumPy arrays; compiled when first called.

        Every call fills its batch up to `batch_size`: what a map is to the last bit does not depend on
        how many there are.
        """
        signature = [
            tf.TensorSpec((self.batch_size, *self.graph.input_shape), self.dtype),
            tf.TensorSpec((self.batch_size,), tf.int64),
        ]
        graph_function = traced_once(function, signature)

        def run(x: np.ndarray, classes: np.ndarray) -> list[np.ndarray]:
            filling = self.batch_size - len(x)
            filled = np.pad(x, ((0, filling), (0, 0), (0, 0), (0, 0)))
            given = graph_function(tf.constant(filled), tf.constant(np.pad(classes, (0, filling))))
            return [tensor.numpy()[: len(x)] for tensor in given]

        return run

    def maps(self, values: np.ndarray, start: np.ndarray, baseline: np.ndarray | None = None) -> RawMaps:
        """Values [b, h, w, c], or [b, h, w] for all channels alike, as maps."""
        if values.ndim == 3:
            values = np.repeat(values[..., None], self.graph.input_shape[-1], axis=-1)
        return unaccounted(values.reshape(len(start), -1).astype(self.dtype, copy=False), start, baseline)


def logit_gradient(
    graph: LayerGraph, x: tf.Tensor, classes: tf.Tensor, activate: Activate | None = None
) -> list[tf.Tensor]:
    """The logits' derivatives by the images [b, h, w, c], and the logits [b]."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        logit = chosen(outputs(graph, x, activate)[-1], classes)
    return [derivative(tape, logit, x), logit]


def derivative(tape: tf.GradientTape, logit: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """The logit's derivative by x; zeros where x does not reach it."""
    gradient: Any = tape.gradient(logit, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return gradient


def chosen(logits: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Of logits [b, k] those [b] of the explained classes."""
    return tf.gather(logits, classes, axis=1, batch_dims=1)
