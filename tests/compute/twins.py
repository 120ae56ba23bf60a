"""Slow twins of the relevance rules: NumPy float64, loops over neurons, one image at a time.

Written from the equations alone and reading Keras layers directly, so that nothing is shared with
the code under test. Every tensor is a flat vector in C order; a convolution is a dense matrix.
Equations: Bach et al. (2015), PLOS ONE 10(7), Eq. 56 (LRP-0), 58 (epsilon), 60 (alpha-beta); for
the published convention those of the code released with Dieter & Zisgen (2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from compute.methods import Method

Vector = np.ndarray


@dataclass
class Step:
    """One layer: its kind, input and output shape, and what its equations need."""

    kind: str
    shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    matrix: Any = None
    bias: Any = None
    channels: Any = None
    windows: Any = None


def twin_map(
    model: keras.Sequential, method: Method, image: np.ndarray, explained: int
) -> tuple[Vector, float]:
    """Relevance [h*w*c] of an image [h, w, c], and the start logit."""
    steps = twin_steps(model, image.shape)
    if method.convention == "canonical":
        steps = folded(steps)
    inputs, x = [], image.astype(np.float64).ravel()
    for step in steps:
        inputs.append(x)
        x = twin_forward(step, x)
    relevance = np.zeros_like(x)
    relevance[explained] = x[explained]
    start = float(x[explained])
    outputs = [*inputs[1:], x]
    back = canonical_back if method.convention == "canonical" else published_back
    for step, a, z in zip(reversed(steps), reversed(inputs), reversed(outputs), strict=True):
        relevance = back(step, a, z, relevance, method)
    return relevance, start


def twin_forward(step: Step, x: Vector) -> Vector:
    if step.kind == "linear":
        return x @ step.matrix + step.bias
    if step.kind == "batchnorm":
        scale, shift = batchnorm_affine(step, own_epsilon(step))
        return x * scale + shift
    if step.kind == "relu":
        return np.maximum(x, 0)
    if step.kind == "pool":
        return np.array([max(x[i] for i in window) for window in step.windows])
    return x


def canonical_back(step: Step, a: Vector, z: Vector, relevance: Vector, method: Method) -> Vector:
    if step.kind == "batchnorm":  # LRP-0 of z = a scale + shift: R_in = a scale R / z
        scale, _ = batchnorm_affine(step, own_epsilon(step))
        return np.array([ratio(x * s, y) * r for x, s, y, r in zip(a, scale, z, relevance, strict=True)])
    if step.kind == "pool":
        result = np.zeros_like(a)
        for window, r in zip(step.windows, relevance, strict=True):
            result[winner(a, window)] += r
        return result
    if step.kind != "linear":
        return relevance
    result, values = [0.0] * len(a), a.tolist()  # plain floats: ten times faster in loops than NumPy's
    for j, r in enumerate(relevance.tolist()):
        products = [x * w for x, w in zip(values, step.matrix[:, j].tolist(), strict=True)]
        if method.alpha is not None and method.beta is not None:
            above = sum(p for p in products if p > 0) + max(float(step.bias[j]), 0.0)
            below = sum(p for p in products if p < 0) + min(float(step.bias[j]), 0.0)
            for i, p in enumerate(products):
                share = method.alpha * ratio(p, above) if p > 0 else method.beta * ratio(p, below)
                result[i] += share * r
        else:
            e = method.epsilon or 0.0
            denominator = float(z[j]) + (e if z[j] >= 0 else -e)
            for i, p in enumerate(products):
                result[i] += ratio(p, denominator) * r
    return np.array(result)


def published_back(step: Step, a: Vector, z: Vector, relevance: Vector, method: Method) -> Vector:
    e = 1e-7 if method.epsilon is None else method.epsilon
    alpha, beta = method.alpha, method.beta or 0.0
    result = [0.0] * len(a)
    if step.kind == "linear":
        values = a.tolist()
        for j, r in enumerate(relevance.tolist()):
            weights, b = step.matrix[:, j].tolist(), float(step.bias[j])
            if alpha is None:
                s = r / (float(z[j]) + (e if z[j] >= 0 else -e))
                for i, (x, w) in enumerate(zip(values, weights, strict=True)):
                    result[i] += x * w * s
                continue
            above = sum(x * max(w, 0.0) for x, w in zip(values, weights, strict=True)) + max(b, 0.0) + 1e-7
            below = sum(x * min(w, 0.0) for x, w in zip(values, weights, strict=True)) + min(b, 0.0) - 1e-7
            for i, (x, w) in enumerate(zip(values, weights, strict=True)):
                result[i] += x * (alpha * max(w, 0.0) * r / above + beta * min(w, 0.0) * r / below)
        return np.array(result)
    if step.kind == "batchnorm":
        scale, shift = batchnorm_affine(step, e)
        for i, r in enumerate(relevance):
            x, b = a[i] * scale[i], shift[i]
            if alpha is None:
                result[i] = x * r / (x + b + e)
            else:
                result[i] = alpha * max(x, 0) * r / (max(x, 0) + max(b, 0) + 1e-7)
                result[i] += beta * min(x, 0) * r / (min(x, 0) + min(b, 0) - 1e-7)
        return np.array(result)
    if step.kind == "pool":
        for j, window in enumerate(step.windows):
            i, r = winner(a, window), relevance[j]
            if alpha is None:
                result[i] += a[i] * r / (z[j] + (e if z[j] >= 0 else -e))
            else:
                result[i] += a[i] * (alpha * r / (max(z[j], 0) + 1e-7) + beta * r / (min(z[j], 0) - 1e-7))
        return np.array(result)
    return relevance


def ratio(above: float, below: float) -> float:
    return 0.0 if below == 0 else above / below


def winner(a: Vector, window: list[int]) -> int:
    """The first of the largest values, in row order."""
    best = window[0]
    for i in window:
        if a[i] > a[best]:
            best = i
    return best


def batchnorm_affine(step: Step, epsilon: float) -> tuple[Vector, Vector]:
    """Scale and shift of each component, for this epsilon."""
    gamma, beta, mean, variance, _ = step.channels
    scale = gamma / np.sqrt(variance + epsilon)
    repeats = int(np.prod(step.shape[:-1]))
    return np.tile(scale, repeats), np.tile(beta - mean * scale, repeats)


def own_epsilon(step: Step) -> float:
    return step.channels[-1]


def folded(steps: list[Step]) -> list[Step]:
    """BatchNorm right behind a linear step is multiplied into its matrix."""
    result: list[Step] = []
    for step in steps:
        if step.kind == "batchnorm":
            scale, shift = batchnorm_affine(step, own_epsilon(step))
            last = result[-1]
            assert last.kind == "linear"
            result[-1] = Step(
                "linear", last.shape, last.out_shape, last.matrix * scale[None, :], last.bias * scale + shift
            )
        else:
            result.append(step)
    return result


def twin_steps(model: keras.Sequential, shape: tuple[int, ...]) -> list[Step]:
    steps: list[Step] = []

    def add(kind: str, out_shape: tuple[int, ...], **values: Any) -> None:
        nonlocal shape
        steps.append(Step(kind, shape, out_shape, **values))
        shape = out_shape

    for layer in model.layers:
        kind = type(layer).__name__
        weights = [np.asarray(w, np.float64) for w in layer.get_weights()]
        if kind == "Conv2D":
            matrix, out_shape = convolution_matrix(weights[0], shape, layer)
            bias = weights[1] if layer.use_bias else np.zeros(out_shape[-1])
            add("linear", out_shape, matrix=matrix, bias=np.tile(bias, out_shape[0] * out_shape[1]))
        elif kind == "Dense":
            bias = weights[1] if layer.use_bias else np.zeros(weights[0].shape[1])
            add("linear", (weights[0].shape[1],), matrix=weights[0], bias=bias)
        elif kind == "BatchNormalization":
            add("batchnorm", shape, channels=(*weights, layer.epsilon))
        elif kind == "MaxPooling2D":
            windows, out_shape = pool_windows(shape, layer)
            add("pool", out_shape, windows=windows)
        elif kind == "Flatten":
            add("flatten", (int(np.prod(shape)),))
        if kind == "ReLU" or getattr(getattr(layer, "activation", None), "__name__", "") == "relu":
            add("relu", shape)
    return steps


def convolution_matrix(
    kernel: np.ndarray, shape: tuple[int, ...], layer: Any
) -> tuple[np.ndarray, tuple[int, ...]]:
    """The convolution as a matrix [h*w*c, oh*ow*d], and its output shape."""
    h, w, c = shape
    kh, kw, _, d = kernel.shape
    rows = places(h, kh, layer.strides[0], layer.dilation_rate[0], layer.padding)
    columns = places(w, kw, layer.strides[1], layer.dilation_rate[1], layer.padding)
    out = (len(rows), len(columns), d)
    matrix = np.zeros((h * w * c, int(np.prod(out))))
    for oy, ys in enumerate(rows):
        for ox, xs in enumerate(columns):
            for ky, y in enumerate(ys):
                for kx, x in enumerate(xs):
                    if 0 <= y < h and 0 <= x < w:
                        for ci in range(c):
                            for di in range(d):
                                i, j = (y * w + x) * c + ci, (oy * out[1] + ox) * d + di
                                matrix[i, j] += kernel[ky, kx, ci, di]
    return matrix, out


def pool_windows(shape: tuple[int, ...], layer: Any) -> tuple[list[list[int]], tuple[int, ...]]:
    """The flat input indices of each output's window, in row order."""
    h, w, c = shape
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
