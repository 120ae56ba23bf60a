"""Networks whose weights are drawn anew, layer after layer from the output down.

Source: Adebayo et al. 2018, Sanity checks for saliency maps, section 3, cascading randomisation: a map that
does not change with the weights explains no network. At depth 1 the output layer alone is re-initialised, at
the greatest depth everything that was learnt; that last network is the paper's completely re-initialised
one, since the draws of a layer are the same at every depth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compute.classifier import ModelError

if TYPE_CHECKING:
    import keras

NUMERICS_VERSION = 1
"""Raised when a change of this module changes weights."""


@dataclass(frozen=True)
class Randomisation:
    """What was re-initialised of a network, and what came of it."""

    depth: int
    """layers re-initialised, counted from the output"""
    of_depth: int
    """layers of the network that have weights"""
    layer: str
    """name of the last one re-initialised"""
    seed: int
    sha256: str
    """of all weights"""
    version: int = NUMERICS_VERSION

    def as_row(self) -> dict[str, Any]:
        """Columns of the `randomisations` table besides its keys."""
        return asdict(self)


def cascade(model: keras.Model, seed: int) -> list[Randomisation]:
    """Every randomisation of a model, from the output layer alone to the whole network."""
    twin, found = _copy(model), []
    steps = layers_from_output(twin)
    if not steps:
        raise ModelError(f"network {model.name!r} has no layer with a kernel: there is nothing to randomise")
    for depth, layers in enumerate(steps, 1):
        _reinitialise(layers, depth, seed)
        found.append(Randomisation(depth, len(steps), layers[0].name, seed, weights_sha256(twin)))
    return found


def randomised(model: keras.Model, depth: int, seed: int) -> keras.Model:
    """A copy of a built model with the `depth` layers nearest to its output re-initialised.

    Each weight is drawn by the layer's own initialiser, from a seed that depends on `seed` and on the layer's
    place alone. BatchNorm has gamma 1, beta 0, moving mean 0 and variance 1 again, unless it says otherwise:
    statistics of activations that are gone would be a remnant of what was learnt. A network of Keras 2 is
    read without its initialisers: there they are the defaults of Keras.
    """
    twin = _copy(model)
    for place, layers in enumerate(layers_from_output(twin)[:depth], 1):
        _reinitialise(layers, place, seed)
    return twin


def layers_from_output(model: keras.Model) -> list[list[keras.Layer]]:
    """Layers of a model with a kernel, from the output down, each with those behind it that have none.

    What has weights but no kernel (normalisation, PReLU) scales and shifts what the layer before it gives
    and goes with that, as Adebayo et al. re-initialise a block with all its variables. Statistics of the
    data (keras.layers.Normalization) are not learnt and stay.
    """
    from keras import layers

    steps: list[list[keras.Layer]] = []
    for layer in _flat(model):
        if not layer.weights or isinstance(layer, layers.Normalization):
            continue
        has_kernel = any(len(weight.shape) > 1 for weight in layer.weights)
        # PReLU has one factor for each value of an image
        if has_kernel and not isinstance(layer, layers.PReLU):
            steps.append([layer])
        elif steps:
            steps[-1].append(layer)
        else:
            steps.append([layer])
    return steps[::-1]


def weights_sha256(model: keras.Model) -> str:
    """SHA-256 of a model's weights, in their order."""
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.ascontiguousarray(np.asarray(weight), "<f4").tobytes())
    return digest.hexdigest()


def _copy(model: keras.Model) -> keras.Model:
    import keras

    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    return twin


def _flat(model: Any) -> Iterator[Any]:
    """The layers of a model and of those inside it, in the order of the data."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _flat(layer)
        else:
            yield layer


def _reinitialise(layers: list[keras.Layer], place: int, seed: int) -> None:
    """Draw the weights of some layers anew."""
    for number, layer in enumerate(layers):
        described = _seeded(layer.get_config(), f"{seed} {place} {number}")
        fresh = type(layer).from_config(described)
        fresh.build_from_config(layer.get_build_config())
        layer.set_weights(fresh.get_weights())


def _seeded(described: Any, place: str) -> Any:
    """A layer's configuration with a seed for each initialiser in it."""
    if isinstance(described, list | tuple):
        return [_seeded(part, f"{place} {n}") for n, part in enumerate(described)]
    if not isinstance(described, dict):
        return described
    seeded = {key: _seeded(part, f"{place} {key}") for key, part in described.items()}
    if "seed" in seeded:
        drawn = hashlib.sha256(place.encode()).digest()
        seeded["seed"] = int.from_bytes(drawn[:4], "little") % 2**31
    return seeded
