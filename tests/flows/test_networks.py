"""Networks of others: what the engine can and cannot take."""

import keras
import numpy as np
import pytest

from compute.lrp.graph import UnsupportedLayer
from compute.methods import parse_method
from flows import networks


@pytest.fixture
def late_batchnorm(tmp_path):
    """BatchNorm behind the activation: no linear layer takes it up."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.save(tmp_path / "late.keras")
    return str(tmp_path / "late.keras")


def test_batchnorm_behind_an_activation_serves_attacks_and_published_methods(late_batchnorm):
    network = networks.load(late_batchnorm, (8, 8, 3), 3)
    images = np.random.default_rng(0).random((5, 8, 8, 3), np.float32)
    probabilities = np.exp(network.logits(images, 4))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, network.model(images), atol=1e-5)
    maps = network.explainer((parse_method("published-lrp-0"),), 4).explain(images, np.zeros(5, np.int64))
    assert np.isfinite(maps["published-lrp-0"].relevance).all()
    with pytest.raises(UnsupportedLayer, match="batch_normalization"):
        network.explainer((parse_method("lrp-0"),), 4)
