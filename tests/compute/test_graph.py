"""Reading Keras models as graphs, folding BatchNorm, and refusing what has no rule."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from compute.classifier import build_table2
from compute.explainer import Explainer
from compute.graph.folding import fold_batchnorm
from compute.graph.nodes import (
    IMAGE,
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Concatenate,
    Convolution,
    Dense,
    Diagonal,
    LayerGraph,
    MaxPool,
    Opaque,
    Reshape,
    UnsupportedLayer,
    ZeroPad,
    nonnegative_inputs,
)
from compute.graph.operators import forward, logits_function, outputs
from compute.graph.reader import read_model
from compute.methods import parse_method
from tests.compute.graphs import GRAPHS, functional
from tests.compute.networks import (
    NETWORKS,
    float64,
    images_for,
    inputs_of_either_sign,
    paper_like,
    randomise,
)

ALL = NETWORKS | GRAPHS


def without_softmax(model: keras.Model) -> keras.Model:
    """The model itself up to its logits, in Keras; a softmax of its last layer is taken away."""
    last = model.layers[-1]
    if isinstance(last, layers.Softmax) or (isinstance(last, layers.Activation) and "softmax" in last.name):
        return keras.Model(model.inputs[0], last.input)
    if getattr(last, "activation", None) is keras.activations.softmax:
        last.activation = keras.activations.linear
    return model


def same_logits(graph: LayerGraph, model: keras.Model, images: np.ndarray, bar: float) -> None:
    """The graph gives what Keras gives, within `bar` of the largest logit."""
    logits = forward(graph, tf.constant(images, model.dtype)).numpy()
    expected = without_softmax(model)(images, training=False).numpy()
    assert logits.dtype == expected.dtype
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(logits, expected, rtol=0, atol=bar * np.abs(expected).max())


def kinds(graph: LayerGraph) -> list[str]:
    return [type(node).__name__ for node in graph.nodes]


def wrapped(build: Callable[[Any], Any], shape: tuple[int, int, int] = (6, 6, 4)) -> keras.Model:
    """A network of float64 in which something stands between convolutions."""
    with float64():
        return functional(
            3, lambda image: build(layers.Conv2D(shape[-1], 3, padding="same")(image)), shape=shape
        )


@pytest.mark.parametrize("network", ALL)
def test_graph_computes_the_logits_of_the_model(network: str) -> None:
    """Canonizer round trip: BatchNorm not touched, and folded backwards, forwards, or kept as a layer."""
    with float64():
        model = ALL[network]()
    graph = read_model(model)
    assert not any(isinstance(node, Opaque) for node in graph.nodes)
    folded = fold_batchnorm(graph)
    assert "BatchNorm" not in kinds(folded)
    for one in (graph, folded):
        same_logits(one, model, images_for(model), 1e-9)
    values = dict(enumerate(outputs(folded, tf.constant(images_for(model), tf.float64))))
    values[IMAGE] = tf.constant(0.0, tf.float64)
    for sources, nonnegative in zip(folded.sources, nonnegative_inputs(folded), strict=True):
        assert not nonnegative or min(float(tf.reduce_min(values[source])) for source in sources) >= 0


def test_where_batchnorm_goes() -> None:
    """Behind a linear layer that nothing else reads: into it. Before linear layers alone: into these."""
    before = read_model(GRAPHS["concatenated"]())
    after = fold_batchnorm(before)
    assert kinds(before).count("BatchNorm") == 3
    assert [i for i, kind in enumerate(kinds(after)) if kind == "Diagonal"] == [4, 6]
    assert after.sources[:3] == ((IMAGE,), (0,), (IMAGE,))  # the first stood before both convolutions
    residual = fold_batchnorm(read_model(GRAPHS["residual"]()))
    assert "Diagonal" not in kinds(residual)
    twice = fold_batchnorm(read_model(GRAPHS["read_twice"]()))
    assert kinds(twice).count("Diagonal") == 2
    separable = fold_batchnorm(read_model(GRAPHS["separable"]()))
    assert kinds(separable).count("Diagonal") == 0


def test_folding_has_the_equations_of_the_literature() -> None:
    """kernel' = kernel gamma / sqrt(variance + epsilon), bias' = (bias - mean) gamma / sqrt(...) + beta."""
    model = paper_like()
    (kernel, bias), batchnorm = model.layers[0].get_weights(), model.layers[1]
    gamma, beta, mean, variance = batchnorm.get_weights()
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + batchnorm.epsilon)
    folded = fold_batchnorm(read_model(model)).nodes[0]
    assert isinstance(folded, Convolution)
    np.testing.assert_allclose(folded.kernel, kernel * scale, rtol=1e-12)
    np.testing.assert_allclose(folded.bias, (bias.astype(np.float64) - mean) * scale + beta, atol=1e-12)


def test_folded_table2_equals_the_original() -> None:
    with float64():
        model = randomise(build_table2())
    images = np.random.default_rng(0).random((4, 32, 32, 3))
    graph = fold_batchnorm(read_model(model))
    assert "BatchNorm" not in kinds(graph) and "Diagonal" not in kinds(graph)
    same_logits(graph, model, images, 1e-9)


@pytest.mark.parametrize("network", ["paper_like", "even_and_dilated", "residual", "grouped", "separable"])
def test_logits_function_has_the_gradient_of_the_model(network: str) -> None:
    """Dilated and grouped convolutions too, whose gradient TensorFlow does not have on every CPU path."""
    model = ALL[network]()
    images = tf.constant(images_for(model))
    gradients = []
    for function in (tf.function(logits_function(model)), without_softmax(model)):
        with tf.GradientTape() as tape:
            tape.watch(images)
            logit = tf.reduce_sum(function(images)[:, 1])
        gradients.append(np.asarray(tape.gradient(logit, images)))
    assert np.abs(gradients[1]).max() > 1e-3
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-5)


def test_functional_and_nested_models_read_as_the_same_chain() -> None:
    model = paper_like()
    image = keras.Input((6, 4, 2))
    called = keras.Model(image, model(image))
    nested = keras.Sequential([keras.Input((6, 4, 2)), keras.Sequential(model.layers[:3]), *model.layers[3:]])
    x = tf.constant(images_for(model))
    for other in (called, nested):
        graph = read_model(other)
        assert kinds(graph) == kinds(read_model(model))
        np.testing.assert_array_equal(forward(graph, x), forward(read_model(model), x))


def test_shared_layers_and_models_stand_once_for_each_call() -> None:
    model = GRAPHS["nested"]()
    graph = read_model(model)
    assert kinds(graph).count("Convolution") == 2 * 1 + 2  # a model and a layer, called twice
    assert kinds(graph).count("Add") == 2 * 1 + 1
    same = [node for node in graph.nodes if isinstance(node, Convolution) and node.kernel.shape[0] == 2]
    assert same[0].name == same[1].name
    np.testing.assert_array_equal(same[0].kernel, same[1].kernel)


def test_what_the_logits_do_not_depend_on_is_left_out() -> None:
    image, inner_image = keras.Input((4, 4, 2)), keras.Input((4, 4, 2))
    sides = [layers.ReLU(name="alive")(inner_image), layers.Permute((2, 1, 3), name="dead")(inner_image)]
    alive, _ = keras.Model(inner_image, sides)(image)
    graph = read_model(keras.Model(image, layers.Dense(3)(layers.Flatten()(alive))))
    assert kinds(graph) == ["Activation", "Reshape", "Dense"]
    assert graph.nodes[0].name == "alive"


def test_models_of_several_inputs_and_outputs_are_opened_within_others() -> None:
    pair = [keras.Input((4, 4, 2)), keras.Input((4, 4, 2))]
    inner = keras.Model(pair, [layers.Add()(pair), layers.Conv2D(1, 3)(pair[1])])

    def build(image: Any) -> Any:
        added, convolved = inner([image, layers.ReLU()(image)])
        return layers.Concatenate()([layers.Flatten()(convolved), layers.Flatten()(added)])

    model = functional(1, build, shape=(4, 4, 2))
    graph = read_model(model)
    assert sorted(kinds(graph)) == sorted(
        ["Activation", "Add", "Convolution", "Reshape", "Reshape", "Concatenate", "Dense"]
    )
    same_logits(graph, model, images_for(model) - 0.5, 1e-5)


def of_unknown_size(x: Any) -> Any:
    """A model within the model that was built without knowing its images' height and width."""
    image = keras.Input((None, None, 4))
    values = layers.MaxPooling2D(2)(layers.Conv2D(3, 3)(image))
    return layers.Reshape((1, -1))(keras.Model(image, layers.GlobalAveragePooling2D()(values))(x))


