"""Small Keras networks for tests, with weights and BatchNorm statistics far from their defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import numpy as np
from keras import layers


@contextmanager
def float64() -> Iterator[None]:
    """Keras builds models of float64 weights and inputs."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(before)


def randomise(model: keras.Model, seed: int = 0) -> keras.Model:
    """Give BatchNorm random parameters and statistics, and every bias a value of either sign."""
    rng = np.random.default_rng(seed)
    for layer in every_layer(model):
        if isinstance(layer, layers.BatchNormalization):
            n = layer.moving_mean.shape
            drawn = (
                (layer.gamma, rng.uniform(0.5, 1.5, n)),
                (layer.beta, rng.normal(0, 0.3, n)),
                (layer.moving_mean, rng.normal(0, 0.2, n)),
                (layer.moving_variance, rng.uniform(0.2, 2, n)),
            )
            for variable, values in drawn:
                if variable is not None:
                    variable.assign(values)
        elif isinstance(layer, layers.PReLU):
            layer.alpha.assign(rng.uniform(0, 0.5, layer.alpha.shape))
        elif getattr(layer, "use_bias", False):
            layer.bias.assign(rng.normal(0, 0.1, layer.bias.shape))
    return model


def every_layer(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model and of the models within it."""
    found: list[keras.layers.Layer] = []
    for layer in model.layers:
        found += every_layer(layer) if isinstance(layer, keras.Model) else [layer]
    return found


def seeded(seed: int, *stack: layers.Layer, shape: tuple[int, int, int] = (6, 5, 2)) -> keras.Sequential:
    """A chain with weights of this seed; layers draw a seed of their own when they are made, so anew here."""
    model = keras.Sequential([keras.Input(shape), *stack])
    for i, variable in enumerate(model.trainable_variables):
        if "kernel" in variable.name:
            variable.assign(keras.initializers.GlorotUniform(seed=100 * seed + i)(variable.shape))
    return randomise(model, seed)


def paper_like() -> keras.Sequential:
    return seeded(
        1, layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization(), layers.ReLU(),
        layers.MaxPooling2D(2), layers.Dropout(0.2), layers.Flatten(), layers.Dense(3), layers.Softmax(),
        shape=(6, 4, 2),
    )  # fmt: skip


def inputs_of_either_sign() -> keras.Sequential:
    return seeded(
        2, layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization(),
        layers.Conv2D(3, 3, padding="same"), layers.MaxPooling2D(2), layers.Flatten(),
        layers.Dense(5), layers.BatchNormalization(), layers.Dense(3),
        shape=(6, 6, 2),
    )  # fmt: skip


def strided_valid() -> keras.Sequential:
    return seeded(
        3, layers.Conv2D(3, (2, 3), strides=(2, 1), padding="valid", activation="relu"),
        layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False),
        layers.BatchNormalization(epsilon=0.05), layers.Activation("relu"), layers.Flatten(),
        layers.Dense(4, activation="softmax"),
    )  # fmt: skip


def even_and_dilated() -> keras.Sequential:
    return seeded(
        4, layers.Conv2D(3, (2, 4), padding="same"), layers.ReLU(),
        layers.Conv2D(3, 3, dilation_rate=(2, 1), padding="same"), layers.ReLU(),
        layers.Conv2D(2, 2, dilation_rate=2, padding="valid"), layers.Flatten(), layers.Dense(3),
    )  # fmt: skip


def overlapping_pool() -> keras.Sequential:
    return seeded(
        5, layers.Conv2D(3, 3, padding="same"), layers.MaxPooling2D(3, strides=2, padding="same"),
        layers.ReLU(), layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(4, activation="relu"),
        layers.Dense(3, use_bias=False),
    )  # fmt: skip


def dead_neurons() -> keras.Sequential:
    """Neurons that are zero exactly, never active, or without one sign of weight."""
    model = seeded(
        6, layers.Conv2D(5, 3, padding="same"), layers.ReLU(), layers.MaxPooling2D(2), layers.Flatten(),
        layers.Dense(4), layers.ReLU(), layers.Dense(3), shape=(4, 4, 2),
    )  # fmt: skip
    convolution, last = model.layers[0], model.layers[-1]
    kernel, bias = convolution.get_weights()
    kernel[..., 0], bias[0] = 0, 0
    bias[1] = -50
    kernel[..., 2], bias[2] = np.abs(kernel[..., 2]), 0
    kernel[..., 3], bias[3] = -np.abs(kernel[..., 3]), 0
    convolution.set_weights([kernel, bias])
    kernel, bias = last.get_weights()
    kernel[:, 0], bias[0] = -np.abs(kernel[:, 0]), -0.1
    last.set_weights([kernel, bias])
    return model


def ties_in_pooling() -> keras.Sequential:
    """Pools the image itself, so that equal pixels tie."""
    return seeded(
        7, layers.MaxPooling2D(2), layers.Conv2D(3, 3, padding="same"), layers.ReLU(), layers.Flatten(),
        layers.Dense(3), shape=(6, 6, 2),
    )  # fmt: skip


NETWORKS: dict[str, Callable[[], keras.Sequential]] = {
    build.__name__: build
    for build in (
        paper_like, inputs_of_either_sign, strided_valid, even_and_dilated, overlapping_pool, dead_neurons,
        ties_in_pooling,
    )
}  # fmt: skip


def images_for(model: keras.Model, count: int = 2, seed: int = 0) -> np.ndarray:
    """Images float32 in [0, 1] with few levels, so that there are zeros and ties among them."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, (count, *model.input_shape[1:])).astype(np.float32) / 3
