"""Methods beside LRP against their definitions: finite differences, loops, closed forms."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from statistics import NormalDist

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from compute.attributions.gradcam import bilinear, feature_node, node_shapes
from compute.attributions.network import Network, UnsupportedMethod
from compute.attributions.occlusion import places
from compute.attributions.registry import FAMILIES, attributions
from compute.graph.folding import fold_batchnorm
from compute.graph.nodes import LayerGraph, UnsupportedLayer
from compute.graph.operators import forward
from compute.graph.reader import read_model
from compute.maps import RawMaps
from compute.methods import NUMERICS_VERSION, parse_method
from tests.compute.networks import NETWORKS, randomise, seeded


def explain(
    network: keras.Model | LayerGraph, id: str, images: np.ndarray, classes: list[int], dtype: str = "float64"
) -> RawMaps:
    graph = network if isinstance(network, LayerGraph) else read_model(network)
    attribute = attributions(graph, [parse_method(id)], len(images), dtype)[id]
    return attribute(images.astype(dtype), np.array(classes))


def random_images(network: keras.Model, count: int, seed: int = 0) -> np.ndarray:
    """Without ties in pooling, and nowhere at the kink of a ReLU."""
    return np.random.default_rng(seed).random((count, *network.input_shape[1:]))


def logits(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """float64 [n, k]."""
    return forward(read_model(network), tf.constant(images, tf.float64)).numpy()


def finite_differences(network: keras.Model, image: np.ndarray, of_class: int) -> np.ndarray:
    """Central differences of the class's logit, one component after the other."""
    step = 1e-6 * np.eye(image.size).reshape(-1, *image.shape)
    above, below = (logits(network, image + sign * step)[:, of_class] for sign in (1, -1))
    return (above - below) / 2e-6


def linear() -> keras.Model:
    return seeded(11, layers.Conv2D(2, 3, padding="same"), layers.Flatten(), layers.Dense(3))


def with_layer_norm() -> keras.Model:
    """A layer that no relevance rule knows, and an activation that falls; a seed whose Grad-CAM is not 0."""
    return seeded(
        16, layers.Conv2D(3, 3, activation="gelu"), layers.LayerNormalization(dtype="float64"),
        layers.Flatten(), layers.Dense(3),
    )  # fmt: skip


def residual(activation: str = "relu", pooling: type = layers.MaxPooling2D) -> keras.Model:
    keras.utils.set_random_seed(13)
    image = keras.Input((6, 6, 2))
    a = layers.Conv2D(4, 3, padding="same", activation=activation)(image)
    b = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(a))
    c = layers.Activation(activation)(layers.Add()([a, b]))
    pooled = layers.GlobalAveragePooling2D()(pooling(2)(c))
    return randomise(keras.Model(image, layers.Dense(3, activation="softmax")(pooled)), 13)


ALL_NETWORKS: list[Callable[[], keras.Model]] = [*NETWORKS.values(), linear, with_layer_norm, residual]


@pytest.mark.parametrize("build", ALL_NETWORKS, ids=lambda build: build.__name__)
def test_gradient_is_the_slope_of_the_logit(build: Callable[[], keras.Model]) -> None:
    network = build()
    images = random_images(network, 2)
    maps = explain(network, "gradient", images, [0, 2])
    for image, of_class, relevance in zip(images, (0, 2), maps.relevance, strict=True):
        np.testing.assert_allclose(relevance, finite_differences(network, image, of_class), atol=1e-7)
    np.testing.assert_allclose(maps.start, logits(network, images)[[0, 1], [0, 2]], rtol=1e-12)
    assert np.isnan([maps.absorbed_bias, maps.absorbed_stabiliser, maps.absorbed_empty]).all()


def test_input_x_gradient_is_their_product() -> None:
    network = residual()
    images = random_images(network, 3)
    slope = explain(network, "gradient", images, [0, 1, 2]).relevance
    product = explain(network, "input-x-gradient", images, [0, 1, 2]).relevance
    np.testing.assert_allclose(product, images.reshape(3, -1) * slope, rtol=1e-12)


def one_hidden_layer(activation: str) -> keras.Model:
    return seeded(
        14, layers.Flatten(), layers.Dense(4, activation=activation), layers.Dense(2), shape=(2, 2, 1)
    )


