"""The activations of Keras as nodes: those that never fall, and softmax.

Relevance passes unchanged a function of each value by itself that never falls (Bach et al. 2015, Pixel-wise
Decomposition for Multilayer Networks). Functions here keep the dtype of what they are given, unlike Keras
layers, and hold weights as they are now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compute.graph.nodes import Activation, Opaque

MONOTONE = {
    "relu": True, "relu6": True, "sigmoid": True, "hard_sigmoid": True, "softplus": True, "exponential": True,
    "leaky_relu": False, "elu": False, "selu": False, "celu": False, "tanh": False, "hard_tanh": False,
    "softsign": False, "log_sigmoid": False,
}  # fmt: skip
"""By their name in keras.activations, without parameters: whether they are nowhere negative."""

OPERATIONS = {
    "Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "HardSigmoid": "hard_sigmoid",
    "Softplus": "softplus", "Selu": "selu", "Tanh": "tanh", "HardTanh": "hard_tanh", "Softsign": "softsign",
    "LogSigmoid": "log_sigmoid",
}  # fmt: skip
"""Operations of keras.ops without parameters."""


class NoRule(Exception):
    """Why no relevance rule stands for a layer."""


def keras_name(operation: Any) -> str:
    """The class of a layer or operation, where Keras itself defines it."""
    kind = type(operation)
    return kind.__name__ if kind.__module__.startswith("keras.") else ""


def is_activation(operation: Any) -> bool:
    """Whether a layer or operation is an activation as a whole."""
    name = keras_name(operation)
    return name in PARAMETRIC or name in OPERATIONS or name in ("Activation", "Softmax")


def read_activation(layer: Any, rank: int) -> Activation | Opaque | None:
    """The activation that a layer is or ends with, None where it has none.

    rank: axes of one sample. Raises NoRule where parameters make it fall.
    """
    name = keras_name(layer)
    if name in PARAMETRIC:
        return PARAMETRIC[name](layer)
    if name == "Softmax":
        if layer.axis not in (-1, rank):
            raise NoRule(f"it normalises axis {layer.axis}, not the last one")
        return _softmax(layer)
    function: Any = getattr(layer, "activation", None)
    if name in OPERATIONS:
        function = getattr(keras.activations, OPERATIONS[name])
    if function is None or function is keras.activations.linear:
        return None
    if function is keras.activations.softmax:
        return _softmax(layer)
    if keras_name(function) in PARAMETRIC:  # a layer as activation of another
        return PARAMETRIC[keras_name(function)](function)
    kind = getattr(function, "__name__", type(function).__name__)
    if kind in MONOTONE and function is getattr(keras.activations, kind, None):
        return Activation(layer.name, kind, function, MONOTONE[kind])
    reason = f"there is no rule for its activation '{kind}', which is not known never to fall"
    return Opaque(layer.name, type(layer).__name__, reason, lambda tensors: function(tensors[0]))


def _softmax(layer: Any) -> Opaque:
    reason = "softmax has a rule at the end only"
    return Opaque(layer.name, "softmax", reason, lambda tensors: keras.activations.softmax(tensors[0]))


def _relu(layer: Any) -> Activation:
    slope, highest, threshold = layer.negative_slope, layer.max_value, layer.threshold
    if slope < 0 or threshold < 0:
        raise NoRule("its negative_slope or threshold is below 0, so that it falls")
    if highest is None and not slope and not threshold:
        return Activation(layer.name, "relu", keras.activations.relu, True)
    return Activation(
        layer.name, "ReLU", lambda x: keras.activations.relu(x, slope, highest, threshold), not slope
    )


def _leaky_relu(layer: Any) -> Activation:
    slope = _not_negative(layer, "negative_slope")
    return Activation(layer.name, "leaky_relu", _bent(slope), False)


def _prelu(layer: Any) -> Activation:
    return Activation(layer.name, "prelu", _bent(_not_negative(layer, "alpha")), False)


def _bent(slope: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    """x where it is positive, x * slope where it is negative."""
    return lambda x: tf.where(x < 0, x * tf.constant(slope, x.dtype), x)


def _elu(layer: Any) -> Activation:
    alpha = float(_not_negative(layer, "alpha"))
    return Activation(layer.name, "elu", lambda x: keras.activations.elu(x, alpha), False)


def _not_negative(layer: Any, name: str) -> np.ndarray:
    value = getattr(layer, name)
    value = np.asarray(value.numpy() if hasattr(value, "numpy") else value, np.float64)
    if value.min() < 0:
        raise NoRule(f"its {name} is below 0, so that it falls")
    return value


PARAMETRIC: dict[str, Callable[[Any], Activation]] = {
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "LeakyRelu": _leaky_relu,
    "PReLU": _prelu,
    "ELU": _elu,
    "Elu": _elu,
}
"""By class of the layer or operation."""
