"""From a Keras model to its graph of plain nodes.

Dropout and a final softmax are left out, activations stand as nodes of their own, nested models are
opened. A layer that no relevance rule knows becomes an opaque node: it can be computed, and whoever
needs a rule for it refuses it by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from compute.convolution import FastConv2D
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
    MaxPool,
    Node,
    Opaque,
    Padding,
    Reshape,
    UnsupportedLayer,
    ZeroPad,
)

SKIPPED = (
    layers.InputLayer, layers.Identity, layers.Dropout, layers.SpatialDropout2D, layers.GaussianDropout,
    layers.GaussianNoise, layers.ActivityRegularization,
)  # fmt: skip

MONOTONE = {
    "relu": True, "relu6": True, "sigmoid": True, "hard_sigmoid": True, "softplus": True, "exponential": True,
    "leaky_relu": False, "elu": False, "selu": False, "celu": False, "tanh": False, "hard_tanh": False,
    "softsign": False, "log_sigmoid": False,
}  # fmt: skip
"""Activations that never fall, and whether they are nowhere negative."""

Value = tuple[int, tuple[int, ...]]
"""What a node gives: its index, and the shape of one sample."""

Call = Callable[[Sequence[Any]], Any]


class _NoRule(Exception):
    """Why a layer becomes opaque."""


def read_model(model: keras.Model) -> LayerGraph:
    """The graph of a Sequential or functional Keras model.

    The model maps [batch, height, width, channels] to [batch, classes], probabilities or logits. Raises
    UnsupportedLayer for a subclassed model, ValueError for other inputs or outputs.
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
    reader = _Reader()
    (output, _), *_ = reader.read(model, [(IMAGE, input_shape)])
    while output != IMAGE and isinstance(node := reader.nodes[output], Opaque) and node.kind == "softmax":
        (output,) = reader.sources[output]
    if output == IMAGE:
        raise ValueError(f"model '{model.name}' has no layer that computes anything")
    return _pruned(reader, output, input_shape, output_shape[0])


def _pruned(reader: _Reader, output: int, input_shape: tuple[int, int, int], classes: int) -> LayerGraph:
    """The graph of the nodes that the output depends on."""
    whole = LayerGraph(tuple(reader.nodes), tuple(reader.sources), input_shape, classes)
    kept = [*sorted(whole.before(output)), output]
    place = {IMAGE: IMAGE} | {index: new for new, index in enumerate(kept)}
    sources = tuple(tuple(place[source] for source in whole.sources[index]) for index in kept)
    return LayerGraph(tuple(whole.nodes[index] for index in kept), sources, input_shape, classes)


