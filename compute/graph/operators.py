"""The nodes of a graph in TensorFlow: forward, and what turns outputs back towards inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compute.convolution import conv2d_same
from compute.graph.folding import fold_batchnorm
from compute.graph.nodes import (
    IMAGE,
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Concatenate,
    Convolution,
    Dense,
    Diagonal,
    LayerGraph,
    Linear,
    MaxPool,
    Node,
    Opaque,
    Reshape,
    ZeroPad,
)
from compute.graph.reader import read_model


def forward(graph: LayerGraph, x: tf.Tensor) -> tf.Tensor:
    """Logits [b, k] of x [b, h, w, c], in the dtype of x."""
    return outputs(graph, x)[-1]


def outputs(
    graph: LayerGraph, x: tf.Tensor, activate: Callable[[Activation, tf.Tensor], tf.Tensor] | None = None
) -> list[tf.Tensor]:
    """What each node gives for x [b, h, w, c]; `activate` may stand in for the activations."""
    values: dict[int, tf.Tensor] = {IMAGE: x}
    for index, (node, sources) in enumerate(zip(graph.nodes, graph.sources, strict=True)):
        inputs = [values[source] for source in sources]
        if activate is not None and isinstance(node, Activation):
            values[index] = activate(node, inputs[0])
        else:
            values[index] = forward_node(node, *inputs)
    return [values[index] for index in range(len(graph.nodes))]


def forward_node(node: Node, *inputs: tf.Tensor) -> tf.Tensor:
    """Output of one node for a batch, in the dtype of its inputs."""
    x = inputs[0]
    match node:
        case Convolution() | Dense() | Diagonal():
            return linear(node, x, node.kernel) + tf.constant(node.bias, x.dtype)
        case BatchNorm():
            return forward_node(node.affine(), x)
        case Activation():
            return tf.nn.relu(x) if node.kind == "relu" else tf.cast(node.function(x), x.dtype)
        case MaxPool():
            return tf.nn.max_pool2d(x, node.pool, node.strides, node.padding)
        case AveragePool():
            return tf.nn.avg_pool2d(x, node.pool, node.strides, node.padding)
        case Reshape():
            return tf.reshape(x, (-1, *node.shape))
        case ZeroPad():
            return tf.pad(x, [[0, 0], node.rows, node.columns, [0, 0]])
        case Add():
            return tf.add_n(inputs)
        case Concatenate():
            return tf.concat(inputs, node.axis)
        case Opaque():
            return tf.cast(node.call(inputs), x.dtype)


def logits_function(
    model: keras.Model, folded: bool = True, dtype: str = "float32"
) -> Callable[[Any], tf.Tensor]:
    """The model's logits as a TensorFlow callable: [b, h, w, c] to [b, k], differentiable in x.

    Its gradient is faster on a CPU than the model's own. `folded`: with BatchNorm folded. Weights
    are those of now. Meant to be called inside a `tf.function`.
    """
    graph = read_model(model)
    graph = fold_batchnorm(graph) if folded else graph
    # autograph cannot read match statements, and has nothing to convert here
    return tf.autograph.experimental.do_not_convert(lambda x: forward(graph, tf.cast(x, dtype)))


def traced_once(function: Callable[..., Any], signature: Sequence[tf.TensorSpec]) -> Callable[..., Any]:
    """A function of tensors of these shapes as a TensorFlow graph, traced when it is first called.

    One network after the other has graphs of its own from the same lines of code, which TensorFlow, asked
    in the usual way, takes for one function that is traced again and again, and warns of.
    """

    @cache
    def graph() -> Any:
        whole: Any = tf.function(function, input_signature=signature, autograph=False)
        return whole.get_concrete_function()

    return lambda *tensors: graph()(*tensors)


def linear(node: Linear, x: tf.Tensor, kernel: np.ndarray) -> tf.Tensor:
    """The node's linear map of x, with this kernel in place of its own and without bias."""
    weights = tf.constant(kernel, x.dtype)
    same: Any = conv2d_same
    if isinstance(node, Dense):
        if x.shape.rank != 2:
            return tf.matmul(x, weights)
        # a matrix product rounds a row by its place in the batch, a convolution does not
        return same(x[None, None], weights[None, None])[0, 0]
    if isinstance(node, Diagonal):
        return x * weights
    if node.groups > 1:
        return _grouped(node, x, weights)
    if _is_plain(node) and node.padding == "SAME" and all(size % 2 for size in kernel.shape[:2]):
        return same(x, weights)
    return _convolve(node, x, weights)


