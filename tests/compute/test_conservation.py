"""What every network keeps, on random ones: relevance and what is absorbed make up the logit, and more."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.graph.folding import fold_batchnorm
from compute.graph.nodes import LayerGraph, UnsupportedLayer
from compute.graph.operators import forward
from compute.graph.reader import read_model
from compute.lrp import propagate
from compute.lrp.canonical import Passing
from compute.lrp.propagate import CONVENTIONS, explain_batch
from compute.lrp.visit import Ledger
from compute.methods import Method, parse_method
from tests.compute.graphs import residual
from tests.compute.networks import dead_neurons, float64, images_for
from tests.compute.random_networks import CHAINED, Plan, plans

CANONICAL = [
    parse_method(id)
    for id in (
        "lrp-0", "lrp-epsilon-0.01", "lrp-epsilon-rms-0.25", "lrp-alpha1-beta0", "lrp-alpha2-beta-1",
        "lrp-gamma-0.25", "lrp-plus", "lrp-w2", "lrp-flat", "lrp-epsilon-0.000001-alpha2-beta-1-flat",
        "lrp-epsilon-0.000001-gamma-0.25-box",
    )
]  # fmt: skip
PUBLISHED = [
    parse_method(f"published-{id}")
    for id in ("lrp-0", "lrp-epsilon-0.01", "lrp-alpha1-beta0", "lrp-alpha2-beta-1", "lrp-alpha1.5-beta-0.5")
]
SOME = CANONICAL[::2]
CONSERVED = 1e-12
"""Of the largest layer's sum |R|: far below what a forgotten stabiliser of 1e-6 or 1e-7 would leave."""


def examples(count: int) -> Callable[[Any], Any]:
    """As many random networks, the same ones at every run."""
    return settings(max_examples=count, deadline=None, derandomize=True, database=None)


class Run:
    """By method id maps [n, h*w*c], absorbed [3, n] and the largest layer's sum |R| [n]; start logits [n]."""

    def __init__(
        self,
        model: keras.Model,
        methods: list[Method],
        images: np.ndarray,
        classes: np.ndarray,
        nonnegative: bool = True,
        dtype: str = "float64",
    ) -> None:
        graph = read_model(model)
        self.graph = fold_batchnorm(graph) if methods[0].convention == "canonical" else graph
        self.methods = [method for method in methods if not refuses_box(self.graph, method)]
        sizes: list[list[tf.Tensor]] = [[] for _ in self.methods]
        passings = [
            [
                measured(passing, of_method)
                for passing in CONVENTIONS[str(method.convention)](self.graph, method)
            ]
            for method, of_method in zip(self.methods, sizes, strict=True)
        ]
        x, chosen = tf.constant(images, dtype), tf.constant(classes, tf.int64)
        maps, absorbed, start = explain_batch(self.graph, passings, x, chosen, nonnegative)
        ids = [method.id for method in self.methods]
        self.start = start.numpy()
        self.maps = {id: values.numpy() for id, values in zip(ids, maps, strict=True)}
        self.absorbed = {id: values.numpy() for id, values in zip(ids, absorbed, strict=True)}
        self.largest = {
            id: np.max([np.abs(self.maps[id]).sum(axis=1), *of_method], axis=0)
            for id, of_method in zip(ids, sizes, strict=True)
        }

    def gaps(self) -> dict[str, np.ndarray]:
        """|sum + absorbed - start| of the largest layer's sum |R|."""
        return {
            id: np.abs(maps.sum(axis=1) + self.absorbed[id].sum(axis=0) - self.start) / self.largest[id]
            for id, maps in self.maps.items()
        }


def refuses_box(graph: LayerGraph, method: Method) -> bool:
    """Whether the method has a box rule and the network's first layer does not see the image."""
    try:
        CONVENTIONS[str(method.convention)](graph, method)
    except UnsupportedLayer:
        assert method.first is not None and method.first.kind == "box"
        return True
    return False


def measured(passing: Passing, sizes: list[tf.Tensor]) -> Passing:
    """The same, noting the sum |R| of each node's output."""

    def noting(visit: Any, relevance: tf.Tensor, ledger: Ledger) -> list[tf.Tensor]:
        sizes.append(tf.reduce_sum(tf.abs(relevance), list(range(1, len(relevance.shape)))))
        return passing(visit, relevance, ledger)

    return noting


@examples(20)
@given(plan=plans(), negative=st.booleans())
def test_canonical_rules_conserve_relevance(plan: Plan, negative: bool) -> None:
    images, classes = plan.images(2, -1.0 if negative else 0.0), plan.classes(2)
    run = Run(plan.build(), CANONICAL, images, classes, nonnegative=not negative)
    for id, gap in run.gaps().items():
        assert gap.max() <= CONSERVED, id