def test_smoothgrad_against_its_expectation() -> None:
    """E[relu'(w (x + noise) + b)] is the normal distribution's share above 0. At the box's corners a clipped
    image would give another mean."""
    network, sigma, samples = one_hidden_layer("relu"), 0.3, 1000
    images = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [0.5, 0.5, 0.2, 0.8]]).reshape(3, 2, 2, 1)
    maps = explain(network, f"smoothgrad-n{samples}-sigma{sigma}", images, [0, 1, 1])
    w, b, v, _ = (np.asarray(weight, np.float64) for weight in network.get_weights())
    for image, of_class, relevance in zip(images, (0, 1, 1), maps.relevance, strict=True):
        distance = (image.ravel() @ w + b) / (sigma * np.linalg.norm(w, axis=0))
        active = np.array([NormalDist().cdf(d) for d in distance])
        expected = w @ (active * v[:, of_class])
        spread = np.abs(w) @ (np.sqrt(active * (1 - active)) * np.abs(v[:, of_class])) / np.sqrt(samples)
        assert (np.abs(relevance - expected) < 4 * spread).all()
    np.testing.assert_allclose(maps.start, logits(network, images)[[0, 1, 2], [0, 1, 1]], rtol=1e-12)


def test_smoothgrad_is_the_mean_gradient_at_images_with_the_same_noise() -> None:
    network = residual()
    images = random_images(network, 2)
    maps = explain(network, "smoothgrad-n3-sigma0.2", images, [1, 2]).relevance
    noise = [0.2 * np.random.default_rng([0, k]).standard_normal((6, 6, 2)) for k in range(3)]
    for image, of_class, relevance in zip(images, (1, 2), maps, strict=True):
        slopes = [finite_differences(network, image + draw, of_class) for draw in noise]
        np.testing.assert_allclose(relevance, np.mean(slopes, axis=0), atol=1e-7)


def test_images_that_hardly_differ_have_smoothgrad_maps_that_hardly_differ() -> None:
    """With draws of their own the maps of 5 samples would differ by about half."""
    network = one_hidden_layer("softplus")
    image = random_images(network, 1)
    maps = explain(network, "smoothgrad-n5-sigma0.5", np.concatenate([image, image + 1e-6]), [0, 0]).relevance
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-4)


def completeness_error(network: keras.Model, samples: int) -> np.ndarray:
    """[n], what is missing of the start logit, in units of the map's sum of absolute values."""
    images = random_images(network, 4)
    maps = explain(network, f"integrated-gradients-n{samples}", images, [0, 1, 2, 0])
    black = logits(network, np.zeros_like(images))[range(4), [0, 1, 2, 0]]
    np.testing.assert_allclose(maps.absorbed_bias, black, rtol=1e-12)
    assert not maps.absorbed_stabiliser.any() and not maps.absorbed_empty.any()
    missing = maps.start - maps.relevance.sum(axis=1) - maps.absorbed_bias
    return np.abs(missing) / np.abs(maps.relevance).sum(axis=1)


def test_integrated_gradients_of_a_linear_network_are_exact_with_one_node() -> None:
    assert completeness_error(linear(), 1).max() < 1e-12
    network = linear()
    images = random_images(network, 2)
    maps = explain(network, "integrated-gradients-n1", images, [0, 1]).relevance
    product = explain(network, "input-x-gradient", images, [0, 1]).relevance
    np.testing.assert_allclose(maps, product, rtol=1e-9)


def test_integrated_gradients_of_a_smooth_network_converge_fast() -> None:
    network = residual("softplus", layers.AveragePooling2D)
    few, more, many = (completeness_error(network, n).max() for n in (1, 2, 8))
    assert few > 1e-4 > more > 1e-9 > many


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_integrated_gradients_are_complete_on_relu_networks(build: Callable[[], keras.Model]) -> None:
    """Kinks on the way: the error falls with the number of nodes."""
    network = build()
    few, many = (completeness_error(network, n) for n in (4, 100))
    assert many.max() < 0.01 and many.mean() <= few.mean() / 3


def relu_network() -> keras.Model:
    return seeded(
        15, layers.Conv2D(3, 2, activation="relu"), layers.Flatten(), layers.Dense(5, activation="relu"),
        layers.Dense(3), shape=(4, 3, 2),
    )  # fmt: skip


