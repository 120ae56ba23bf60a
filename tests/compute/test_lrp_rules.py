"""Every rule and layer of both conventions against its slow twin."""

from dataclasses import replace
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from compute.graph.folding import fold_batchnorm
from compute.graph.nodes import UnsupportedLayer
from compute.graph.reader import read_model
from compute.lrp.propagate import CONVENTIONS, explain_batch
from compute.methods import PAPER_RULES, Method, parse_method
from tests.compute.graphs import GRAPHS
from tests.compute.networks import (
    NETWORKS,
    dead_neurons,
    images_for,
    inputs_of_either_sign,
    paper_like,
    seeded,
    ties_in_pooling,
)
from tests.compute.twin_steps import batchnorm_affine, steps_of
from tests.compute.twins import Account, Twin, TwinMap, canonical, forward, spread

SIGNS = (*PAPER_RULES, "lrp-alpha1.5-beta-0.5")
RULES = (*SIGNS, "lrp-epsilon-rms-0.25", "lrp-gamma-0.25", "lrp-plus", "lrp-w2", "lrp-flat")
COMPOSITES = (
    "lrp-epsilon-0.000001-plus-flat",
    "lrp-epsilon-0.000001-alpha2-beta-1-flat",
    "lrp-epsilon-rms-0.1-gamma-0.5-w2",
    "lrp-0-flat-plus",
)
BOX = "lrp-epsilon-0.000001-gamma-0.25-box"
CANONICAL = [parse_method(id) for id in (*RULES, *COMPOSITES)]
PUBLISHED = [parse_method(f"published-{id}") for id in SIGNS]
CASES = [(network, "canonical") for network in NETWORKS | GRAPHS] + [
    (network, "published")
    for network in (*NETWORKS, "separable", "grouped", "along_the_last_axis")
]  # fmt: skip
BAR = 1e-6