def _convolve(node: Convolution, x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    if set(node.dilation) == {1}:
        return tf.nn.conv2d(x, weights, node.strides, node.padding)
    # unlike conv2d, it has a gradient on a CPU where dilated
    return tf.nn.convolution(x, weights, node.strides, node.padding, dilations=node.dilation)


def _grouped(node: Convolution, x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Convolution of each group of channels by itself: TensorFlow has no gradient of it on a CPU."""
    if weights.shape[2] == 1 and node.strides[0] == node.strides[1]:
        by_channel = tf.reshape(weights, (*weights.shape[:2], node.groups, -1))
        strides = [1, *node.strides, 1]
        return tf.nn.depthwise_conv2d(x, by_channel, strides, node.padding, dilations=node.dilation)
    parts = zip(tf.split(x, node.groups, 3), tf.split(weights, node.groups, 3), strict=True)
    return tf.concat([_convolve(node, a, w) for a, w in parts], 3)


def linear_transposed(node: Linear, s: tf.Tensor, kernel: np.ndarray, x: tf.Tensor) -> tf.Tensor:
    """The transpose of `linear`: from values s at the node's outputs to its inputs, shaped like x.

    A convolution at stride 1 is written as a forward one with the kernel turned, which is twice as
    fast on a CPU as the backward one and, unlike it, can be dilated there.
    """
    weights = tf.constant(kernel, s.dtype)
    if isinstance(node, Dense):
        return tf.matmul(s, weights, transpose_b=True)
    if isinstance(node, Diagonal):
        return s * weights
    if node.groups > 1:
        with tf.GradientTape() as tape:
            tape.watch(x)
            z = linear(node, x, kernel)
        gradient: Any = tape.gradient
        return gradient(z, x, output_gradients=s)
    if not _is_plain(node) and set(node.strides) != {1}:
        shape: Any = tf.shape(x)
        return tf.nn.conv2d_transpose(s, weights, shape, node.strides, node.padding, dilations=node.dilation)
    reach = [(size - 1) * step for size, step in zip(kernel.shape, node.dilation, strict=False)]
    before = [size // 2 if node.padding == "SAME" else 0 for size in reach]
    after = [size - size // 2 if node.padding == "SAME" else 0 for size in reach]
    rows, columns = ([size - b, size - a] for size, b, a in zip(reach, before, after, strict=True))
    edge: Any = [[0, 0], rows, columns, [0, 0]]
    turned = np.ascontiguousarray(kernel[::-1, ::-1].transpose(0, 1, 3, 2))
    return tf.nn.conv2d(s, tf.constant(turned, s.dtype), 1, edge, dilations=node.dilation)


def average_transposed(node: AveragePool, s: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """The transpose of average pooling: values s at the outputs, spread evenly over their windows."""
    return tf.raw_ops.AvgPoolGrad(
        orig_input_shape=tf.shape(x), grad=s, ksize=[1, *node.pool, 1], strides=[1, *node.strides, 1],
        padding=node.padding,
    )  # fmt: skip


def scatter_to_winner(
    node: MaxPool, winners: tf.Tensor, x: tf.Tensor, z: tf.Tensor, r: tf.Tensor
) -> tf.Tensor:
    """Values r at the outputs of a max-pooling, put where each window's maximum stands in x.

    Of equal maxima the first in row order wins. `winners` is `winner_mask` of the same x and z.
    """
    if not _tiles(node, x):
        return _max_pool_gradient(node, x, z, r)
    (ph, pw), (_, h, w, c) = node.pool, z.shape
    wide = tf.broadcast_to(r[:, :, None, :, None], (tf.shape(r)[0], h, ph, w, pw, c))
    return tf.where(winners, tf.reshape(wide, tf.shape(x)), tf.zeros((), r.dtype))


def winner_mask(node: MaxPool, x: tf.Tensor, z: tf.Tensor) -> tf.Tensor:
    """bool like x: where a window's maximum stands (in one window at least)."""
    return _max_pool_gradient(node, x, z, tf.ones_like(z)) > 0


def _is_plain(node: Convolution) -> bool:
    return set(node.strides) == set(node.dilation) == {1}


def _tiles(node: MaxPool, x: tf.Tensor) -> bool:
    """Whether the windows cover x without overlap or rest: then a mask replaces the slow gradient."""
    whole = all(size and size % step == 0 for size, step in zip(x.shape[1:3], node.pool, strict=True))
    return whole and tuple(node.pool) == tuple(node.strides)


def _max_pool_gradient(node: MaxPool, x: tf.Tensor, z: tf.Tensor, r: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.MaxPoolGrad(
        orig_input=x, orig_output=z, grad=r, ksize=[1, *node.pool, 1], strides=[1, *node.strides, 1],
        padding=node.padding,
    )  # fmt: skip