LAYERS: dict[str, tuple[Callable[[Any], Any], list[type]]] = {
    "add": (lambda x: layers.Add()([x, layers.ReLU()(x), x]), [Activation, Add]),
    "keras.ops.add": (lambda x: keras.ops.add(x, layers.ReLU()(x)), [Activation, Add]),
    "plus sign": (lambda x: x + x, [Add]),
    "concatenate": (lambda x: layers.Concatenate(axis=2)([x, x]), [Concatenate]),
    "keras.ops.concatenate": (lambda x: keras.ops.concatenate([x, x], axis=-1), [Concatenate]),
    "rescaling": (
        lambda x: layers.Rescaling([1.0, 2, 3, 4], offset=[0.0, 1, 2, 3])(x),  # pyright: ignore
        [Diagonal],
    ),
    "batchnorm": (lambda x: layers.BatchNormalization(axis=3, center=False, scale=False)(x), [BatchNorm]),
    "dense": (lambda x: layers.Dense(5, use_bias=False)(x), [Dense]),
    "average pooling": (lambda x: layers.AveragePooling2D(4, strides=3, padding="same")(x), [AveragePool]),
    "global average pooling": (lambda x: layers.GlobalAveragePooling2D()(x), [AveragePool, Reshape]),
    "global max pooling": (lambda x: layers.GlobalMaxPooling2D(keepdims=True)(x), [MaxPool, Reshape]),
    "max pooling": (lambda x: layers.MaxPooling2D(4, strides=(2, 3), padding="same")(x), [MaxPool]),
    "zero padding": (lambda x: layers.ZeroPadding2D(((1, 2), (0, 3)))(x), [ZeroPad]),
    "reshape": (lambda x: layers.Reshape((4, -1, 3))(x), [Reshape]),
    "convolution": (lambda x: layers.Conv2D(5, 2, strides=3)(x), [Convolution]),
    "depthwise by groups": (lambda x: layers.Conv2D(8, 3, groups=4, strides=(2, 1))(x), [Convolution]),
    "dilated groups": (
        lambda x: layers.Conv2D(6, 3, groups=2, dilation_rate=(1, 2), padding="same")(x), [Convolution],
    ),
    "depthwise": (
        lambda x: layers.DepthwiseConv2D(3, depth_multiplier=3, dilation_rate=2, padding="same")(x),
        [Convolution],
    ),
    "strided depthwise": (lambda x: layers.DepthwiseConv2D(2, strides=2, use_bias=False)(x), [Convolution]),
    "separable": (
        lambda x: layers.SeparableConv2D(5, 3, depth_multiplier=2, padding="same", dilation_rate=2)(x),
        [Convolution, Convolution],
    ),
    "a layer as activation": (
        lambda x: layers.Conv2D(2, 3, activation=layers.LeakyReLU(0.25))(x), [Convolution, Activation],
    ),
    "a model of unknown size": (of_unknown_size, [Convolution, MaxPool, AveragePool, Reshape, Reshape]),
    "what only training uses": (
        lambda x: layers.RandomFlip()(layers.AlphaDropout(0.5)(layers.GaussianNoise(1.0)(
            layers.SpatialDropout2D(0.5)(layers.Activation("linear")(layers.Identity()(x)))
        ))), [],
    ),
}  # fmt: skip
"""Something between a convolution and the flattening at the end, and the nodes that stand for it."""


