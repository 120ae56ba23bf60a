"""A Keras network as steps over flat vectors: what the slow twins compute on.

Reads Keras layers directly and shares nothing with the code under test. Every value is a flat vector in C
order; a linear layer is a list of links for each of its outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

Links = list[list[tuple[int, float]]]
"""For each output the inputs that it is linked to, with the weight of each link."""

Shape = tuple[int, ...]


@dataclass
class Step:
    """One layer, or one part of it.

    kind: linear, batchnorm, activation, max, average, move or sum. sources: the steps it reads, -1 for
    the image. layer: of a linear step convolution, dense or diagonal; pads: it reads zeros around its
    input. windows: inputs of each output of a pooling. moves: for each output which source and which of
    its values, None for a zero.
    """

    kind: str
    sources: list[int]
    shape: Shape
    layer: str = ""
    links: Links = field(default_factory=list)
    bias: list[float] = field(default_factory=list)
    pads: bool = False
    channels: tuple[Any, ...] = ()
    windows: list[list[int]] = field(default_factory=list)
    moves: list[tuple[int, int] | None] = field(default_factory=list)
    function: Callable[[float, int], float] = lambda x, i: x


def steps_of(model: keras.Model) -> list[Step]:
    """The steps up to the logits, each behind those that it reads."""
    reading = _Reading(tuple(model.inputs[0].shape[1:]))
    reading.value(model.outputs[0], {id(model.inputs[0]): -1})
    return reading.steps


class _Reading:
    """From the output backwards along the history of Keras tensors."""

    def __init__(self, shape: Shape) -> None:
        self.steps: list[Step] = []
        self.image = shape

    def value(self, tensor: Any, known: dict[int, int]) -> int:
        """The step that gives this tensor; `known`: those of tensors met before."""
        if id(tensor) not in known:
            operation, call, output = tensor._keras_history
            sources = [self.value(t, known) for t in operation._inbound_nodes[call].input_tensors]
            if isinstance(operation, keras.Model):
                inner = {id(t): source for t, source in zip(operation.inputs, sources, strict=True)}
                known[id(tensor)] = self.value(operation.outputs[output], inner)
            else:
                known[id(tensor)] = self.layer(operation, sources)
        return known[id(tensor)]

    def shape(self, source: int) -> Shape:
        return self.image if source < 0 else self.steps[source].shape

    def add(self, kind: str, sources: Sequence[int], shape: Shape, **values: Any) -> int:
        self.steps.append(Step(kind, list(sources), tuple(shape), **values))
        return len(self.steps) - 1

    def layer(self, layer: Any, sources: list[int]) -> int:
        kind = type(layer).__name__
        if kind in ("Add", "Concatenate"):
            return self.joined(layer, kind, sources)
        at, shape = sources[0], self.shape(sources[0])
        if kind in ("Conv2D", "FastConv2D", "DepthwiseConv2D", "SeparableConv2D"):
            at = self.convolution(layer, kind, at)
        elif kind == "Dense":
            weights, bias = _weights(layer.kernel), _bias(layer, layer.units)
            n, places = len(weights), range(math.prod(shape[:-1]))
            links = [
                [(p * n + i, w) for i, w in enumerate(column)]
                for p in places
                for column in weights.T.tolist()
            ]
            out = (*shape[:-1], layer.units)
            at = self.add("linear", [at], out, layer="dense", links=links, bias=bias * len(places))
        elif kind == "BatchNormalization":
            at = self.add("batchnorm", [at], shape, channels=_batchnorm(layer))
        elif kind == "Rescaling":
            scale, shift = (np.broadcast_to(v, shape).ravel() for v in (layer.scale, layer.offset))
            links, bias = [[(i, float(s))] for i, s in enumerate(scale)], [float(s) for s in shift]
            at = self.add("linear", [at], shape, layer="diagonal", links=links, bias=bias)
        elif "Pooling2D" in kind:
            windows, out = pool_windows(shape, layer, kind.startswith("Global"))
            at = self.add("max" if "Max" in kind else "average", [at], out, windows=windows)
        elif kind in ("Flatten", "Reshape"):
            out = (math.prod(shape),) if kind == "Flatten" else _reshaped(layer.target_shape, shape)
            at = self.add("move", [at], out, moves=[(0, i) for i in range(math.prod(shape))])
        elif kind == "ZeroPadding2D":
            padded = np.pad(_numbers(shape), (*layer.padding, (0, 0)), constant_values=-1)
            moves = [(0, int(i)) if i >= 0 else None for i in padded.ravel()]
            at = self.add("move", [at], padded.shape, moves=moves)
        elif kind not in ("Activation", "Softmax", "Dropout", *ACTIVATION_LAYERS):
            raise NotImplementedError(kind)
        name = getattr(getattr(layer, "activation", None), "__name__", "linear")
        if kind in ACTIVATION_LAYERS:
            function = ACTIVATION_LAYERS[kind](layer)
        elif kind == "Softmax" or name in ("linear", "softmax"):
            return at
        else:
            function = _each(FUNCTIONS[name])
        return self.add("activation", [at], self.shape(at), function=function)

    def joined(self, layer: Any, kind: str, sources: list[int]) -> int:
        shapes = [self.shape(source) for source in sources]
        if kind == "Add":
            return self.add("sum", sources, shapes[0])
        axis = layer.axis - 1 if layer.axis > 0 else layer.axis
        which = np.concatenate([np.full(shape, k) for k, shape in enumerate(shapes)], axis)
        index = np.concatenate([_numbers(shape) for shape in shapes], axis)
        moves = [(int(k), int(i)) for k, i in zip(which.ravel(), index.ravel(), strict=True)]
        return self.add("move", sources, which.shape, moves=moves)

    def convolution(self, layer: Any, kind: str, at: int) -> int:
        channels = self.shape(at)[-1]
        own: tuple[Any, ...] = (layer.strides, layer.dilation_rate, layer.padding)
        if kind in ("Conv2D", "FastConv2D"):
            kernel, width = _weights(layer.kernel), channels // layer.groups
            group = [d // (layer.filters // layer.groups) for d in range(layer.filters)]
            taps = [[(g * width + c, kernel[:, :, c, d]) for c in range(width)] for d, g in enumerate(group)]
            return self.linked(at, taps, _bias(layer, layer.filters), *own)
        kernel = _weights(layer.kernel if kind == "DepthwiseConv2D" else layer.depthwise_kernel)
        several = range(kernel.shape[3])
        taps = [[(c, kernel[:, :, c, m])] for c in range(channels) for m in several]
        if kind == "DepthwiseConv2D":
            return self.linked(at, taps, _bias(layer, len(taps)), *own)
        at = self.linked(at, taps, [0.0] * len(taps), *own)
        point = _weights(layer.pointwise_kernel)
        taps = [[(c, point[:, :, c, d]) for c in range(point.shape[2])] for d in range(layer.filters)]
        return self.linked(at, taps, _bias(layer, layer.filters), (1, 1), (1, 1), "valid")

    def linked(
        self, at: int, taps: Any, bias: list[float], strides: Shape, dilation: Shape, padding: str
    ) -> int:
        """A convolution: for each output channel its input channels, with the kernel [kh, kw] on each."""
        h, w, c = self.shape(at)
        size = taps[0][0][1].shape
        rows = places(h, size[0], strides[0], dilation[0], padding)
        columns = places(w, size[1], strides[1], dilation[1], padding)
        links: Links = [
            [
                ((y * w + x) * c + channel, float(kernel[ky, kx]))
                for ky, y in enumerate(ys) if 0 <= y < h
                for kx, x in enumerate(xs) if 0 <= x < w
                for channel, kernel in of_output
            ]
            for ys in rows for xs in columns for of_output in taps
        ]  # fmt: skip
        out = (len(rows), len(columns), len(taps))
        pads = padding == "same" and size != (1, 1)
        bias = bias * (out[0] * out[1])
        return self.add("linear", [at], out, layer="convolution", links=links, bias=bias, pads=pads)


def pool_windows(shape: Shape, layer: Any, whole: bool) -> tuple[list[list[int]], Shape]:
    """The flat input indices of each output's window, in row order, and the shape of the outputs."""
    h, w, c = shape
    if whole:
        windows = [[i * c + ci for i in range(h * w)] for ci in range(c)]
        return windows, (1, 1, c) if layer.keepdims else (c,)
    rows = places(h, layer.pool_size[0], layer.strides[0], 1, layer.padding)
    columns = places(w, layer.pool_size[1], layer.strides[1], 1, layer.padding)
    windows = [
        [(y * w + x) * c + ci for y in ys for x in xs if 0 <= y < h and 0 <= x < w]
        for ys in rows
        for xs in columns
        for ci in range(c)
    ]
    return windows, (len(rows), len(columns), c)


