"""Networks of others: what the engine can and cannot take."""

import keras
import numpy as np
import pytest

from compute.graph.nodes import UnsupportedLayer
from compute.methods import parse_method
from flows import networks
from flows.ingest import ingest_images, predict
from flows.lake import Lake
from flows.study import load_study
from flows.versions import recorded


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


def test_batchnorm_behind_an_activation_is_a_layer_of_its_own(late_batchnorm):
    network = networks.load(late_batchnorm, (8, 8, 3), 3)
    images = np.random.default_rng(0).random((5, 8, 8, 3), np.float32)
    probabilities = np.exp(network.logits(images, 4))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, network.model(images), atol=1e-5)
    maps = network.explainer((parse_method("published-lrp-0"),), 4).explain(images, np.zeros(5, np.int64))
    assert np.isfinite(maps["published-lrp-0"].relevance).all()
    (maps,) = network.explainer((parse_method("lrp-0"),), 4).explain(images, np.zeros(5, np.int64)).values()
    total = maps.relevance.sum(axis=1) + maps.absorbed_bias + maps.absorbed_stabiliser + maps.absorbed_empty
    np.testing.assert_allclose(total, maps.start, atol=1e-4)


def test_a_layer_without_a_rule_serves_attacks_and_is_refused_by_name_for_relevance(tmp_path):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, activation="gelu", name="odd"),
            layers.LayerNormalization(),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.save(tmp_path / "odd.keras")
    network = networks.load(str(tmp_path / "odd.keras"), (8, 8, 3), 3)
    images = np.random.default_rng(0).random((5, 8, 8, 3), np.float32)
    probabilities = np.exp(network.logits(images, 4))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, network.model(images), atol=1e-5)
    with pytest.raises(UnsupportedLayer, match=r"method 'lrp-0': layer 'odd' \(Conv2D\).*'gelu'"):
        network.explainer((parse_method("lrp-0"),), 4)


def test_a_study_with_a_method_that_cannot_explain_its_network_stops_before_any_work(tmp_path):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(2, 3, activation="relu"),
            layers.LayerNormalization(name="odd"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.save(tmp_path / "odd.keras")
    text = 'name = "odd"\nmethods = ["gradient", "lrp-plus"]\n[model]\nfile = "odd.keras"\n'
    (tmp_path / "odd.toml").write_text(text)
    study, lake = load_study(str(tmp_path / "odd.toml")), Lake(str(tmp_path / "lake"))
    count = ingest_images(study, lake)
    with pytest.raises(UnsupportedLayer, match=r"method 'lrp-plus': layer 'odd' \(LayerNormalization\)"):
        predict(study, lake, count)
    assert not (tmp_path / "lake" / "predictions").exists()
    fit = study.model_copy(update={"methods": ("gradient",)})
    predict(fit, lake, count)
    assert (tmp_path / "lake" / "predictions").exists()


@pytest.mark.parametrize(("device", "images"), [("CPU", 64), ("GPU", 512)])
def test_the_batch_size_of_a_study_that_has_none_follows_the_device(monkeypatch, device, images):
    found = ["one"] if device == "GPU" else []
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda kind: found)
    given = load_study("demo")
    free = given.model_copy(update={"batch_size": None})
    assert (networks.batch_size(given), networks.batch_size(free)) == (32, images)
    assert (recorded(given)["batch_size"], recorded(free)["batch_size"]) == (32, images)
    assert recorded(free)["device"] == device
