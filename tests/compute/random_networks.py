"""Random small Keras networks for hypothesis: a plan says what a network is, and builds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from hypothesis import strategies as st
from keras import layers

from tests.compute.networks import randomise

CHAINED = ("convolution", "depthwise", "separable", "max")
BRANCHED = (*CHAINED, "residual", "concatenate", "average", "pad", "activation")


@dataclass(frozen=True)
class Block:
    """A few layers. batchnorm: stands nowhere, before (with a ReLU) or behind the convolution."""

    kind: str
    channels: int
    kernel: int
    stride: int
    dilation: int
    groups: int
    padding: str
    bias: bool
    batchnorm: str
    activation: str

    def __call__(self, x: Any) -> Any:
        if self.kind in ("max", "average"):
            pool = layers.MaxPooling2D if self.kind == "max" else layers.AveragePooling2D
            fits = min(x.shape[1:3]) >= self.kernel
            return pool(self.kernel, self.stride, self.padding if fits else "same")(x)
        if self.kind == "pad":
            return layers.ZeroPadding2D(((1, 0), (self.kernel - 1, 1)))(x)
        if self.kind == "activation":
            return self.activated(x)
        if self.kind == "concatenate":
            return layers.Concatenate()([self.convolved(x, "same"), x, self.convolved(x, "same")])
        if self.kind == "residual":
            y = self.convolved(x, "same")
            same = x.shape == y.shape
            shortcut = x if same else layers.Conv2D(y.shape[-1], 1, self.stride, use_bias=self.bias)(x)
            y = layers.Conv2D(y.shape[-1], 3, padding="same", use_bias=self.bias)(y)
            y = layers.BatchNormalization()(y) if self.batchnorm else y
            return self.activated(layers.Add()([y, shortcut]) if self.groups > 1 else y + shortcut)
        fits = min(x.shape[1:3]) > (self.kernel - 1) * self.dilation
        return self.convolved(x, self.padding if fits else "same")

    def convolved(self, x: Any, padding: str) -> Any:
        places: Any = {
            "kernel_size": self.kernel,
            "strides": 1 if self.kind == "concatenate" else self.stride,
            "dilation_rate": self.dilation if self.stride == 1 else 1,
            "padding": padding,
            "use_bias": self.bias,
        }
        if self.batchnorm.startswith("before"):
            x = layers.BatchNormalization()(x)
        if self.batchnorm == "before with relu":
            x = layers.ReLU()(x)
        if self.kind == "depthwise":
            x = layers.DepthwiseConv2D(depth_multiplier=self.groups, **places)(x)
        elif self.kind == "separable":
            x = layers.SeparableConv2D(self.channels, depth_multiplier=self.groups, **places)(x)
        else:
            x = layers.Conv2D(self.channels, groups=self.groups, **places)(x)
        if self.batchnorm == "behind":
            x = layers.BatchNormalization()(x)
        return self.activated(x)

    def activated(self, x: Any) -> Any:
        return layers.Activation(self.activation)(x)


@dataclass(frozen=True)
class Plan:
    """A network of blocks; head: what stands before its dense layers. hidden: units of one more of them."""

    seed: int
    size: int
    blocks: tuple[Block, ...]
    head: str
    hidden: int

    def build(self) -> keras.Model:
        """Maps [size, size + 1, 2] to 3 logits."""
        keras.utils.set_random_seed(self.seed)
        x = image = keras.Input((self.size, self.size + 1, 2))
        for block in self.blocks:
            x = block(x)
        heads = {
            "flatten": layers.Flatten,
            "average": layers.GlobalAveragePooling2D,
            "max": layers.GlobalMaxPooling2D,
        }
        x = heads[self.head]()(x)
        if self.hidden:
            x = layers.Dense(self.hidden, activation="relu")(x)
        return randomise(keras.Model(image, layers.Dense(3)(x)), self.seed)

    def images(self, count: int, low: float = 0.0) -> np.ndarray:
        """Images float64 [count, h, w, 2] in [low, 1], a fifth of their values zero."""
        rng = np.random.default_rng(self.seed)
        values = rng.uniform(low, 1, (count, self.size, self.size + 1, 2))
        return np.where(rng.random(values.shape) < 0.2, 0, values)

    def classes(self, count: int) -> np.ndarray:
        return np.arange(count) % 3


def plans(
    kinds: tuple[str, ...] = BRANCHED,
    activations: tuple[str, ...] = ("relu", "linear", "leaky_relu", "softplus"),
    batchnorm: tuple[str, ...] = ("", "behind", "before", "before with relu"),
    heads: tuple[str, ...] = ("flatten", "average", "max"),
) -> st.SearchStrategy[Plan]:
    """Plans of one to four blocks."""
    block = st.builds(
        Block,
        kind=st.sampled_from(kinds),
        channels=st.sampled_from((2, 4)),
        kernel=st.integers(1, 3),
        stride=st.integers(1, 2),
        dilation=st.integers(1, 2),
        groups=st.integers(1, 2),
        padding=st.sampled_from(("same", "valid")),
        bias=st.booleans(),
        batchnorm=st.sampled_from(batchnorm),
        activation=st.sampled_from(activations),
    )
    return st.builds(
        Plan,
        seed=st.integers(0, 9999),
        size=st.integers(4, 6),
        blocks=st.lists(block, min_size=1, max_size=4).map(tuple),
        head=st.sampled_from(heads),
        hidden=st.sampled_from((0, 4)),
    )
