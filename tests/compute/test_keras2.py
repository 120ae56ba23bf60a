"""Networks that Keras 2 saved: the same answers in Keras 3, and files that do not fit."""

import json
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from compute.classifier import ModelError, load_classifier, model_files, model_sha256
from tests.compute.published_network import PUBLISHED, published_network

FILES = Path(__file__).parent / "keras2"
SHAPE = (8, 8, 3)


@pytest.fixture
def copy(tmp_path):
    """The saved networks, to be spoiled."""
    return Path(shutil.copytree(FILES, tmp_path / "copy"))


@pytest.fixture(scope="module")
def answers():
    return np.load(FILES / "answers.npz")


def refused(file, **given):
    with pytest.raises(ModelError) as caught:
        load_classifier(str(file), SHAPE, 5, **given)
    return str(caught.value)


def change(file, change_layers):
    described = json.loads(file.read_text())
    change_layers({layer["config"]["name"]: layer for layer in described["config"]["layers"]})
    file.write_text(json.dumps(described))


@pytest.mark.parametrize(
    ("file", "name"),
    [("small.json", "small"), ("branches.json", "branches"), ("branches-whole.h5", "branches")],
)
def test_answers_are_those_of_keras_2(answers, file, name):
    model = load_classifier(str(FILES / file), SHAPE, 5)
    expected = np.log(answers[name])
    assert expected.std(axis=0).max() > 0.02
    np.testing.assert_allclose(np.log(model(answers["images"])), expected, atol=1e-4)


def test_a_sequential_network_stays_one():
    model = load_classifier(str(FILES / "small.json"), SHAPE, 5)
    assert isinstance(model, keras.Sequential)
    assert [type(layer).__name__ for layer in model.layers][:4] == [
        "ZeroPadding2D", "Conv2D", "BatchNormalization", "LeakyReLU",
    ]  # fmt: skip


def test_weights_stand_beside_or_where_they_are_said_to_be(answers, copy):
    (copy / "small.h5").rename(copy / "trained.h5")
    assert "no weights file" in refused(copy / "small.json")
    assert "`weights` under [model], --weights" in refused(copy / "small.json")
    model = load_classifier(str(copy / "small.json"), SHAPE, 5, str(copy / "trained.h5"))
    np.testing.assert_allclose(model(answers["images"]), answers["small"], rtol=1e-4, atol=1e-6)
    assert "holds its weights itself" in refused(copy / "branches-whole.h5", weights="small.h5")


def test_fingerprint_covers_both_files(copy):
    file, weights = copy / "small.json", copy / "small.h5"
    assert model_files(str(file)) == (file, weights)
    before = model_sha256(str(file))
    assert before == model_sha256(str(FILES / "small.json"))
    with h5py.File(weights, "r+") as content:
        content["dense"].attrs["note"] = "changed"
    changed = model_sha256(str(file))
    file.write_text(file.read_text().replace('"rate": 0.5', '"rate": 0.4'))
    assert len({before, changed, model_sha256(str(file))}) == 3


def test_layers_of_other_names_are_taken_in_order(answers, copy):
    text = (copy / "small.json").read_text()
    (copy / "small.json").write_text(text.replace('"conv2d"', '"first"').replace('"dense"', '"last"'))
    model = load_classifier(str(copy / "small.json"), SHAPE, 5)
    np.testing.assert_allclose(model(answers["images"]), answers["small"], rtol=1e-4, atol=1e-6)


def set_class(name, kind):
    return lambda layers: layers[name].update(class_name=kind)


def set_key(name, key, value):
    return lambda layers: layers[name]["config"].update({key: value})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (set_class("re_lu", "Swirl"), "layer 're_lu' is a Swirl, which has no counterpart in Keras 3"),
        (set_class("re_lu", "Lambda"), "layer 're_lu' is a Lambda, which runs code of its file"),
        (set_class("re_lu", "serialize"), "layer 're_lu' is a serialize, which has no counterpart"),
        (
            set_key("re_lu", "slope", 0.3),
            "layer 're_lu' has slope = 0.3, which ReLU of Keras 3 does not know",
        ),
        (set_key("dense", "activation", "swirl"), "layer 'dense' (Dense) cannot be rebuilt"),
        (set_key("conv2d", "kernel_size", [20, 20]), "small.json cannot be rebuilt"),
        (set_key("conv2d", "filters", 5), "layer 'conv2d' takes kernel (3, 3, 3, 5), the file has kernel:0"),
        (set_key("conv2d", "use_bias", True), "layer 'conv2d' takes kernel (3, 3, 3, 4), bias (4,)"),
    ],
)
def test_what_cannot_be_rebuilt_is_named(copy, spoil, said):
    change(copy / "small.json", spoil)
    message = refused(copy / "small.json")
    assert said in message
    assert str(copy) in message


def test_a_weight_of_another_kind_is_refused(copy):
    """Of the same shape, but not the same thing."""
    with h5py.File(copy / "branches.h5", "r+") as content:
        attributes = content["stem/bn"].attrs
        attributes["weight_names"] = np.asarray(attributes["weight_names"])[[1, 0, 2, 3]]
    assert "layer 'stem/bn' takes gamma (4,), beta (4,)" in refused(copy / "branches.json")


def test_broken_and_foreign_files_are_named(copy):
    (copy / "small.h5").write_bytes((copy / "branches.h5").read_bytes())
    assert "are small.json and small.h5 of one network?" in refused(copy / "small.json")
    (copy / "small.h5").write_bytes(b"no more")
    assert "small.h5 holds no weights as Keras 2 saves them" in refused(copy / "small.json")
    with h5py.File(copy / "small.h5", "w") as content:
        content["x"] = 1
    assert "small.h5 holds no weights as Keras 2 saves them" in refused(copy / "small.json")
    assert "branches.h5 holds no Keras 2 architecture" in refused(copy / "branches.h5")
    for text in ("{", '"x"', "[1]", '{"accuracy": 1}'):
        (copy / "small.json").write_text(text)
        assert "holds no Keras 2 architecture" in refused(copy / "small.json")


def test_keras_3_json_is_refused(copy):
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(5)])
    (copy / "small.json").write_text(model.to_json())
    assert "was not written by Keras 2 (keras_version missing): save the whole network" in refused(
        copy / "small.json"
    )


def test_a_broken_graph_is_named(copy):
    change(copy / "branches.json", lambda layers: layers["add"]["inbound_nodes"][0][0].__setitem__(0, "gone"))
    assert "layer 'add' takes the output of a layer that is not there" in refused(copy / "branches.json")


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"the authors' release is not at {PUBLISHED}")
def test_the_published_network():
    model = published_network()
    assert model.count_params() == 309_290
    assert model.layers[0].name == "conv2d_684"