def test_guided_backpropagation_against_loops() -> None:
    """Neuron by neuron: what comes from above passes where it and the neuron's input are positive."""
    network = relu_network()
    kernel, bias, w, b, v, _ = (np.asarray(weight, np.float64) for weight in network.get_weights())
    images = random_images(network, 3)
    maps = explain(network, "guided-backpropagation", images, [0, 1, 2])
    plain = explain(network, "gradient", images, [0, 1, 2])
    for image, of_class, relevance in zip(images, range(3), maps.relevance, strict=True):
        z = np.zeros((3, 2, 3))
        for y, x, d in np.ndindex(z.shape):
            z[y, x, d] = (image[y : y + 2, x : x + 2] * kernel[..., d]).sum() + bias[d]
        hidden = np.maximum(z, 0).ravel() @ w + b
        from_top = [max(v[j, of_class], 0) if hidden[j] > 0 else 0 for j in range(5)]
        signal = (w @ np.array(from_top)).reshape(z.shape)
        expected = np.zeros_like(image)
        for y, x, d in np.ndindex(z.shape):
            if z[y, x, d] > 0 and signal[y, x, d] > 0:
                expected[y : y + 2, x : x + 2] += signal[y, x, d] * kernel[..., d]
        np.testing.assert_allclose(relevance, expected.ravel(), rtol=1e-9, atol=1e-12)
    assert np.abs(maps.relevance - plain.relevance).max() > 1e-2
    np.testing.assert_allclose(maps.start, plain.start, rtol=1e-12)


def test_guided_backpropagation_refuses_other_activations() -> None:
    bend = layers.Activation("tanh", name="bend")
    norm = layers.LayerNormalization()
    refused = {
        r"'bend' \(tanh\): only ReLU": seeded(
            1, layers.Conv2D(2, 3), bend, layers.Flatten(), layers.Dense(2)
        ),
        r"LayerNormalization\): it may hold": seeded(1, norm, layers.Flatten(), layers.Dense(2)),
    }
    for said, network in refused.items():
        with pytest.raises(UnsupportedLayer, match=f"'guided-backpropagation': layer .*{said}"):
            explain(network, "guided-backpropagation", np.zeros((1, 6, 5, 2)), [0])


def test_grad_cam_against_loops() -> None:
    network = seeded(
        16,
        layers.Conv2D(3, 3, strides=2, activation="relu"),
        layers.Flatten(),
        layers.Dense(3),
        shape=(9, 7, 2),
    )
    kernel, bias, w, _ = (np.asarray(weight, np.float64) for weight in network.get_weights())
    images = random_images(network, 3)
    maps = explain(network, "grad-cam", images, [0, 1, 2]).relevance.reshape(3, 9, 7, 2)
    for image, of_class, relevance in zip(images, range(3), maps, strict=True):
        features = np.zeros((4, 3, 3))
        for y, x, d in np.ndindex(features.shape):
            window = image[2 * y : 2 * y + 3, 2 * x : 2 * x + 3]
            features[y, x, d] = max(0, (window * kernel[..., d]).sum() + bias[d])
        slope = w[:, of_class].reshape(features.shape)
        weights = [slope[..., d].sum() / 12 for d in range(3)]
        coarse = np.maximum(0, sum(weights[d] * features[..., d] for d in range(3)))
        expected = tf.image.resize(coarse[None, ..., None], (9, 7), "bilinear")[0].numpy()
        np.testing.assert_allclose(relevance, np.repeat(expected, 2, axis=-1), atol=1e-6)
    assert maps.min() == 0 and maps.max() > 0.01


@pytest.mark.parametrize(("size", "target"), [(8, 32), (7, 30), (1, 5), (5, 5), (6, 4)])
def test_bilinear_upsampling_is_that_of_tensorflow(size: int, target: int) -> None:
    values = np.random.default_rng(0).random((1, size, size + 1, 1))
    expected = tf.image.resize(values, (target, target + 3), "bilinear").numpy()[0, ..., 0]
    result = bilinear(size, target) @ values[0, ..., 0] @ bilinear(size + 1, target + 3).T
    np.testing.assert_allclose(result, expected, atol=1e-6)


def followed(network: keras.Model) -> str:
    graph = read_model(network)
    node = feature_node(graph, node_shapes(Network(graph, 1, "float32")))
    assert node is not None
    return f"{type(graph.nodes[node]).__name__} {graph.nodes[node].name}"


