"""Reading Keras models, folding BatchNorm, and refusing what has no rule."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from compute.classifier import build_table2
from compute.lrp.graph import (
    BatchNorm,
    Convolution,
    MaxPool,
    ReLU,
    UnsupportedLayer,
    fold_batchnorm,
    nonnegative_inputs,
    read_model,
)
from compute.lrp.operators import forward, logits_function
from tests.compute.networks import NETWORKS, images_for, inputs_of_either_sign, paper_like, randomise, seeded


def without_softmax(model: keras.Sequential) -> keras.Model:
    """The model itself up to its logits, in Keras."""
    last = model.layers[-1]
    if isinstance(last, layers.Softmax):
        return keras.Model(model.inputs[0], model.layers[-2].output)
    if isinstance(last, layers.Dense) and last.activation is keras.activations.softmax:
        last.activation = keras.activations.linear
        return keras.Model(model.inputs[0], last(model.layers[-2].output))
    return model


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("network", NETWORKS)
def test_graph_computes_the_logits_of_the_model(network: str, folded: bool) -> None:
    model = NETWORKS[network]()
    images = images_for(model)
    logits = logits_function(model, folded)(images)
    np.testing.assert_allclose(logits, without_softmax(model)(images, training=False), atol=1e-5)


def test_folded_table2_equals_the_original() -> None:
    model = randomise(build_table2())
    images = np.random.default_rng(0).random((4, 32, 32, 3), np.float32)
    graph = fold_batchnorm(read_model(model))
    assert not any(isinstance(node, BatchNorm) for node in graph.nodes)
    expected = without_softmax(model)(images, training=False)
    np.testing.assert_allclose(forward(graph, tf.constant(images)), expected, atol=1e-4)


def test_logits_function_has_the_gradient_of_the_model() -> None:
    model = randomise(build_table2())
    images = tf.random.stateless_uniform((2, 32, 32, 3), seed=(0, 1))
    gradients = []
    for function in (logits_function(model), without_softmax(model)):
        with tf.GradientTape() as tape:
            tape.watch(images)
            logit = tf.reduce_sum(function(images)[:, 3])
        gradients.append(tape.gradient(logit, images))
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-5)


def test_functional_and_nested_models_read_as_the_same_chain() -> None:
    model = paper_like()
    image = keras.Input((6, 4, 2))
    functional = keras.Model(image, model(image))
    nested = keras.Sequential([keras.Input((6, 4, 2)), keras.Sequential(model.layers[:3]), *model.layers[3:]])
    x = tf.constant(images_for(model))
    for other in (functional, nested):
        graph = read_model(other)
        assert [type(n) for n in graph.nodes] == [type(n) for n in read_model(model).nodes]
        np.testing.assert_array_equal(forward(graph, x), forward(read_model(model), x))


def test_nonnegative_inputs_are_known_behind_relu_and_kept_by_pooling() -> None:
    graph = read_model(paper_like())
    by_node = dict(zip((type(n).__name__ for n in graph.nodes), nonnegative_inputs(graph), strict=True))
    assert by_node == {
        "Convolution": True, "BatchNorm": False, "ReLU": False, "MaxPool": True, "Flatten": True,
        "Dense": True,
    }  # fmt: skip
    graph = read_model(inputs_of_either_sign())
    known = nonnegative_inputs(graph)
    assert not any(
        k for n, k in zip(graph.nodes[1:], known[1:], strict=True) if isinstance(n, Convolution | MaxPool)
    )
    assert not any(nonnegative_inputs(graph, image=False))
    assert not any(isinstance(n, ReLU) for n in graph.nodes)


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (layers.AveragePooling2D(2, name="odd"), "AveragePooling2D"),
        (layers.DepthwiseConv2D(3, name="odd"), "DepthwiseConv2D"),
        (layers.Conv2D(4, 3, groups=2, name="odd"), "groups is 2"),
        (layers.Conv2D(4, 3, activation="tanh", name="odd"), "'tanh'"),
        (layers.Activation("sigmoid", name="odd"), "'sigmoid'"),
        (layers.ReLU(max_value=6, name="odd"), "max_value"),
        (layers.LeakyReLU(name="odd"), "LeakyReLU"),
        (layers.Softmax(name="odd"), "at the end only"),
        (layers.BatchNormalization(axis=1, name="odd"), "axis 1"),
        (layers.Dense(3, name="odd"), "not flat"),
        (layers.MaxPooling2D(2, data_format="channels_first", name="odd"), "channels_first"),
    ],
)
def test_layers_without_a_rule_are_refused_by_name(layer: layers.Layer, named: str) -> None:
    model = keras.Sequential([keras.Input((6, 6, 2)), layer, layers.Flatten(), layers.Dense(3)])
    with pytest.raises(UnsupportedLayer) as error:
        read_model(model)
    assert "'odd'" in str(error.value)
    assert named in str(error.value)
    assert "Supported are" in str(error.value)


def test_branches_and_subclassed_models_are_refused() -> None:
    image = keras.Input((4, 4, 2))
    sides = [layers.Conv2D(2, 3, padding="same")(image) for _ in range(2)]
    outputs = layers.Dense(3)(layers.Flatten()(layers.Add(name="sum")(sides)))
    with pytest.raises(UnsupportedLayer, match=r"'sum' \(Add\)"):
        read_model(keras.Model(image, outputs))

    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(UnsupportedLayer, match="Own"):
        read_model(Own())


def test_models_of_other_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="must be built"):
        read_model(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(ValueError, match=r"\[classes\]"):
        read_model(keras.Sequential([keras.Input((4,)), layers.Dense(3)]))


def test_batchnorm_that_cannot_be_folded_is_named() -> None:
    model = seeded(
        0, layers.Conv2D(2, 3), layers.ReLU(), layers.BatchNormalization(name="late"), layers.Flatten()
    )
    graph = read_model(model)
    with pytest.raises(UnsupportedLayer, match=r"'late'.*follows ReLU"):
        fold_batchnorm(graph)
    model = seeded(0, layers.BatchNormalization(name="first"), layers.Flatten(), layers.Dense(2))
    with pytest.raises(UnsupportedLayer, match=r"'first'.*follows the input"):
        fold_batchnorm(read_model(model))