class _Reader:
    """Nodes and their sources, as the layers come."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.sources: list[tuple[int, ...]] = []

    def read(self, operation: Any, inputs: list[Value], call: Call | None = None) -> list[Value]:
        """Outputs of a layer or nested model on these inputs."""
        if isinstance(operation, keras.Sequential):
            for layer in operation.layers:
                inputs = self.read(layer, inputs)
            return inputs
        if isinstance(operation, keras.Function):
            return self._read_functional(operation, inputs)
        start = len(self.nodes)
        try:
            return [self._read_layer(operation, inputs)]
        except _NoRule as reason:
            del self.nodes[start:], self.sources[start:]
            kind = type(operation).__name__
            node = Opaque(operation.name, kind, str(reason), call or (lambda tensors: operation(*tensors)))
            return [self._emit(node, inputs, _shape_after(operation, inputs))]

    def _read_functional(self, model: Any, inputs: list[Value]) -> list[Value]:
        known = {id(tensor): value for tensor, value in zip(model.inputs, inputs, strict=True)}
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                if node.is_input:
                    continue
                values = [known[id(tensor)] for tensor in node.input_tensors]
                outputs = self.read(node.operation, values, _call_of(node))
                for tensor, (index, _) in zip(node.output_tensors, outputs, strict=True):
                    known[id(tensor)] = (index, tuple(tensor.shape[1:]))
        return [known[id(tensor)] for tensor in model.outputs]

    def _emit(self, node: Node, inputs: Sequence[Value], shape: tuple[int, ...]) -> Value:
        self.nodes.append(node)
        self.sources.append(tuple(index for index, _ in inputs))
        return len(self.nodes) - 1, shape

    def _read_layer(self, layer: Any, inputs: list[Value]) -> Value:
        kind, name = type(layer), layer.name
        if isinstance(layer, SKIPPED):
            return inputs[0]
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            raise _NoRule(f"its data_format is {layer.data_format}, only channels_last has rules")
        after = _shape_after(layer, inputs)
        if kind is layers.Add or (kind.__name__ == "Add" and all(shape == after for _, shape in inputs)):
            return self._emit(Add(name), inputs, after)
        if kind is layers.Concatenate:
            axis = layer.axis if layer.axis >= 0 else layer.axis + len(after) + 1
            sizes = tuple(shape[axis - 1] for _, shape in inputs)
            return self._emit(Concatenate(name, axis, sizes), inputs, after)
        if len(inputs) != 1:
            raise _NoRule(f"there is no rule for {kind.__name__} of {len(inputs)} inputs")
        value = inputs[0]
        for node in self._read_single(layer, value[1], after):
            value = self._emit(node, [value], after)
        return self._read_activation(layer, value)

    def _read_single(self, layer: Any, shape: tuple[int, ...], after: tuple[int, ...]) -> list[Node]:
        """The nodes of a layer with one input, without its activation."""
        kind, name = type(layer), layer.name
        if kind in (layers.Conv2D, FastConv2D):
            kernel, bias = _array(layer.kernel), _bias(layer, layer.filters)
            place = (layer.strides, _padding(layer), layer.dilation_rate)
            return [Convolution(name, kernel, bias, *place, layer.groups)]
        if kind in (layers.DepthwiseConv2D, layers.SeparableConv2D):
            separable = kind is layers.SeparableConv2D
            depthwise = _array(layer.depthwise_kernel if separable else layer.kernel)
            outputs, channels = depthwise.shape[2] * depthwise.shape[3], depthwise.shape[2]
            kernel = depthwise.reshape(*depthwise.shape[:2], 1, outputs)
            place = (layer.strides, _padding(layer), layer.dilation_rate, channels)
            if not separable:
                return [Convolution(name, kernel, _bias(layer, outputs), *place)]
            first = Convolution(f"{name}/depthwise", kernel, np.zeros(outputs), *place)
            bias = _bias(layer, layer.filters)
            pointwise = _array(layer.pointwise_kernel)
            return [first, Convolution(f"{name}/pointwise", pointwise, bias, (1, 1), "VALID", (1, 1))]
        if kind is layers.Dense:
            return [Dense(name, _array(layer.kernel), _bias(layer, layer.units))]
        if kind is layers.BatchNormalization:
            return [_batchnorm(layer, len(shape))]
        if kind is layers.Rescaling:
            scale, offset = (np.broadcast_to(np.float64(v), after[-1:]) for v in (layer.scale, layer.offset))
            return [Diagonal(name, scale, offset)]
        if kind is layers.MaxPooling2D:
            return [MaxPool(name, layer.pool_size, layer.strides, _padding(layer))]
        if kind is layers.AveragePooling2D:
            return [AveragePool(name, layer.pool_size, layer.strides, _padding(layer))]
        if kind in (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D):
            pool = AveragePool if kind is layers.GlobalAveragePooling2D else MaxPool
            whole = (shape[0], shape[1])
            return [pool(name, whole, whole, "VALID"), Reshape(f"{name}/reshape", after)]
        if kind in (layers.Flatten, layers.Reshape):
            return [Reshape(name, after)]
        if kind is layers.ZeroPadding2D:
            return [ZeroPad(name, *(tuple(sides) for sides in layer.padding))]
        if kind is layers.Activation or kind in ACTIVATION_LAYERS or kind is layers.Softmax:
            return []
        raise _NoRule("there is no rule for it")

    def _read_activation(self, layer: Any, value: Value) -> Value:
        """What stands behind a layer's linear part: nothing, an activation, or a softmax."""
        kind = type(layer)
        if kind in ACTIVATION_LAYERS:
            return self._emit(ACTIVATION_LAYERS[kind](layer), [value], value[1])
        activation = layer if kind is layers.Softmax else getattr(layer, "activation", None)
        name = getattr(activation, "__name__", str(activation))
        if activation is None or activation is keras.activations.linear:
            return value
        if activation is keras.activations.softmax or kind is layers.Softmax:
            if kind is layers.Softmax and layer.axis not in (-1, len(value[1])):
                raise _NoRule(f"it normalises axis {layer.axis}, not the last one")
            softmax = Opaque(layer.name, "softmax", "softmax has a rule at the end only", _on_one(activation))
            return self._emit(softmax, [value], value[1])
        if name in MONOTONE and activation is getattr(keras.activations, name, None):
            node = Activation(layer.name, name, activation, MONOTONE[name])
            return self._emit(node, [value], value[1])
        reason = f"there is no rule for its activation '{name}', which is not known never to fall"
        return self._emit(Opaque(layer.name, kind.__name__, reason, _on_one(activation)), [value], value[1])


