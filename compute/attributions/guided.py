"""Guided backpropagation."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from compute.attributions.network import Attribute, Network, logit_gradient
from compute.graph.nodes import Activation, Opaque, UnsupportedLayer
from compute.maps import RawMaps
from compute.methods import Method


def guided_backpropagation(network: Network, method: Method) -> Attribute:
    """The gradient, where each ReLU also stops what is negative on the way back.

    Springenberg et al. 2014, Striving for simplicity: the all convolutional net, section 3.4: a ReLU lets
    pass what is positive both in its input and in the signal from above. Max-pooling hands the
    signal to its winner. Only ReLU has this rule: a network with another activation is refused, and
    so is one with a layer that may hold activations inside.
    """
    graph = network.graph
    for node in graph.nodes:
        if isinstance(node, Activation) and node.kind != "relu":
            raise UnsupportedLayer(node.name, node.kind, "only ReLU has a rule", method.id)
        if isinstance(node, Opaque):
            reason = "it may hold activations that are not ReLU"
            raise UnsupportedLayer(node.name, node.kind, reason, method.id)
    function = network.compiled(lambda x, classes: logit_gradient(graph, x, classes, _activate))

    def attribute(x: np.ndarray, classes: np.ndarray) -> RawMaps:
        values, start = function(x, classes)
        return network.maps(values, start)

    return attribute


def _activate(node: Activation, x: tf.Tensor) -> tf.Tensor:
    guided: Any = guided_relu
    return guided(x)


@tf.custom_gradient
def guided_relu(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """ReLU that hands back max(0, signal) where its input is positive."""

    def gradient(signal: tf.Tensor) -> tf.Tensor:
        return tf.where(x > 0, tf.nn.relu(signal), tf.zeros((), x.dtype))

    return tf.nn.relu(x), gradient
