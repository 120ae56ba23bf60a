"""The engine on the paper's network: input x gradient, batches, conservation, and its inputs."""

import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from compute.classifier import build_table2
from compute.explainer import Explainer
from compute.graph.folding import fold_batchnorm
from compute.graph.operators import forward
from compute.graph.reader import read_model
from compute.methods import PAPER_RULES, parse_method
from tests.compute.networks import images_for, paper_like, randomise, seeded

ALL = [parse_method(prefix + rule) for prefix in ("", "published-") for rule in PAPER_RULES]


@pytest.fixture(scope="module")
def table2():
    return randomise(build_table2(), seed=3)


def largest_difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of each map, max |a - b| by max |b|."""
    return np.abs(a - b).max(axis=1) / np.abs(b).max(axis=1)


@pytest.mark.parametrize(("dtype", "bar"), [("float64", 1e-9), ("float32", 1e-2)])
def test_canonical_lrp_0_is_input_times_gradient(table2, dtype: str, bar: float) -> None:
    images = np.random.default_rng(1).random((8, 32, 32, 3), np.float32)
    classes = np.arange(8)
    explainer = Explainer(table2, [parse_method("lrp-0")], batch_size=8, dtype=dtype)
    maps = explainer.explain(images, classes)["lrp-0"]
    graph, x = fold_batchnorm(read_model(table2)), tf.constant(images, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = tf.gather(forward(graph, x), classes, axis=1, batch_dims=1)
    product = (x.numpy() * np.asarray(tape.gradient(logits, x))).reshape(8, -1)
    difference = largest_difference(maps.relevance, product)
    assert np.median(difference) <= bar
    if dtype == "float64":
        assert difference.max() <= bar
    np.testing.assert_allclose(maps.start, logits, rtol=1e-3)


def test_start_is_the_logit_of_the_model(table2) -> None:
    images = np.random.default_rng(1).random((3, 32, 32, 3), np.float32)
    methods = [parse_method("lrp-0"), parse_method("published-lrp-0")]
    explainer = Explainer(table2, methods, batch_size=4)
    maps = explainer.explain(images, np.array([9, 0, 4]))
    probabilities = table2(images, training=False).numpy()
    for other in (0, 5):
        logits = explainer.explain(images, np.full(3, other))["lrp-0"].start
        expected = np.log(probabilities[[0, 1, 2], [9, 0, 4]] / probabilities[:, other])
        for method in methods:
            np.testing.assert_allclose(maps[method.id].start - logits, expected, atol=1e-3)


def test_batch_size_does_not_change_a_map() -> None:
    """Sizes that fill the last batch, that do not, and that exceed the number of images."""
    model = paper_like()
    images, classes = images_for(model, 7), np.array([0, 1, 2, 0, 1, 2, 0])
    reference = Explainer(model, ALL, batch_size=7, dtype="float64").explain(images, classes)
    for size in (1, 3, 16):
        maps = Explainer(model, ALL, batch_size=size, dtype="float64").explain(images, classes)
        assert list(maps) == list(reference)
        for id, expected in reference.items():
            assert maps[id].relevance.shape == (7, 48)
            assert largest_difference(maps[id].relevance, expected.relevance).max() < 1e-9, id
            np.testing.assert_allclose(maps[id].start, expected.start, rtol=1e-12)


def test_methods_together_give_what_each_gives_alone() -> None:
    model = paper_like()
    images, classes = images_for(model, 2), np.array([0, 1])
    together = Explainer(model, ALL, batch_size=2).explain(images, classes)
    for method in ALL:
        alone = Explainer(model, [method], batch_size=2).explain(images, classes)[method.id]
        assert largest_difference(together[method.id].relevance, alone.relevance).max() < 1e-5, method.id


def test_without_biases_lrp_0_and_alpha_beta_conserve_the_logit() -> None:
    """No bias to absorb relevance, and wide layers, so that no neuron lacks a sign."""
    model = seeded(
        8, layers.Conv2D(8, 3, padding="valid", use_bias=False), layers.ReLU(), layers.MaxPooling2D(2),
        layers.Flatten(), layers.Dense(16, use_bias=False), layers.ReLU(), layers.Dense(3, use_bias=False),
        shape=(8, 8, 3),
    )  # fmt: skip
    images = np.random.default_rng(0).uniform(0.2, 1, (4, 8, 8, 3)).astype(np.float32)
    methods = [
        parse_method(id) for id in ("lrp-0", "lrp-alpha1-beta0", "lrp-alpha2-beta-1", "lrp-epsilon-0.1")
    ]
    maps = Explainer(model, methods, batch_size=4, dtype="float64").explain(images, np.array([0, 1, 2, 0]))
    for method in methods[:3]:
        total = maps[method.id].relevance.sum(axis=1)
        np.testing.assert_allclose(total, maps[method.id].start, rtol=1e-9, err_msg=method.id)
    absorbed = maps["lrp-epsilon-0.1"]
    assert (np.abs(absorbed.relevance.sum(axis=1)) < np.abs(absorbed.start)).all()


def test_relevance_depends_on_the_explained_logit_alone() -> None:
    """Another class gives another map, and the first image's map is not moved by its neighbours."""
    model = paper_like()
    images = images_for(model, 3)
    explainer = Explainer(model, ALL[:1], batch_size=3, dtype="float64")
    first = explainer.explain(images, np.array([0, 1, 2]))["lrp-0"].relevance
    other = explainer.explain(images, np.array([0, 2, 1]))["lrp-0"].relevance
    np.testing.assert_array_equal(first[0], other[0])
    assert np.abs(first[1] - other[1]).max() > 1e-3


def test_progress_is_told_after_each_batch() -> None:
    model = paper_like()
    told: list[tuple[int, int]] = []
    explainer = Explainer(model, ALL[:1], batch_size=2)
    explainer.explain(
        images_for(model, 5), np.zeros(5, np.int64), lambda done, total: told.append((done, total))
    )
    assert told == [(2, 5), (4, 5), (5, 5)]


def test_no_images_give_no_maps() -> None:
    model = paper_like()
    maps = Explainer(model, ALL[:2]).explain(np.zeros((0, 6, 4, 2), np.float32), np.zeros(0, np.int64))
    assert [m.relevance.shape for m in maps.values()] == [(0, 48)] * 2


@pytest.mark.parametrize(
    ("images", "classes", "message"),
    [
        (np.zeros((2, 6, 6, 2), np.float32), [0, 0], r"images must be \[n, 6, 4, 2\]"),
        (np.zeros((2, 6, 4, 2), np.float32), [0], r"classes must be \[2\]"),
        (np.full((2, 6, 4, 2), 255, np.float32), [0, 0], r"\[0, 1\]"),
        (np.full((2, 6, 4, 2), np.nan, np.float32), [0, 0], r"\[0, 1\]"),
        (np.zeros((2, 6, 4, 2), np.float32), [0, 3], r"0\.\.2"),
        (np.zeros((2, 6, 4, 2), np.float32), [-1, 0], r"0\.\.2"),
    ],
)
def test_wrong_inputs_are_refused(images: np.ndarray, classes: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Explainer(paper_like(), ALL[:1]).explain(images, np.array(classes))


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size"):
        Explainer(paper_like(), ALL[:1], batch_size=0)
    with pytest.raises(ValueError, match="float16"):
        Explainer(paper_like(), ALL[:1], dtype="float16")