def _relu(layer: Any) -> Node:
    if layer.negative_slope < 0:
        raise _NoRule("its negative_slope is below 0, so that it falls")
    plain = layer.max_value is None and not layer.negative_slope and not layer.threshold
    function = keras.activations.relu if plain else layer
    return Activation(layer.name, "relu" if plain else "ReLU", function, not layer.negative_slope)


def _falling_where_negative(kind: str, slope: str) -> Callable[[Any], Node]:
    def read(layer: Any) -> Node:
        if np.min(_array(getattr(layer, slope))) < 0:
            raise _NoRule(f"its {slope} is below 0, so that it falls")
        return Activation(layer.name, kind, layer, False)

    return read


ACTIVATION_LAYERS: dict[type, Callable[[Any], Node]] = {
    layers.ReLU: _relu,
    layers.LeakyReLU: _falling_where_negative("leaky_relu", "negative_slope"),
    layers.PReLU: _falling_where_negative("prelu", "alpha"),
    layers.ELU: _falling_where_negative("elu", "alpha"),
}


def _batchnorm(layer: Any, rank: int) -> Node:
    axis = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    if axis not in ([-1], [rank]):
        raise _NoRule(f"it normalises axis {layer.axis}, not the last one")
    mean, variance = _array(layer.moving_mean), _array(layer.moving_variance)
    gamma = _array(layer.gamma) if layer.scale else np.ones_like(mean)
    beta = _array(layer.beta) if layer.center else np.zeros_like(mean)
    return BatchNorm(layer.name, gamma, beta, mean, variance, float(layer.epsilon))


def _call_of(node: Any) -> Call:
    """A layer's call with the other arguments that the functional model gives it."""

    def call(tensors: Sequence[Any]) -> Any:
        given = {id(tensor): value for tensor, value in zip(node.input_tensors, tensors, strict=True)}
        arguments, keywords = node.arguments.fill_in(given)
        return node.operation(*arguments, **keywords)

    return call


def _on_one(function: Callable[[Any], Any]) -> Call:
    return lambda tensors: function(tensors[0])


def _shape_after(operation: Any, inputs: list[Value]) -> tuple[int, ...]:
    tensors = [keras.KerasTensor((None, *shape)) for _, shape in inputs]
    if isinstance(operation, layers.Layer):
        shapes = [tensor.shape for tensor in tensors]
        return tuple(operation.compute_output_shape(shapes[0] if len(shapes) == 1 else shapes)[1:])
    output = operation.compute_output_spec(*tensors)
    return tuple(output.shape[1:])


def _padding(layer: Any) -> Padding:
    return "SAME" if layer.padding == "same" else "VALID"


def _bias(layer: Any, size: int) -> np.ndarray:
    return _array(layer.bias) if layer.use_bias else np.zeros(size)


def _array(variable: Any) -> np.ndarray:
    return np.asarray(variable.numpy() if hasattr(variable, "numpy") else variable, np.float64)
