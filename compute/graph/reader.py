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
from compute.graph.activations import NoRule, is_activation, keras_name, read_activation
from compute.graph.nodes import (
    IMAGE,
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
    layers.InputLayer, layers.Identity, layers.ActivityRegularization, layers.Dropout,
    layers.SpatialDropout1D, layers.SpatialDropout2D, layers.AlphaDropout, layers.GaussianDropout,
    layers.GaussianNoise, layers.RandomBrightness, layers.RandomContrast, layers.RandomFlip,
    layers.RandomRotation, layers.RandomTranslation, layers.RandomZoom,
)  # fmt: skip
"""Layers that change nothing where nothing is trained; a class derived from one of them may."""

Value = tuple[int, tuple[int, ...]]
"""What a node gives: its index, and the shape of one sample."""

Arguments = Callable[[Sequence[Any]], tuple[Sequence[Any], dict[str, Any]]]
"""Values of an operation's inputs to all arguments, positional and named, that the model gives it."""


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
    while isinstance(node := reader.nodes[output], Opaque) and node.kind == "softmax":
        (output,) = reader.sources[output]
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

    def read(
        self, operation: Any, inputs: list[Value], arguments: Arguments = lambda values: (values, {})
    ) -> list[Value]:
        """Outputs of a layer or nested model on these inputs."""
        if isinstance(operation, keras.Sequential):
            for layer in operation.layers:
                inputs = self.read(layer, inputs)
            return inputs
        if isinstance(operation, keras.Function):
            return self._read_functional(operation, inputs)

        def call(values: Sequence[Any], function: Any = operation) -> Any:
            positional, named = arguments(values)
            return function(*positional, **named)

        kind, start = type(operation).__name__, len(self.nodes)
        symbolic = [keras.KerasTensor((None, *shape)) for _, shape in inputs]
        output = call(symbolic, operation.compute_output_spec)
        if not isinstance(output, keras.KerasTensor):
            raise UnsupportedLayer(operation.name, kind, "it has several outputs")
        after = tuple(output.shape[1:])
        try:
            return [self._read_layer(operation, inputs, after)]
        except NoRule as reason:
            del self.nodes[start:], self.sources[start:]
            return [self._emit(Opaque(operation.name, kind, str(reason), call), inputs, after)]

    def _read_functional(self, model: Any, inputs: list[Value]) -> list[Value]:
        known = {id(tensor): value for tensor, value in zip(model.inputs, inputs, strict=True)}
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                if node.is_input:
                    continue
                values = [known[id(tensor)] for tensor in node.input_tensors]
                outputs = self.read(node.operation, values, _arguments_of(node))
                known |= {id(t): value for t, value in zip(node.output_tensors, outputs, strict=True)}
        return [known[id(tensor)] for tensor in model.outputs]

    def _emit(self, node: Node, inputs: Sequence[Value], shape: tuple[int, ...]) -> Value:
        self.nodes.append(node)
        self.sources.append(tuple(index for index, _ in inputs))
        return len(self.nodes) - 1, shape

    def _read_layer(self, layer: Any, inputs: list[Value], after: tuple[int, ...]) -> Value:
        kind, name = keras_name(layer), layer.name
        if type(layer) in SKIPPED:
            return inputs[0]
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            raise NoRule(f"its data_format is {layer.data_format}, only channels_last has rules")
        if kind == "Add" and len(inputs) > 1:
            if any(shape != after for _, shape in inputs):
                raise NoRule("there is no rule for a sum of inputs of different shape")
            return self._emit(Add(name), inputs, after)
        if kind == "Concatenate" and layer.axis:
            axis = layer.axis if layer.axis >= 0 else layer.axis + len(after) + 1
            sizes = tuple(shape[axis - 1] for _, shape in inputs)
            return self._emit(Concatenate(name, axis, sizes), inputs, after)
        if len(inputs) != 1:
            raise NoRule(f"there is no rule for {type(layer).__name__} of {len(inputs)} inputs")
        value = inputs[0]
        for node in self._read_single(layer, value[1], after):
            value = self._emit(node, [value], after)
        activation = read_activation(layer, len(value[1]))
        return self._emit(activation, [value], value[1]) if activation else value

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
        if is_activation(layer):
            return []
        raise NoRule("there is no rule for it")


def _batchnorm(layer: Any, rank: int) -> Node:
    axis = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    if axis not in ([-1], [rank]):
        raise NoRule(f"it normalises axis {layer.axis}, not the last one")
    mean, variance = _array(layer.moving_mean), _array(layer.moving_variance)
    gamma = _array(layer.gamma) if layer.scale else np.ones_like(mean)
    beta = _array(layer.beta) if layer.center else np.zeros_like(mean)
    return BatchNorm(layer.name, gamma, beta, mean, variance, float(layer.epsilon))


def _arguments_of(node: Any) -> Arguments:
    """The arguments of one call in a functional model, with other values for its symbolic inputs."""

    def arguments(values: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        return node.arguments.fill_in({id(t): v for t, v in zip(node.input_tensors, values, strict=True)})

    return arguments


def _padding(layer: Any) -> Padding:
    return "SAME" if layer.padding == "same" else "VALID"


def _bias(layer: Any, size: int) -> np.ndarray:
    return _array(layer.bias) if layer.use_bias else np.zeros(size)


def _array(variable: Any) -> np.ndarray:
    return np.asarray(variable.numpy() if hasattr(variable, "numpy") else variable, np.float64)
