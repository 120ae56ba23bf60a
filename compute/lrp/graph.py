"""A Keras network as a chain of plain nodes: what relevance propagation has to know of it.

Dropout and a final softmax are left out, activations stand as nodes of their own. Whatever the
rules have no equation for is refused here, before any work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import keras
import numpy as np
from keras import layers

from compute.convolution import FastConv2D

SUPPORTED = (
    "Conv2D (groups=1, channels_last), Dense (on flat input), BatchNormalization (last axis), ReLU, "
    "Activation (relu, linear), MaxPooling2D, Flatten, Dropout, a final Softmax"
)


Padding = Literal["SAME", "VALID"]


class UnsupportedLayer(ValueError):
    """A layer that relevance propagation has no rule for."""

    def __init__(self, name: str, kind: str, reason: str = "there is no rule for it") -> None:
        super().__init__(f"layer '{name}' ({kind}): {reason}. Supported are {SUPPORTED}.")


@dataclass(frozen=True, eq=False)
class Convolution:
    """kernel: float64 [kh, kw, c, d]; bias: float64 [d]."""

    name: str
    kernel: np.ndarray
    bias: np.ndarray
    strides: tuple[int, int]
    padding: Padding
    dilation: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Dense:
    """kernel: float64 [n, m]; bias: float64 [m]."""

    name: str
    kernel: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """gamma, beta, mean, variance: float64 [c], of the last axis; epsilon: the layer's own."""

    name: str
    gamma: np.ndarray
    beta: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    epsilon: float


@dataclass(frozen=True)
class ReLU:
    name: str


@dataclass(frozen=True)
class MaxPool:
    name: str
    pool: tuple[int, int]
    strides: tuple[int, int]
    padding: Padding


@dataclass(frozen=True)
class Flatten:
    name: str


Node = Convolution | Dense | BatchNorm | ReLU | MaxPool | Flatten


@dataclass(frozen=True, eq=False)
class LayerGraph:
    """Nodes from input to logits; input_shape is (height, width, channels)."""

    nodes: tuple[Node, ...]
    input_shape: tuple[int, int, int]
    classes: int

    @property
    def components(self) -> int:
        """Number of input values, height * width * channels."""
        return int(np.prod(self.input_shape))


def read_model(model: keras.Model) -> LayerGraph:
    """The graph of a Keras model: Sequential, or functional without branches; they may be nested.

    The model maps [batch, height, width, channels] to [batch, classes]. Raises UnsupportedLayer
    naming the first layer without a rule, ValueError for other inputs or outputs.
    """
    if not isinstance(model, keras.Sequential | keras.Function):
        raise UnsupportedLayer(model.name, type(model).__name__, "models must be Sequential or functional")
    if not model.built or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(f"model '{model.name}' must be built, with one input and one output")
    input_shape, output_shape = tuple(model.inputs[0].shape[1:]), tuple(model.outputs[0].shape[1:])
    if len(input_shape) != 3 or None in input_shape or len(output_shape) != 1 or None in output_shape:
        raise ValueError(
            f"model '{model.name}' must map [height, width, channels] to [classes], all of fixed size, "
            f"not {list(input_shape)} to {list(output_shape)}"
        )
    nodes: list[Node] = []
    shape: tuple[int | None, ...] = (None, *input_shape)
    softmax: keras.layers.Layer | None = None
    for layer in _chain(model):
        if softmax is not None and not isinstance(layer, layers.Dropout):
            raise UnsupportedLayer(
                softmax.name, type(softmax).__name__, "softmax is supported at the end only"
            )
        for node in _read_layer(layer, shape):
            if node is None:
                softmax = layer
            else:
                nodes.append(node)
        shape = tuple(layer.compute_output_shape(shape))
    return LayerGraph(tuple(nodes), input_shape, output_shape[0])


def fold_batchnorm(graph: LayerGraph) -> LayerGraph:
    """The same function without BatchNorm: each is folded into the linear node right before it.

    With BatchNorm's own epsilon: scale = gamma / sqrt(variance + epsilon), kernel' = kernel * scale,
    bias' = (bias - mean) * scale + beta.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        if not isinstance(node, BatchNorm):
            nodes.append(node)
            continue
        before = nodes[-1] if nodes else None
        if not isinstance(before, Convolution | Dense):
            raise UnsupportedLayer(
                node.name,
                "BatchNormalization",
                f"it follows {type(before).__name__ + ' ' + before.name if before else 'the input'}, so it "
                "cannot be folded into a convolution or dense layer, as the canonical convention does; "
                "the published methods take it as a layer of its own",
            )
        scale = node.gamma / np.sqrt(node.variance + node.epsilon)
        bias = (before.bias - node.mean) * scale + node.beta
        nodes[-1] = replace(before, kernel=before.kernel * scale, bias=bias)
    return replace(graph, nodes=tuple(nodes))


def nonnegative_inputs(graph: LayerGraph, image: bool = True) -> list[bool]:
    """For each node, whether its input is known to have no negative value; `image`: the first's."""
    known, result = image, []
    for node in graph.nodes:
        result.append(known)
        known = isinstance(node, ReLU) or (known and isinstance(node, MaxPool | Flatten))
    return result


