"""The nodes of a graph in TensorFlow: forward, and what turns outputs back towards inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compute.convolution import conv2d_same
from compute.lrp.graph import (
    BatchNorm,
    Convolution,
    Dense,
    Flatten,
    LayerGraph,
    MaxPool,
    Node,
    ReLU,
    fold_batchnorm,
    read_model,
)


def forward(graph: LayerGraph, x: tf.Tensor) -> tf.Tensor:
    """Logits [b, k] of x [b, h, w, c], in the dtype of x."""
    for node in graph.nodes:
        x = forward_node(node, x)
    return x


def forward_node(node: Node, x: tf.Tensor) -> tf.Tensor:
    """Output of one node for a batch, in the dtype of x."""
    match node:
        case Convolution() | Dense():
            return linear(node, x, node.kernel) + tf.constant(node.bias, x.dtype)
        case BatchNorm():
            scale = node.gamma / np.sqrt(node.variance + node.epsilon)
            return x * tf.constant(scale, x.dtype) + tf.constant(node.beta - node.mean * scale, x.dtype)
        case ReLU():
            return tf.nn.relu(x)
        case MaxPool():
            return tf.nn.max_pool2d(x, node.pool, node.strides, node.padding)
        case Flatten():
            return tf.reshape(x, (-1, x.shape[1:].num_elements()))


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


def linear(node: Convolution | Dense, x: tf.Tensor, kernel: np.ndarray) -> tf.Tensor:
    """The node's linear map of x, with this kernel in place of its own and without bias."""
    weights = tf.constant(kernel, x.dtype)
    if isinstance(node, Dense):
        return x @ weights
    odd = all(size % 2 for size in kernel.shape[:2])
    if odd and node.padding == "SAME" and set(node.strides) == set(node.dilation) == {1}:
        same: Any = conv2d_same
        return same(x, weights)
    return tf.nn.conv2d(x, weights, node.strides, node.padding, dilations=node.dilation)


def linear_transposed(
    node: Convolution | Dense, s: tf.Tensor, kernel: np.ndarray, input_shape: tf.TensorShape
) -> tf.Tensor:
    """The transpose of `linear`: from values s at the node's outputs to its inputs [b, ...].

    At stride 1 written as a forward convolution with the kernel turned, which is twice as fast on
    a CPU as the backward one and, unlike it, can be dilated there.
    """
    if isinstance(node, Dense):
        return tf.matmul(s, tf.constant(kernel, s.dtype), transpose_b=True)
    if set(node.strides) != {1}:
        shape: Any = (tf.shape(s)[0], *input_shape[1:])
        return tf.nn.conv2d_transpose(
            s, tf.constant(kernel, s.dtype), shape, node.strides, node.padding, dilations=node.dilation
        )
    reach = [(size - 1) * step for size, step in zip(kernel.shape, node.dilation, strict=False)]
    before = [size // 2 if node.padding == "SAME" else 0 for size in reach]
    after = [size - size // 2 if node.padding == "SAME" else 0 for size in reach]
    rows, columns = ([size - b, size - a] for size, b, a in zip(reach, before, after, strict=True))
    edge: Any = [[0, 0], rows, columns, [0, 0]]
    turned = np.ascontiguousarray(kernel[::-1, ::-1].transpose(0, 1, 3, 2))
    return tf.nn.conv2d(s, tf.constant(turned, s.dtype), 1, edge, dilations=node.dilation)


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


def _tiles(node: MaxPool, x: tf.Tensor) -> bool:
    """Whether the windows cover x without overlap or rest: then a mask replaces the slow gradient."""
    whole = all(size and size % step == 0 for size, step in zip(x.shape[1:3], node.pool, strict=True))
    return whole and tuple(node.pool) == tuple(node.strides)


def _max_pool_gradient(node: MaxPool, x: tf.Tensor, z: tf.Tensor, r: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.MaxPoolGrad(
        orig_input=x, orig_output=z, grad=r, ksize=[1, *node.pool, 1], strides=[1, *node.strides, 1],
        padding=node.padding,
    )  # fmt: skip
