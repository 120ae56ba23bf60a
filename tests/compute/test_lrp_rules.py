"""Every rule and layer of both conventions against its slow twin."""

import numpy as np
import pytest
import tensorflow as tf

from compute.graph.folding import fold_batchnorm
from compute.graph.reader import read_model
from compute.lrp.propagate import CONVENTIONS, explain_batch
from compute.methods import PAPER_RULES, Method, parse_method
from tests.compute.networks import (
    NETWORKS,
    dead_neurons,
    images_for,
    inputs_of_either_sign,
    paper_like,
    ties_in_pooling,
)
from tests.compute.twins import Step, canonical_back, twin_forward, twin_map, twin_steps

IDS = [prefix + rule for prefix in ("", "published-") for rule in (*PAPER_RULES, "lrp-alpha1.5-beta-0.5")]


def explain(model, methods: list[Method], images: np.ndarray, classes: np.ndarray, nonnegative: bool = True):
    """float64 maps by method id, and start logits, from the engine under test."""
    graph = read_model(model)
    if methods[0].convention == "canonical":
        graph = fold_batchnorm(graph)
    passings = [CONVENTIONS[str(method.convention)](graph, method) for method in methods]
    run = tf.function(lambda x, c: explain_batch(graph, passings, x, c, nonnegative), autograph=False)
    maps, _, start = run(tf.constant(images, tf.float64), tf.constant(classes, tf.int64))
    return {m.id: values.numpy() for m, values in zip(methods, maps, strict=True)}, start.numpy()


def assert_same(fast: np.ndarray, slow: np.ndarray, what: str) -> None:
    """Both maps by the slow one's scale, atol 1e-6; a zero map must be zero."""
    scale = np.abs(slow).max() or 1.0
    np.testing.assert_allclose(fast / scale, slow / scale, rtol=0, atol=1e-6, err_msg=what)


@pytest.mark.parametrize("convention", ["canonical", "published"])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_rule_equals_its_slow_twin(network: str, convention: str) -> None:
    model = NETWORKS[network]()
    images = images_for(model)
    classes = np.array([0, 2])
    methods = [m for m in map(parse_method, IDS) if m.convention == convention]
    maps, start = explain(model, methods, images, classes)
    for method in methods:
        for i, (image, explained) in enumerate(zip(images, classes, strict=True)):
            slow, logit = twin_map(model, method, image, explained)
            assert_same(maps[method.id][i], slow, f"{method.id}, image {i}")
            assert start[i] == pytest.approx(logit, abs=1e-9)
        assert np.abs(maps[method.id]).max() > 0


@pytest.mark.parametrize("convention", ["canonical", "published"])
def test_negative_image_values(convention: str) -> None:
    model = inputs_of_either_sign()
    images = images_for(model) - 0.5
    methods = [m for m in map(parse_method, IDS) if m.convention == convention]
    maps, _ = explain(model, methods, images, np.array([1, 1]), nonnegative=False)
    for method in methods:
        for i, image in enumerate(images):
            assert_same(maps[method.id][i], twin_map(model, method, image, 1)[0], method.id)


def test_relevance_without_a_contribution_of_its_sign_is_lost() -> None:
    """Every contribution to this logit is negative: alpha 1, beta 0 has nothing to share."""
    model = dead_neurons()
    maps, start = explain(model, [parse_method("lrp-alpha1-beta0")], images_for(model), np.array([0, 0]))
    assert (start < 0).all()
    assert not maps["lrp-alpha1-beta0"].any()


def test_four_terms_matter_for_negative_inputs() -> None:
    """Taking two terms where inputs can be negative gives another map: the flag is not idle."""
    model = inputs_of_either_sign()
    images = images_for(model) - 0.5
    method = [parse_method("lrp-alpha2-beta-1")]
    four, _ = explain(model, method, images, np.array([1, 1]), nonnegative=False)
    two, _ = explain(model, method, images, np.array([1, 1]), nonnegative=True)
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
    model = paper_like()
    image, method = images_for(model, 1)[0], parse_method("lrp-0")
    steps = twin_steps(model, image.shape)
    assert "batchnorm" in [step.kind for step in steps]
    inputs: list[np.ndarray] = [image.astype(np.float64).ravel()]
    for step in steps:
        inputs.append(twin_forward(step, inputs[-1]))
    relevance = np.where(np.arange(3) == 1, inputs[-1], 0)
    backwards: list[tuple[Step, np.ndarray, np.ndarray]] = list(zip(steps, inputs, inputs[1:], strict=False))
    for step, a, z in reversed(backwards):
        relevance = canonical_back(step, a, z, relevance, method)
    maps, _ = explain(model, [method], image[None], np.array([1]))
    np.testing.assert_allclose(maps["lrp-0"][0], relevance, rtol=0, atol=1e-9)