def _chain(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Layers from input to output, nested models opened, input layers left out."""
    if isinstance(model, keras.Sequential):
        ordered = list(model.layers)
    elif isinstance(model, keras.Function):
        ordered, tensor = [], model.outputs[0]
        while True:
            operation, index, _ = tensor._keras_history
            if isinstance(operation, layers.InputLayer):
                break
            sources = operation._inbound_nodes[index].input_tensors
            if len(sources) != 1 or not isinstance(operation, layers.Layer):
                kind = type(operation).__name__
                raise UnsupportedLayer(operation.name, kind, "only layers with one input are supported")
            ordered.insert(0, operation)
            tensor = sources[0]
    else:
        raise UnsupportedLayer(model.name, type(model).__name__, "models must be Sequential or functional")
    for layer in ordered:
        if isinstance(layer, keras.Model):
            yield from _chain(layer)
        elif not isinstance(layer, layers.InputLayer):
            yield layer


def _read_layer(layer: keras.layers.Layer, shape: tuple[int | None, ...]) -> Iterator[Node | None]:
    """The nodes of one layer on input of this shape; None stands for a softmax."""
    kind, name = type(layer), layer.name

    def refuse(reason: str) -> UnsupportedLayer:
        return UnsupportedLayer(name, kind.__name__, reason)

    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise refuse(f"data_format is {layer.data_format}, not channels_last")
    if kind in (layers.Conv2D, FastConv2D):
        if layer.groups != 1:
            raise refuse(f"groups is {layer.groups}, not 1")
        kernel, bias = _weights(layer)
        yield Convolution(name, kernel, bias, layer.strides, _padding(layer), layer.dilation_rate)
        yield from _activation(layer)
    elif kind is layers.Dense:
        if len(shape) != 2:
            raise refuse(f"its input of shape {list(shape[1:])} is not flat")
        yield Dense(name, *_weights(layer))
        yield from _activation(layer)
    elif kind is layers.BatchNormalization:
        axis = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
        if axis not in ([-1], [len(shape) - 1]):
            raise refuse(f"it normalises axis {layer.axis}, not the last one")
        mean, variance = _array(layer.moving_mean), _array(layer.moving_variance)
        gamma = _array(layer.gamma) if layer.scale else np.ones_like(mean)
        beta = _array(layer.beta) if layer.center else np.zeros_like(mean)
        yield BatchNorm(name, gamma, beta, mean, variance, float(layer.epsilon))
    elif kind is layers.ReLU:
        if layer.max_value is not None or layer.negative_slope or layer.threshold:
            raise refuse("max_value, negative_slope and threshold are not supported")
        yield ReLU(name)
    elif kind is layers.Activation:
        yield from _activation(layer)
    elif kind is layers.Softmax:
        if layer.axis not in (-1, len(shape) - 1):
            raise refuse(f"it normalises axis {layer.axis}, not the last one")
        yield None
    elif kind is layers.MaxPooling2D:
        yield MaxPool(name, layer.pool_size, layer.strides, _padding(layer))
    elif kind is layers.Flatten:
        yield Flatten(name)
    elif kind is not layers.Dropout:
        raise UnsupportedLayer(name, kind.__name__)


def _activation(layer: keras.layers.Layer) -> Iterator[Node | None]:
    activation = layer.activation
    if activation is keras.activations.relu:
        yield ReLU(layer.name)
    elif activation is keras.activations.softmax:
        yield None
    elif activation is not keras.activations.linear:
        name = getattr(activation, "__name__", str(activation))
        raise UnsupportedLayer(
            layer.name, type(layer).__name__, f"there is no rule for its activation '{name}'"
        )


def _padding(layer: keras.layers.Layer) -> Padding:
    return "SAME" if layer.padding == "same" else "VALID"


def _weights(layer: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray]:
    kernel = _array(layer.kernel)
    return kernel, _array(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1])


def _array(variable: keras.Variable) -> np.ndarray:
    return np.asarray(variable.numpy(), np.float64)
