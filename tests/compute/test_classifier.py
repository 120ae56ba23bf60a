"""The classifier: Table 2 to the letter, and models that cannot be used are refused."""

import hashlib

import keras
import numpy as np
import pytest

from compute.classifier import (
    ModelError,
    build_table2,
    describe,
    load_classifier,
    model_files,
    shipped_card,
    shipped_path,
)
from compute.datasets import load_dataset

CIFAR10 = ((32, 32, 3), 10)


def test_table2_layer_by_layer():
    model = build_table2()
    assert model.count_params() == 309_290
    kinds = [type(layer).__name__ for layer in model.layers]
    block = ["Conv2D", "BatchNormalization", "ReLU"] * 2 + ["MaxPooling2D", "Dropout"]
    assert kinds == block * 3 + ["Flatten", "Dense", "Softmax"]
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [32, 32, 64, 64, 128, 128]
    assert {(layer.kernel_size, layer.padding) for layer in convolutions} == {((3, 3), "same")}
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [
        0.2,
        0.3,
        0.4,
    ]
    without_biases = [w for w in model.trainable_weights if not w.path.endswith("bias")]
    assert sum(int(np.prod(w.shape)) for w in without_biases) == 307_936  # as the paper counts


def test_shipped_weights_are_the_card_s():
    card, path = shipped_card(), shipped_path()
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.stat().st_size < 2_000_000
    assert card["parameters"] == 309_290
    assert card["accuracy"]["test"] >= 0.885
    assert card["data"]["tested_on"] == 10_000


def test_shipped_network_knows_the_samples():
    model = load_classifier("shipped", *CIFAR10)
    samples = load_dataset("cifar10-samples")
    predicted = np.asarray(model(samples.pixels.astype(np.float32) / 255)).argmax(axis=1)
    assert (predicted == samples.labels).mean() >= 0.8
    assert describe(model)["parameters"] == 309_290
    assert describe(model)["input_shape"] == [32, 32, 3]


def test_missing_model_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"no model file .*nothing.keras: give a .keras file"):
        model_files(str(tmp_path / "nothing.keras"))


def test_corrupt_model_is_named(tmp_path):
    file = tmp_path / "bad.keras"
    file.write_bytes(b"not a zip file")
    with pytest.raises(ModelError, match=r"bad.keras cannot be loaded as a Keras 3 model in safe mode"):
        load_classifier(str(file), *CIFAR10)


def test_other_shapes_are_refused(tmp_path):
    file = tmp_path / "small.keras"
    keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4, activation="softmax")]
    ).save(file)
    assert load_classifier(str(file), (8, 8, 3), 4).count_params() == 772
    with pytest.raises(
        ModelError, match=r"takes images of shape \(8, 8, 3\), but the dataset has \(32, 32, 3\)"
    ):
        load_classifier(str(file), (32, 32, 3), 4)
    with pytest.raises(ModelError, match=r"outputs of shape \(4,\), but the dataset has 10 classes"):
        load_classifier(str(file), (8, 8, 3), 10)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_named(tmp_path, value):
    file = tmp_path / "diverged.keras"
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4, name="last")]
    )
    kernel, bias = model.layers[-1].get_weights()
    kernel[3, 1] = kernel[7, 2] = value
    model.layers[-1].set_weights([kernel, bias])
    model.save(file)
    said = r"diverged.keras: 2 of the 768 numbers in .*last/kernel are NaN or infinite: training has diverged"
    with pytest.raises(ModelError, match=said):
        load_classifier(str(file))


def test_a_network_of_one_class_is_refused(tmp_path):
    file = tmp_path / "one.keras"
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(1)]).save(file)
    with pytest.raises(ModelError, match="gives one output: a classifier gives one number a class, two at"):
        load_classifier(str(file))


def test_model_with_code_in_it_is_refused(tmp_path):
    file = tmp_path / "lambda.keras"
    keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Lambda(lambda x: x),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ]
    ).save(file)
    with pytest.raises(ModelError, match="in safe mode"):
        load_classifier(str(file), (8, 8, 3), 4)
