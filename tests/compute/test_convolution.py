"""The fast convolution and its gradients against TensorFlow's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from compute.classifier import build_table2
from compute.convolution import FastConv2D, conv2d_same, fast_twin, is_plain


@pytest.mark.parametrize("kernel_shape", [(3, 3, 2, 5), (5, 3, 2, 4), (1, 1, 2, 3)])
def test_values_and_gradients_equal_tensorflows(kernel_shape):
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(4, 7, 6, 2)))
    kernel = tf.constant(rng.normal(size=kernel_shape))
    weights = tf.constant(rng.normal(size=(4, 7, 6, kernel_shape[-1])))
    results = []
    for function in (conv2d_same, lambda x, k: tf.nn.conv2d(x, k, 1, "SAME")):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = function(x, kernel)
            loss = tf.reduce_sum(y * weights)
        results.append([y, *tape.gradient(loss, [x, kernel])])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize(
    "options", [{"padding": "valid"}, {"strides": 2}, {"dilation_rate": 2}, {"groups": 2}, {"kernel_size": 2}]
)
def test_other_convolutions_stay_as_they_are(options):
    layer = keras.layers.Conv2D(**{"filters": 4, "kernel_size": 3, "padding": "same", **options})
    assert not is_plain(layer)


def test_twin_computes_the_same():
    model = build_table2()
    twin = fast_twin(model)
    assert sum(isinstance(layer, FastConv2D) for layer in twin.layers) == 6
    x = np.random.default_rng(0).random((3, 32, 32, 3), np.float32)
    np.testing.assert_allclose(twin(x), model(x), atol=1e-6)