@pytest.mark.parametrize("what", LAYERS)
def test_layers_and_operations_are_read(what: str) -> None:
    build, expected = LAYERS[what]
    model = wrapped(build)
    graph = read_model(model)
    between = [type(node) for node in graph.nodes[1:-1]]
    assert between in (expected, [*expected, Reshape])  # the flattening, where it is needed
    images = images_for(model) - 0.4
    same_logits(fold_batchnorm(graph), model, images, 1e-9)


MONOTONE: dict[str, Callable[[], Any]] = {
    "relu": layers.ReLU,
    "relu, all parameters": lambda: layers.ReLU(max_value=0.8, negative_slope=0.1, threshold=0.2),
    "relu with a threshold": lambda: layers.ReLU(threshold=0.3),
    "leaky relu": lambda: layers.LeakyReLU(0.25),
    "prelu": lambda: layers.PReLU(alpha_initializer="ones", shared_axes=[1, 2]),
    "elu": lambda: layers.ELU(0.3),
    "softplus by name": lambda: layers.Activation("softplus"),
    "operation": lambda: keras.ops.relu,
    "operation with parameters": lambda: lambda x: keras.activations.relu(x, max_value=0.5),
    "leaky operation": lambda: lambda x: keras.ops.leaky_relu(x, 0.25),
    "tanh operation": lambda: keras.activations.tanh,
} | {
    name: lambda name=name: layers.Conv2D(3, 2, activation=name)
    for name in (
        "relu6", "sigmoid", "hard_sigmoid", "exponential", "leaky_relu", "elu", "selu", "celu", "tanh",
        "hard_tanh", "softsign", "log_sigmoid",
    )
}  # fmt: skip