def explain(
    model: keras.Model,
    methods: list[Method],
    images: np.ndarray,
    classes: np.ndarray,
    nonnegative: bool = True,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """float64 maps [n, h*w*c] and absorbed [3, n] by method id, and start logits, from the engine."""
    graph = read_model(model)
    if methods[0].convention == "canonical":
        graph = fold_batchnorm(graph)
    passings = [CONVENTIONS[str(method.convention)](graph, method) for method in methods]
    x, chosen = tf.constant(images, tf.float64), tf.constant(classes, tf.int64)
    maps, absorbed, start = explain_batch(graph, passings, x, chosen, nonnegative)
    ids = [method.id for method in methods]
    return (
        dict(zip(ids, (values.numpy() for values in maps), strict=True)),
        dict(zip(ids, (values.numpy() for values in absorbed), strict=True)),
        start.numpy(),
    )


def assert_same(relevance: np.ndarray, absorbed: np.ndarray, slow: TwinMap, what: str) -> None:
    """Within 1e-6: the maps of the slow one's max |R|, what is absorbed of the largest layer's sum |R|."""
    scale = np.abs(slow.relevance).max() or 1.0  # a zero map must be zero
    np.testing.assert_allclose(relevance / scale, slow.relevance / scale, rtol=0, atol=BAR, err_msg=what)
    np.testing.assert_allclose(absorbed, slow.absorbed, rtol=0, atol=BAR * slow.largest, err_msg=what)


def compare(
    model: keras.Model, methods: list[Method], images: np.ndarray, classes: np.ndarray, nonnegative: bool
) -> None:
    maps, absorbed, start = explain(model, methods, images, classes, nonnegative)
    twin = Twin(model)
    for method in methods:
        for i, (image, explained) in enumerate(zip(images, classes, strict=True)):
            slow = twin.explain(method, image, explained)
            assert_same(maps[method.id][i], absorbed[method.id][:, i], slow, f"{method.id}, image {i}")
            assert start[i] == pytest.approx(slow.start, abs=1e-9)
        assert np.abs(maps[method.id]).max() > 0, method.id


@cache
def network_of(name: str) -> keras.Model:
    """A network, made once: nothing here changes it."""
    return (NETWORKS | GRAPHS)[name]()


def with_box(network: str, methods: list[Method]) -> list[Method]:
    """The methods, and a composite with the box rule where a network's first layer sees the image."""
    sees_image = network not in ("ties_in_pooling", "averaged", "activations", "preactivated")
    return [*methods, parse_method(BOX)] if sees_image else methods


@pytest.mark.parametrize(("network", "convention"), CASES)
def test_every_rule_equals_its_slow_twin(network: str, convention: str) -> None:
    model = network_of(network)
    methods = with_box(network, CANONICAL) if convention == "canonical" else PUBLISHED
    compare(model, methods, images_for(model), np.array([0, 2]), nonnegative=True)


@pytest.mark.parametrize(
    ("network", "convention"),
    [
        ("inputs_of_either_sign", "canonical"),
        ("inputs_of_either_sign", "published"),
        ("residual", "canonical"),
    ],
)
def test_negative_image_values(network: str, convention: str) -> None:
    model = network_of(network)
    methods = CANONICAL if convention == "canonical" else PUBLISHED
    compare(model, methods, images_for(model) - 0.5, np.array([1, 1]), nonnegative=False)


def test_box_of_other_bounds() -> None:
    model = inputs_of_either_sign()
    methods = [replace(parse_method(BOX), low=-0.5, high=0.7)]
    compare(model, methods, images_for(model) - 0.4, np.array([1, 0]), nonnegative=False)


@pytest.mark.parametrize("network", ["ties_in_pooling", "averaged", "activations"])
def test_box_refuses_a_first_layer_that_does_not_see_the_image(network: str) -> None:
    model = network_of(network)
    with pytest.raises(UnsupportedLayer, match="box rule is for values of the image"):
        explain(model, [parse_method(BOX)], images_for(model), np.array([0, 0]))


@pytest.mark.parametrize("network", NETWORKS | GRAPHS)
def test_the_twin_computes_the_logits_of_the_model(network: str) -> None:
    """So that the twin reads what Keras means, and not what the engine reads."""
    model = network_of(network)
    twin, images = Twin(model), images_for(model)
    for convention in ("canonical", "published"):
        logits = np.array([twin.values(convention, image)[-1] for image in images])
        given = model(images, training=False).numpy()
        if np.allclose(given.sum(axis=1), 1):
            logits = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(logits, given, atol=1e-5)


def test_relevance_without_a_contribution_of_its_sign_is_lost_and_entered() -> None:
    """Every contribution to this logit is negative: alpha 1, beta 0 has nothing to share."""
    model = dead_neurons()
    images, classes = images_for(model), np.array([0, 0])
    maps, absorbed, start = explain(model, [parse_method("lrp-alpha1-beta0")], images, classes)
    assert (start < 0).all()
    assert not maps["lrp-alpha1-beta0"].any()
    np.testing.assert_allclose(absorbed["lrp-alpha1-beta0"], np.stack([0 * start, 0 * start, start]))


def test_layers_of_zeros_give_maps_of_zeros() -> None:
    """A black image in a network without biases: 0/0 = 0, for an epsilon relative to nothing too."""
    model = seeded(
        1, layers.Conv2D(3, 3, use_bias=False), layers.ReLU(), layers.Flatten(),
        layers.Dense(4, use_bias=False), layers.Dense(3),
    )  # fmt: skip
    methods = [*CANONICAL, parse_method(BOX)]
    images, classes = np.zeros((2, 6, 5, 2), np.float32), np.array([0, 1])
    maps, absorbed, start = explain(model, methods, images, classes)
    assert np.abs(start).min() > 0
    seeing = ("lrp-w2", "lrp-flat")  # these do not look at the input
    for method in methods:
        assert maps[method.id].any() == (method.id in seeing), method.id
        total = maps[method.id].sum(axis=1) + absorbed[method.id].sum(axis=0)
        np.testing.assert_allclose(total, start, rtol=1e-12, err_msg=method.id)


def test_neurons_that_are_zero_by_cancellation() -> None:
    """z = x - x = 0, with relevance: the flat rule shares a logit of 1 among two such neurons.

    Epsilon: sgn 0 = +1, R = x w R / (0 + e). LRP-0 and gamma: 0/0 = 0, and the relevance is lost.
    """
    model = seeded(1, layers.Conv2D(1, 1, use_bias=False), layers.Flatten(), layers.Dense(2), shape=(1, 2, 2))
    model.layers[0].set_weights([np.array([[[[1.0], [-1.0]]]])])
    model.layers[2].bias.assign([1.0, 0.5])
    epsilon, *others = [
        parse_method(f"lrp-flat-{rule}-{rule}") for rule in ("epsilon-0.1", "gamma-0.25", "0")
    ]
    image = np.full((1, 1, 2, 2), 0.5)
    maps, absorbed, start = explain(model, [epsilon, *others], image, np.array([0]))
    assert start[0] == 1
    np.testing.assert_allclose(maps[epsilon.id], [[2.5, -2.5, 2.5, -2.5]], rtol=1e-12)
    np.testing.assert_allclose(absorbed[epsilon.id], [[0], [1], [0]], atol=1e-12)
    for method in others:
        assert not maps[method.id].any()
        np.testing.assert_allclose(absorbed[method.id], [[0], [0], [1]], atol=1e-12)


def test_four_terms_matter_for_negative_inputs() -> None:
    """Taking two terms where inputs can be negative gives another map: the flag is not idle."""
    model = inputs_of_either_sign()
    images = images_for(model) - 0.5
    method = [parse_method("lrp-alpha2-beta-1")]
    four, _, _ = explain(model, method, images, np.array([1, 1]), nonnegative=False)
    two, _, _ = explain(model, method, images, np.array([1, 1]), nonnegative=True)
    assert np.abs(four[method[0].id] - two[method[0].id]).max() > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_first_of_equal_maxima_wins(dtype: str) -> None:
    """All pixels equal: relevance stands at the top left of each window and nowhere else."""
    model = ties_in_pooling()
    graph = fold_batchnorm(read_model(model))
    x = tf.fill((1, 6, 6, 2), tf.constant(0.5, dtype))
    passings = [CONVENTIONS["canonical"](graph, parse_method("lrp-0"))]
    (relevance,), _, _ = explain_batch(graph, passings, x, tf.constant([0], tf.int64))
    relevance = relevance.numpy().reshape(6, 6, 2)
    assert np.abs(relevance[::2, ::2]).min() > 0
    relevance[::2, ::2] = 0
    assert not relevance.any()


def test_lrp_0_is_the_same_with_batchnorm_folded_or_separate_with_its_own_epsilon() -> None:
    """LRP-0 of z = a scale + shift: R_in = a scale R / z."""
    model = paper_like()
    image, method = images_for(model, 1)[0], parse_method("lrp-0")
    steps = steps_of(model)
    assert "batchnorm" in [step.kind for step in steps]
    values = [image.astype(np.float64).ravel().tolist()]
    for step in steps:
        values.append(forward(step, [values[-1]]))
    relevance = np.where(np.arange(3) == 1, values[-1], 0).tolist()
    for step, a, z in zip(steps[::-1], values[-2::-1], values[:0:-1], strict=True):
        if step.kind == "batchnorm":
            scale, shift = batchnorm_affine(step, step.channels[-1])
            relevance = [
                spread([x * s], t, 0.0, r, Account())[0]
                for x, s, t, r in zip(a, scale, shift, relevance, strict=True)
            ]
        else:
            (relevance,) = canonical(step, method.dense, method, [a], z, relevance, Account())
    maps, _, _ = explain(model, [method], image[None], np.array([1]))
    np.testing.assert_allclose(maps["lrp-0"][0], relevance, rtol=0, atol=1e-9)


def test_composites_have_their_rules_where_they_say() -> None:
    """Dense layers behind a convolution have the dense rule, what the image reaches first the first one."""
    model = seeded(3, layers.Conv2D(3, 2), layers.Conv2D(3, 2), layers.Flatten(), layers.Dense(3))
    images, classes = images_for(model), np.array([0, 1])
    ids = ["lrp-0-plus-w2", "lrp-0", "lrp-plus-0-0", "lrp-0-plus-0", "lrp-0-0-plus"]
    maps, _, _ = explain(model, [parse_method(id) for id in ids], images, classes)
    given = [maps[id] / np.abs(maps[id]).max() for id in ids]
    for i, one in enumerate(given):
        assert all(np.abs(one - other).max() > 1e-3 for other in given[:i])
