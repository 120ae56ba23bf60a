"""Networks with weights drawn anew: which layers, by which initialisers, and the same every time."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from compute.classifier import ModelError, load_classifier
from compute.explainer import Explainer
from compute.methods import parse_method
from compute.randomisation import cascade, layers_from_output, randomised, weights_sha256
from tests.compute.networks import randomise

METHODS = (
    *("lrp-0", "lrp-epsilon-0.01", "lrp-alpha2-beta-1", "lrp-epsilon-0.000001-gamma-0.25-box", "lrp-w2"),
    *(
        "published-lrp-0",
        "published-lrp-epsilon-1",
        "published-lrp-alpha1-beta0",
        "published-lrp-alpha2-beta-1",
    ),
    *("gradient", "integrated-gradients-n4", "guided-backpropagation", "grad-cam"),
    *("occlusion-window8-stride8", "random"),
)


@pytest.fixture(scope="module")
def shipped() -> keras.Model:
    return load_classifier("shipped")


def branched() -> keras.Model:
    """Two branches, a network within the network, PReLU, data statistics, and initialisers of its own."""
    constant: Any = keras.initializers.Constant
    image = keras.Input((6, 6, 2))
    inner = keras.Sequential([keras.Input((6, 6, 4)), layers.Conv2D(4, 1, name="inner")])
    statistics = layers.Normalization(mean=[0.1, 0.2], variance=[1.0, 2.0])
    x = layers.Conv2D(
        4, 3, padding="same", name="first", kernel_initializer="he_normal", bias_initializer=constant(0.25),
    )(statistics(image))  # fmt: skip
    left = layers.PReLU(name="slope")(inner(x))
    right = layers.BatchNormalization(name="norm", gamma_initializer=constant(2.0))(
        layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    )
    flat = layers.Flatten()(layers.Add()([left, right]))
    return randomise(keras.Model(image, layers.Dense(3, name="last")(flat)))


def test_the_cascade_goes_from_the_output_to_the_input(shipped: keras.Model) -> None:
    found = cascade(shipped, seed=3)
    assert [one.depth for one in found] == list(range(1, 8)) and {one.of_depth for one in found} == {7}
    assert [one.layer for one in found] == ["dense", *(f"conv2d_{n}" for n in (5, 4, 3, 2, 1)), "conv2d"]
    assert len({one.sha256 for one in found} | {weights_sha256(shipped)}) == 8
    for one in found:
        assert weights_sha256(randomised(shipped, one.depth, 3)) == one.sha256


def test_layers_that_are_not_reached_keep_their_weights(shipped: keras.Model) -> None:
    twin = randomised(shipped, 3, 0)
    changed = [
        layer.name
        for layer, other in zip(shipped.layers, twin.layers, strict=True)
        if any(
            not np.array_equal(a, b) for a, b in zip(layer.get_weights(), other.get_weights(), strict=True)
        )
    ]
    assert changed == ["conv2d_4", "batch_normalization_4", "conv2d_5", "batch_normalization_5", "dense"]


def test_normalisation_begins_anew_with_the_layer_before_it(shipped: keras.Model) -> None:
    twin = randomised(shipped, 7, 0)
    norms = [layer for layer in twin.layers if isinstance(layer, layers.BatchNormalization)]
    assert len(norms) == 6
    for norm in norms:
        for weight, value in zip(norm.get_weights(), (1, 0, 0, 1), strict=True):
            assert (weight == value).all()


def test_kernels_are_drawn_by_their_own_initialiser(shipped: keras.Model) -> None:
    """Glorot's uniform distribution: bounds sqrt(6 / (fan in + fan out)), and every part of it hit."""
    kernel, bias = randomised(shipped, 1, 0).get_layer("dense").get_weights()
    bound = np.sqrt(6 / sum(kernel.shape))
    assert not bias.any() and np.abs(kernel).max() <= bound
    parts = np.histogram(kernel, 8, (-bound, bound))[0] / kernel.size
    assert parts == pytest.approx(1 / 8, abs=0.01)
    model = branched()
    twin = randomised(model, len(layers_from_output(model)), 0)
    assert (twin.get_layer("first").get_weights()[1] == 0.25).all()
    assert (twin.get_layer("norm").get_weights()[0] == 2).all()
    assert not twin.get_layer("slope").get_weights()[0].any()


def test_any_network_is_taken_apart_by_its_kernels() -> None:
    model = branched()
    steps = [[layer.name for layer in layers] for layers in layers_from_output(model)]
    assert steps[0] == ["last"] and steps[-1] == ["first"]
    assert sorted(name for step in steps for name in step) == [
        *("depthwise", "first", "inner", "last", "norm", "slope"),
    ]
    assert all(step[0] not in ("norm", "slope") for step in steps)
    before = model.get_weights()
    twin = randomised(model, len(steps), 0)
    for old, kept in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, kept)
    [mean] = [np.asarray(layer.mean) for layer in twin.layers if isinstance(layer, layers.Normalization)]
    assert mean.ravel() == pytest.approx([0.1, 0.2])


def test_weights_depend_on_seed_and_place_alone(shipped: keras.Model) -> None:
    first, again, other = (randomised(shipped, 2, seed).get_weights() for seed in (0, 0, 1))
    keras.utils.set_random_seed(99)
    later = randomised(shipped, 7, 0).get_layer("dense").get_weights()[0]
    np.testing.assert_array_equal(first[-2], again[-2])
    np.testing.assert_array_equal(first[-2], later)
    assert not np.array_equal(first[-2], other[-2])


def test_weights_are_those_of_other_days(shipped: keras.Model) -> None:
    """Drawn once and written down: another stream of random numbers would be another network."""
    digest = "8a1fae9c5dae184324d31fb22a3c44e8732edfd447bbfbc3228cdb8b96ec817c"
    assert cascade(shipped, 0)[-1].sha256 == digest


def test_a_network_without_kernels_is_refused() -> None:
    bare = keras.Sequential([keras.Input((2, 2, 1)), layers.Flatten()])
    with pytest.raises(ModelError, match="nothing to randomise"):
        cascade(bare, 0)


def test_every_method_explains_a_network_that_knows_nothing(shipped: keras.Model) -> None:
    images = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
    twin = randomised(shipped, 7, 0)
    maps = Explainer(twin, [parse_method(name) for name in METHODS], 4).explain(images, np.arange(4))
    for name, found in maps.items():
        assert np.isfinite(found.relevance).all(), name
        assert name == "grad-cam" or (np.abs(found.relevance).max(axis=1) > 0).all(), name
