"""Grad-CAM, upsampled to the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from compute.attributions.network import Attribute, Network, UnsupportedMethod, chosen, derivative
from compute.graph.nodes import (
    Activation,
    Add,
    BatchNorm,
    Concatenate,
    Convolution,
    Diagonal,
    LayerGraph,
    Opaque,
)
from compute.graph.operators import outputs
from compute.maps import RawMaps
from compute.methods import Method

Shape = tuple[int, ...]

FOLLOWED = Activation | Add | BatchNorm | Concatenate | Diagonal | Opaque


def grad_cam(network: Network, method: Method) -> Attribute:
    """The last feature maps, each weighted by its mean gradient, summed; negative sums are cut to 0.

    Selvaraju et al. 2017, Grad-CAM, equations 1 and 2. The feature maps are the output of the last
    convolution whose maps have more than one pixel, followed as `feature_node` says. Bilinear
    upsampling to the image; the channels of a pixel share its value. Never negative: it says where
    evidence for the class stands, not what speaks against it.
    """
    graph = network.graph
    node = feature_node(graph, node_shapes(network))
    if node is None:
        raise UnsupportedMethod(method, "the network has no convolution whose feature maps it could weigh")

    def coarse(x: tf.Tensor, classes: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            values = outputs(graph, x)
            logit = chosen(values[-1], classes)
        features = values[node]
        weights = tf.reduce_mean(derivative(tape, logit, features), axis=[1, 2], keepdims=True)
        return [tf.nn.relu(tf.reduce_sum(weights * features, axis=3)), logit]

    function = network.compiled(coarse)
    height, width, _ = graph.input_shape

    def attribute(x: np.ndarray, classes: np.ndarray) -> RawMaps:
        values, start = function(x, classes)
        rows, columns = bilinear(values.shape[1], height), bilinear(values.shape[2], width)
        return network.maps(rows @ values @ columns.T, start)

    return attribute


def feature_node(graph: LayerGraph, shapes: Sequence[Shape]) -> int | None:
    """Index of the node whose output Grad-CAM weighs; None where there is no such convolution.

    The last convolution with maps of more than one pixel, then as long as one node alone reads it and
    keeps its pixels: normalisation, activation, addition, concatenation of channels.
    """
    spatial = [
        index
        for index, node in enumerate(graph.nodes)
        if isinstance(node, Convolution) and shapes[index][:2] != (1, 1)
    ]
    if not spatial:
        return None
    last = spatial[-1]
    while len(readers := graph.consumers(last)) == 1 and _keeps_pixels(graph, shapes, last, readers[0]):
        last = readers[0]
    return last


def _keeps_pixels(graph: LayerGraph, shapes: Sequence[Shape], source: int, reader: int) -> bool:
    node = graph.nodes[reader]
    # a layer without an LRP rule: as far as shapes tell, a normalisation or an activation
    if isinstance(node, Opaque):
        return len(graph.sources[reader]) == 1 and shapes[reader] == shapes[source]
    return isinstance(node, FOLLOWED) and shapes[reader][:2] == shapes[source][:2]


def node_shapes(network: Network) -> list[Shape]:
    """The shape of one sample's output of each node; nothing is computed."""
    signature = [tf.TensorSpec((1, *network.graph.input_shape), network.dtype)]
    traced = tf.function(lambda x: outputs(network.graph, x), input_signature=signature, autograph=False)
    return [tuple(value.shape[1:]) for value in traced.get_concrete_function().structured_outputs]


def bilinear(size: int, target: int) -> np.ndarray:
    """float64 [target, size]: linear interpolation from `size` to `target` pixels over the same length.

    Values stand at the centres of pixels; beyond the outermost centres theirs holds.
    """
    places = np.clip((np.arange(target) + 0.5) * size / target - 0.5, 0, size - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(size)))