@pytest.mark.parametrize("what", MONOTONE)
def test_monotone_activations_pass_relevance(what: str) -> None:
    """LeakyReLU with a slope that is a float32: TensorFlow keeps it as one."""
    model = wrapped(lambda x: MONOTONE[what]()(x))
    graph = read_model(model)
    (node,) = [node for node in graph.nodes if isinstance(node, Activation)]
    same_logits(graph, model, images_for(model) - 0.4, 1e-9)
    x = tf.linspace(tf.constant(-3.0, tf.float64), 3.0, 400)[:, None, None, None] * tf.ones(4, tf.float64)
    values = node.function(x).numpy().reshape(400, -1)
    assert values.dtype == np.float64
    assert (np.diff(values, axis=0) >= 0).all()
    assert not node.nonnegative or values.min() >= 0
    assert node.nonnegative or values.min() < 0


def test_activations_do_not_round_to_the_precision_of_the_model() -> None:
    """Keras layers would round what they are given."""
    model = functional(1, lambda image: layers.PReLU()(layers.LeakyReLU()(image)))
    graph = read_model(model)
    x = images_for(model).astype(np.float64) - 0.5
    kernel, bias = (np.asarray(weights, np.float64) for weights in model.layers[-1].get_weights())
    alpha = np.asarray(model.layers[2].get_weights()[0], np.float64)
    bent = np.where(x < 0, x * model.layers[1].negative_slope, x)
    expected = np.where(bent < 0, bent * alpha, bent).reshape(2, -1) @ kernel + bias
    np.testing.assert_allclose(forward(graph, tf.constant(x)), expected, rtol=0, atol=1e-12)


def dense_softmax(x: Any) -> Any:
    return layers.Dense(3, activation="softmax")(x)


HEADS: dict[str, Callable[[Any], Any]] = {
    "in the dense layer": dense_softmax,
    "layer": lambda x: layers.Softmax()(layers.Dense(3)(x)),
    "activation layer": lambda x: layers.Activation("softmax")(layers.Dense(3)(x)),
    "operation": lambda x: keras.ops.softmax(layers.Dense(3)(x)),
    "within a model": lambda x: keras.Model(x, dense_softmax(x))(x),
    "none": lambda x: layers.Dense(3)(x),
}


@pytest.mark.parametrize("head", HEADS)
def test_propagation_starts_before_the_softmax(head: str) -> None:
    with float64():
        image = keras.Input((3, 3, 1))
        values = layers.Dense(4, activation="relu")(layers.Flatten()(image))
        model = keras.Model(image, HEADS[head](values))
    graph = read_model(model)
    assert kinds(graph) == ["Reshape", "Dense", "Activation", "Dense"]
    logits = forward(graph, tf.constant(images_for(model), tf.float64)).numpy()
    expected = model(images_for(model), training=False).numpy()
    if head != "none":
        logits = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(logits, expected, rtol=1e-9)


def test_nonnegative_inputs_are_known_behind_relu_and_kept_by_pooling() -> None:
    graph = read_model(paper_like())
    by_node = dict(zip(kinds(graph), nonnegative_inputs(graph), strict=True))
    assert by_node == {
        "Convolution": True, "BatchNorm": False, "Activation": False, "MaxPool": True, "Reshape": True,
        "Dense": True,
    }  # fmt: skip
    graph = read_model(inputs_of_either_sign())
    known = nonnegative_inputs(graph)
    assert not any(
        k for n, k in zip(graph.nodes[1:], known[1:], strict=True) if isinstance(n, Convolution | MaxPool)
    )
    assert not any(nonnegative_inputs(graph, image=False))
    assert "Activation" not in kinds(graph)


class Falling(layers.Layer):
    def call(self, x: Any) -> Any:
        return -x


class MonteCarloDropout(layers.Dropout):
    """Not what it is derived from: it drops in inference too."""

    def call(self, x: Any) -> Any:
        return super().call(x, training=True)


