"""Small Keras networks of every layer that has a rule, with branches, nested models and shared layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from tests.compute.networks import randomise, seeded

SHAPE = (6, 5, 2)


def functional(
    seed: int, build: Callable[[Any], Any], shape: tuple[int, int, int] = SHAPE, **options: Any
) -> keras.Model:
    """A functional model of what `build` makes of the image, with a dense layer of 3 classes behind it."""
    keras.utils.set_random_seed(seed)
    image = keras.Input(shape)
    values = build(image)
    if len(values.shape) > 2:
        values = layers.Flatten()(values)
    return randomise(keras.Model(image, layers.Dense(3, **options)(values)), seed)


def residual() -> keras.Model:
    """A strided block with a convolution on its shortcut, a plain one, and sums of either kind."""

    def build(image: Any) -> Any:
        x = layers.Conv2D(3, 3, strides=2, padding="same")(image)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.BatchNormalization()(layers.Conv2D(3, 3, padding="same")(x))
        short = layers.BatchNormalization()(layers.Conv2D(3, 1, strides=2, use_bias=False)(image))
        x = layers.ReLU()(layers.Add()([x, short]))
        y = layers.BatchNormalization()(layers.Conv2D(3, 3, padding="same", use_bias=False)(x))
        return layers.GlobalAveragePooling2D()(layers.Activation("relu")(x + y))

    return functional(21, build, activation="softmax")


def concatenated() -> keras.Model:
    """BatchNorm before convolutions: folded forwards, into all that read it, or not at all."""

    def build(image: Any) -> Any:
        x = layers.BatchNormalization()(image)  # forwards, into both
        sides = [layers.Conv2D(2, 2, activation="relu")(x), layers.Conv2D(3, (2, 2), groups=1)(x)]
        x = layers.Concatenate()(sides)
        x = layers.ReLU()(layers.BatchNormalization()(x))  # stays
        x = layers.BatchNormalization()(x)  # stays: the convolution pads with zeros
        y = layers.Conv2D(3, 3, padding="same")(x)
        return layers.Concatenate(axis=1)([layers.Conv2D(3, 1)(x), y])

    return functional(22, build)


def read_twice() -> keras.Model:
    """A convolution that BatchNorm and another layer read, and BatchNorm whose readers are not all linear."""

    def build(image: Any) -> Any:
        x = layers.Conv2D(2, 3, padding="same")(image)
        x = keras.ops.add(layers.ReLU()(x), layers.BatchNormalization()(x))
        x = layers.BatchNormalization()(layers.ReLU()(x))
        sides = [layers.Conv2D(2, 1)(x), layers.LeakyReLU()(x)]
        return keras.ops.concatenate([layers.GlobalMaxPooling2D()(side) for side in sides], axis=-1)

    return functional(23, build)


def separable() -> keras.Sequential:
    return seeded(
        24, layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="relu"),
        layers.BatchNormalization(), layers.SeparableConv2D(3, 2, depth_multiplier=2, strides=2),
        layers.ReLU(), layers.DepthwiseConv2D(2, dilation_rate=(2, 1), padding="same"),
        layers.BatchNormalization(), layers.Flatten(), layers.Dense(3),
    )  # fmt: skip


def grouped() -> keras.Sequential:
    return seeded(
        25, layers.Conv2D(4, (2, 3), groups=2, strides=(2, 1), padding="same"), layers.BatchNormalization(),
        layers.ReLU(), layers.BatchNormalization(), layers.Conv2D(6, 2, groups=2), layers.ReLU(),
        layers.Conv2D(6, (1, 2), groups=3, dilation_rate=(1, 2)), layers.Flatten(), layers.Dense(3),
        shape=(6, 6, 4),
    )  # fmt: skip


def averaged() -> keras.Sequential:
    """Windows that overlap, that the border cuts, and that leave a rest."""
    return seeded(
        33, layers.AveragePooling2D(2, strides=1, padding="same"), layers.Conv2D(3, 3, padding="same"),
        layers.AveragePooling2D(3, strides=2, padding="same"), layers.ReLU(),
        layers.AveragePooling2D(2, strides=2), layers.Flatten(), layers.Dense(3), shape=(6, 6, 2),
    )  # fmt: skip


def padded() -> keras.Sequential:
    """Zeros around the image and around values of either sign."""
    return seeded(
        27, layers.ZeroPadding2D(((1, 0), (2, 1))), layers.Conv2D(3, 3), layers.ReLU(),
        layers.ZeroPadding2D(1), layers.Conv2D(2, 3, strides=2), layers.Flatten(), layers.Dense(3),
        shape=(5, 4, 2),
    )  # fmt: skip


def activations() -> keras.Sequential:
    """Activations whose values have either sign, as layers and by name."""
    return seeded(
        28, layers.Rescaling(2.0, offset=-1.0), layers.Conv2D(3, 3, padding="same"), layers.LeakyReLU(0.25),
        layers.Conv2D(3, 1, activation="tanh"), layers.Conv2D(2, 2, activation="softplus"), layers.PReLU(),
        layers.Conv2D(2, 2), layers.ELU(0.7), layers.Flatten(), layers.Dense(4, activation="sigmoid"),
        layers.Dense(3),
    )  # fmt: skip


def along_the_last_axis() -> keras.Sequential:
    """Dense layers and BatchNorm on values that have more axes than one."""
    return seeded(
        29, layers.Dense(3, activation="relu"), layers.BatchNormalization(), layers.Dense(2),
        layers.Reshape((10, -1)), layers.Dense(2, activation="relu"), layers.Dropout(0.5), layers.Flatten(),
        layers.Dense(3), layers.Activation("softmax"), shape=(5, 4, 2),
    )  # fmt: skip


def nested() -> keras.Model:
    """A functional model in a Sequential one in a functional one, a layer and a model called twice."""
    inner_image = keras.Input((None, None, 2))
    inner_values = layers.Conv2D(2, 3, padding="same", activation="relu")(inner_image)
    inner = keras.Model(inner_image, layers.Add()([inner_values, inner_image]))
    between = keras.Sequential([inner, layers.BatchNormalization()])
    shared = layers.Conv2D(2, 2)

    def build(image: Any) -> Any:
        x = between(image)
        return layers.Add()([shared(between(x)), shared(x)])

    return functional(30, build, shape=(4, 4, 2))


def preactivated() -> keras.Sequential:
    """BatchNorm and ReLU before the first convolution, and an activation of a ReLU that is not 0 at 0."""
    return seeded(
        31, layers.BatchNormalization(), layers.ReLU(), layers.Conv2D(3, 3, padding="same"), layers.ReLU(),
        layers.Activation("sigmoid"), layers.Conv2D(2, 2), layers.BatchNormalization(), layers.ReLU(),
        layers.ReLU(negative_slope=0.1, threshold=0.2), layers.Flatten(), layers.Dense(4, activation="relu"),
        layers.Activation("softplus"), layers.Dense(3),
    )  # fmt: skip


GRAPHS: dict[str, Callable[[], keras.Model]] = {
    build.__name__: build
    for build in (
        residual, concatenated, read_twice, separable, grouped, averaged, padded, activations,
        along_the_last_axis, nested, preactivated,
    )
}  # fmt: skip