@examples(10)
@given(plan=plans(CHAINED, heads=("flatten", "max")))
def test_published_rules_conserve_relevance(plan: Plan) -> None:
    run = Run(plan.build(), PUBLISHED, plan.images(2), plan.classes(2))
    for id, gap in run.gaps().items():
        assert gap.max() <= CONSERVED, id


@pytest.mark.parametrize(
    ("column", "build", "id"),
    [
        ("bias", residual, "lrp-epsilon-0.01"),
        ("stabiliser", residual, "lrp-epsilon-0.000001-plus-flat"),
        ("empty", dead_neurons, "lrp-alpha2-beta-1"),
        ("bias", dead_neurons, "published-lrp-alpha2-beta-1"),
        ("stabiliser", dead_neurons, "published-lrp-0"),
        ("empty", dead_neurons, "published-lrp-alpha2-beta-1"),
    ],
)
def test_whatever_the_ledger_forgets_is_missed(
    column: str, build: Callable[[], keras.Model], id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check of conservation can fail: leaving any one entry out leaves a gap of that size."""
    model = build()
    images, classes = images_for(model), np.array([0, 1])
    entries: list[np.ndarray] = []

    def run(forgotten: int) -> np.ndarray:
        class Forgetful(Ledger):
            def totals(self, like: tf.Tensor) -> tf.Tensor:
                entries[:] = [entry.numpy() for entry in getattr(self, column)]
                setattr(self, column, [e for i, e in enumerate(getattr(self, column)) if i != forgotten])
                return super().totals(like)

        monkeypatch.setattr(propagate, "Ledger", Forgetful)
        return Run(model, [parse_method(id)], images, classes).gaps()[id]

    assert run(-1).max() <= CONSERVED
    largest = Run(model, [parse_method(id)], images, classes).largest[id]
    sizes = [np.abs(entry) / largest for entry in entries]
    seen = 0
    for forgotten, size in enumerate(sizes):
        gap = run(forgotten)
        np.testing.assert_allclose(gap, size, rtol=1e-3, atol=CONSERVED)
        seen += gap.max() > CONSERVED
    assert seen


@examples(10)
@given(plan=plans(activations=("relu", "linear"), heads=("flatten", "average")))
def test_lrp_0_is_input_times_gradient(plan: Plan) -> None:
    """Where all is linear, ReLU or pooling; the gradient is that of the Keras model."""
    with float64():
        model = plan.build()
    images, classes = plan.images(3), plan.classes(3)
    run = Run(model, [parse_method("lrp-0")], images, classes)
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = tf.gather(model(x, training=False), classes, axis=1, batch_dims=1)
    gradient = np.asarray(tape.gradient(logits, x))
    product = (images * gradient).reshape(3, -1)
    np.testing.assert_allclose(run.start, logits, rtol=0, atol=1e-9 * np.abs(logits).max())
    np.testing.assert_allclose(run.maps["lrp-0"], product, rtol=0, atol=1e-9 * run.largest["lrp-0"].max())


@examples(10)
@given(plan=plans())
def test_graph_folded_or_not_computes_what_keras_computes(plan: Plan) -> None:
    with float64():
        model = plan.build()
    images = plan.images(2, -1.0)
    graph = read_model(model)
    expected = model(images, training=False).numpy()
    for one in (graph, fold_batchnorm(graph)):
        logits = forward(one, tf.constant(images))
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


@examples(5)
@given(plan=plans())
def test_the_batch_does_not_change_a_map(plan: Plan) -> None:
    """Of 7 images the same maps as of 3 among them, and of 1 alone."""
    model, images, classes = plan.build(), plan.images(7), plan.classes(7)
    whole = Run(model, SOME, images, classes)
    for rows in (slice(2, 5), slice(6, 7)):
        part = Run(model, SOME, images[rows], classes[rows])
        for id, maps in part.maps.items():
            bar = 1e-9 * whole.largest[id].max()
            np.testing.assert_allclose(maps, whole.maps[id][rows], rtol=0, atol=bar, err_msg=id)
            absorbed = whole.absorbed[id][:, rows]
            np.testing.assert_allclose(part.absorbed[id], absorbed, rtol=0, atol=bar, err_msg=id)


@examples(6)
@given(plan=plans())
def test_float32_comes_near_float64(plan: Plan) -> None:
    """Of the largest layer's sum |R|: denominators near zero, which few maps have, take precision."""
    model, images, classes = plan.build(), plan.images(5).astype(np.float32), plan.classes(5)
    fine = Run(model, SOME, images, classes)
    coarse = Run(model, SOME, images, classes, dtype="float32")
    for id, maps in coarse.maps.items():
        assert maps.dtype == np.float32
        difference = np.abs(maps - fine.maps[id]).sum(axis=1) / fine.largest[id]
        assert np.median(difference) <= 1e-5, id
        assert difference.max() <= 1e-3, id
        assert coarse.gaps()[id].max() <= 1e-5, id