def places(size: int, window: int, stride: int, dilation: int, padding: str) -> list[list[int]]:
    """For each output place the input places of its window, those outside [0, size) included."""
    reach = (window - 1) * dilation + 1
    if padding == "same":
        count = -(-size // stride)
        before = max((count - 1) * stride + reach - size, 0) // 2
    else:
        count, before = (size - reach) // stride + 1, 0
    return [[o * stride - before + k * dilation for k in range(window)] for o in range(count)]


def folded(steps: list[Step]) -> list[Step]:
    """Without BatchNorm: backwards into a linear step that nothing else reads; else forwards into its
    readers, if all are convolutions or dense and none pads what is shifted; else a diagonal linear step."""
    alive = {index: replace(step, sources=list(step.sources)) for index, step in enumerate(steps)}

    def readers(index: int) -> list[int]:
        return [other for other, step in alive.items() if index in step.sources]

    for index, step in enumerate(steps):
        if step.kind == "batchnorm":
            scale, shift = (v.tolist() for v in batchnorm_affine(step, step.channels[-1]))
        elif step.layer == "diagonal":
            scale, shift = [row[0][1] for row in step.links], step.bias
        else:
            continue
        (source,) = alive[index].sources
        others = [alive[other] for other in readers(index)]
        if source >= 0 and alive[source].kind == "linear" and readers(source) == [index]:
            before = alive[source]
            before.links = [[(i, w * s) for i, w in row] for row, s in zip(before.links, scale, strict=True)]
            before.bias = [b * s + t for b, s, t in zip(before.bias, scale, shift, strict=True)]
        elif others and all(
            other.layer in ("convolution", "dense") and not (other.pads and any(shift)) for other in others
        ):
            for other in others:
                extra = [sum(shift[i] * w for i, w in row) for row in other.links]
                other.bias = [b + e for b, e in zip(other.bias, extra, strict=True)]
                other.links = [[(i, scale[i] * w) for i, w in row] for row in other.links]
        else:
            links = [[(i, s)] for i, s in enumerate(scale)]
            alive[index] = replace(
                alive[index], kind="linear", layer="diagonal", links=links, bias=list(shift)
            )
            continue
        del alive[index]
        for other in alive.values():
            other.sources = [source if s == index else s for s in other.sources]
    place = {-1: -1} | {index: new for new, index in enumerate(alive)}
    return [replace(step, sources=[place[s] for s in step.sources]) for step in alive.values()]


def batchnorm_affine(step: Step, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of each component, for this epsilon."""
    gamma, beta, mean, variance, _ = step.channels
    scale = gamma / np.sqrt(variance + epsilon)
    repeats = math.prod(step.shape[:-1])
    return np.tile(scale, repeats), np.tile(beta - mean * scale, repeats)


def _batchnorm(layer: Any) -> tuple[Any, ...]:
    mean, variance = _weights(layer.moving_mean), _weights(layer.moving_variance)
    gamma = _weights(layer.gamma) if layer.scale else np.ones(len(mean))
    beta = _weights(layer.beta) if layer.center else np.zeros(len(mean))
    return gamma, beta, mean, variance, layer.epsilon


FUNCTIONS: dict[str, Callable[[float], float]] = {
    "relu": lambda x: max(x, 0.0),
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "softplus": lambda x: math.log(1 + math.exp(x)),
}

ACTIVATION_LAYERS: dict[str, Callable[[Any], Callable[[float, int], float]]] = {
    "ReLU": lambda layer: _each(
        lambda x: x if x > layer.threshold else layer.negative_slope * (x - layer.threshold)
    ),
    "LeakyReLU": lambda layer: _each(lambda x: x if x > 0 else layer.negative_slope * x),
    "ELU": lambda layer: _each(lambda x: x if x > 0 else layer.alpha * (math.exp(x) - 1)),
    "PReLU": lambda layer: (lambda alpha: lambda x, i: x if x > 0 else float(alpha[i]) * x)(
        _weights(layer.alpha).ravel()
    ),
}


def _each(function: Callable[[float], float]) -> Callable[[float, int], float]:
    return lambda x, i: function(x)


def _numbers(shape: Shape) -> np.ndarray:
    return np.arange(math.prod(shape)).reshape(shape)


def _reshaped(target: Shape, shape: Shape) -> Shape:
    return _numbers(shape).reshape(target).shape


def _bias(layer: Any, size: int) -> list[float]:
    return _weights(layer.bias).tolist() if layer.use_bias else [0.0] * size


def _weights(variable: Any) -> np.ndarray:
    return np.asarray(variable, np.float64)