def test_feature_maps_are_followed_as_long_as_they_keep_their_pixels() -> None:
    image = keras.Input((8, 8, 2))
    a = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    b = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(a))
    c = layers.Activation("swish", name="bend")(layers.Add()([a, b]))
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(c)
    head = layers.Flatten()(layers.Conv2D(3, 1)(pooled))
    assert followed(keras.Model(image, head)) == "Opaque bend"

    d = layers.Concatenate(name="both")([a, layers.Conv2D(4, 3, padding="same", activation="gelu")(a)])
    assert followed(keras.Model(image, layers.Dense(3)(layers.Flatten()(d)))) == "Concatenate both"

    e = layers.Conv2D(3, 3, padding="same", name="read_twice")(image)
    f = layers.Concatenate()([layers.ReLU()(e), layers.Activation("tanh")(e)])
    assert followed(keras.Model(image, layers.Dense(3)(layers.Flatten()(f)))) == "Convolution read_twice"

    g = layers.LayerNormalization(name="norm")(layers.Conv2D(3, 3)(image))
    assert followed(keras.Model(image, layers.Dense(3)(layers.Flatten()(g)))) == "Opaque norm"


def test_grad_cam_is_the_same_with_batchnorm_folded() -> None:
    graph, images = read_model(residual()), random_images(residual(), 3)
    separate = explain(graph, "grad-cam", images, [0, 1, 2]).relevance
    folded = explain(fold_batchnorm(graph), "grad-cam", images, [0, 1, 2]).relevance
    np.testing.assert_allclose(folded, separate, rtol=1e-9, atol=1e-12)
    assert separate.max() > 0.01


def test_grad_cam_refuses_a_network_without_feature_maps() -> None:
    dense = seeded(1, layers.Flatten(), layers.Dense(3))
    with pytest.raises(UnsupportedMethod, match="'grad-cam': the network has no convolution"):
        explain(dense, "grad-cam", np.zeros((1, 6, 5, 2)), [0])


@pytest.mark.parametrize(("window", "stride"), [(2, 1), (3, 2), (4, 3), (5, 5), (1, 1)])
def test_occlusion_against_a_loop_over_pixels(window: int, stride: int) -> None:
    network = relu_network() if window < 4 else residual()
    images, classes = random_images(network, 2), [0, 2]
    height, width, channels = network.input_shape[1:]
    maps = explain(network, f"occlusion-window{window}-stride{stride}", images, classes)
    relevance = maps.relevance.reshape(2, height, width, channels)
    tops, lefts = (
        [place for place in range(size - window + 1) if place % stride == 0 or place == size - window]
        for size in (height, width)
    )
    squares = [(top, left) for top in tops for left in lefts]
    for image, of_class, start, values in zip(images, classes, maps.start, relevance, strict=True):
        occluded = np.stack([image] * len(squares))
        for filled, (top, left) in zip(occluded, squares, strict=True):
            filled[top : top + window, left : left + window, :] = 0.5
        losses = start - logits(network, occluded)[:, of_class]
        for y, x in np.ndindex(height, width):
            covering = [
                loss
                for loss, (top, left) in zip(losses, squares, strict=True)
                if top <= y < top + window and left <= x < left + window
            ]
            np.testing.assert_allclose(values[y, x], np.mean(covering), rtol=1e-9, atol=1e-12)


@given(st.data())
def test_windows_cover_every_pixel_and_stay_inside(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 40))
    window = data.draw(st.integers(1, size))
    stride = data.draw(st.integers(1, window))
    begins = places(size, window, stride)
    covered = {pixel for begin in begins for pixel in range(begin, begin + window)}
    assert covered == set(range(size))
    assert all(b - a <= stride for a, b in pairwise(begins))


@pytest.mark.parametrize("id", ["occlusion-window6-stride2", "lime-n10-window6"])
def test_windows_larger_than_the_image_are_refused(id: str) -> None:
    with pytest.raises(UnsupportedMethod, match=rf"'{id}': its window of 6 pixels .* 6 x 5"):
        explain(linear(), id, np.zeros((1, 6, 5, 2)), [0])


def test_every_family_has_its_function() -> None:
    here = {name for name in NUMERICS_VERSION if not name.startswith("lrp-")} - {"imported"}
    assert set(FAMILIES) == here