REFUSED: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "type": (lambda x: layers.Permute((2, 1, 3), name="odd")(x), "Permute", "no rule for it"),
    "own layer": (lambda x: Falling(name="odd")(x), "Falling", "no rule for it"),
    "derived layer": (lambda x: MonteCarloDropout(0.5, name="odd")(x), "MonteCarloDropout", "no rule for it"),
    "several inputs": (lambda x: layers.Multiply(name="odd")([x, x]), "Multiply", "of 2 inputs"),
    "operation": (lambda x: x * layers.ReLU()(x), "Multiply", "of 2 inputs"),
    "sum with a number": (lambda x: x + 1.0, "Add", "no rule for it"),
    "product with a number": (lambda x: 2.0 * x, "Multiply", "no rule for it"),
    "broadcast": (
        lambda x: layers.Add(name="odd")([x, layers.GlobalMaxPooling2D(keepdims=True)(x)]), "Add",
        "different shape",
    ),
    "activation": (lambda x: layers.Conv2D(4, 3, activation="gelu", name="odd")(x), "Conv2D", "'gelu'"),
    "own activation": (
        lambda x: layers.Activation(lambda t: -t, name="odd")(x), "Activation", "never to fall",
    ),
    "negative slope": (lambda x: layers.ELU(alpha=-0.2, name="odd")(x), "ELU", "alpha is below 0"),
    "softmax within": (lambda x: layers.Softmax(name="odd")(x), "softmax", "at the end only"),
    "softmax of rows": (lambda x: layers.Softmax(axis=1, name="odd")(x), "Softmax", "axis 1"),
    "batchnorm of rows": (lambda x: layers.BatchNormalization(axis=1, name="odd")(x), "BatchN", "axis 1"),
    "channels first": (
        lambda x: layers.MaxPooling2D(2, padding="same", data_format="channels_first", name="odd")(x),
        "MaxPooling2D", "channels_first",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_rule_is_refused_by_name_and_computed_all_the_same(what: str) -> None:
    """Refused with layer, type and method, before anything is computed."""
    build, kind, reason = REFUSED[what]
    model = functional(5, build, shape=(4, 4, 2))
    graph = read_model(model)
    (opaque,) = [node for node in graph.nodes if isinstance(node, Opaque)]
    assert opaque.name == "odd" or what in ("operation", "sum with a number", "product with a number")
    with pytest.raises(UnsupportedLayer) as error:
        Explainer(model, [parse_method("lrp-epsilon-0.01")])
    assert f"method 'lrp-epsilon-0.01': layer '{opaque.name}' ({kind}" in str(error.value)
    assert reason in str(error.value)
    with pytest.raises(UnsupportedLayer, match=rf"'published-lrp-0': layer '{opaque.name}' \({kind}"):
        Explainer(model, [parse_method("published-lrp-0")])
    if what == "derived layer":  # it draws at every call
        return
    x = tf.random.stateless_uniform((2, 4, 4, 2), seed=(0, 1), minval=-0.3, maxval=0.7)  # without ties
    results = []
    for function in (lambda x: forward(fold_batchnorm(graph), x), lambda x: model(x, training=False)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = function(x)
        results.append((logits.numpy(), np.asarray(tape.gradient(logits, x))))
    np.testing.assert_allclose(results[0][0], results[1][0], atol=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-5)


def test_the_published_convention_refuses_what_the_released_code_does_not_have() -> None:
    model = functional(5, lambda x: layers.Add(name="sum")([x, x]))
    with pytest.raises(UnsupportedLayer, match=r"'published-lrp-0': layer 'sum' \(Add\).*canonical"):
        Explainer(model, [parse_method("published-lrp-0")])


def test_operations_of_several_outputs_are_refused() -> None:
    model = functional(5, lambda x: keras.ops.split(x, 2, axis=-1)[0])  # pyright: ignore
    with pytest.raises(UnsupportedLayer, match=r"\(Split\): it has several outputs"):
        read_model(model)


def test_models_of_other_kind_or_shape_are_refused() -> None:
    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(UnsupportedLayer, match="Own"):
        read_model(Own())
    with pytest.raises(ValueError, match="must be built"):
        read_model(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(ValueError, match=r"\[classes\]"):
        read_model(keras.Sequential([keras.Input((4,)), layers.Dense(3)]))
    with pytest.raises(ValueError, match="fixed size"):
        read_model(keras.Sequential([keras.Input((None, 4, 3)), layers.GlobalMaxPooling2D()]))
