"""Training through its flow: model, card and checkpoints, and going on from one."""

import hashlib
import json

import keras
import numpy as np
import pytest

from compute.training import Recipe
from flows import train as training
from flows.errors import UserError
from flows.pipeline import train
from tests.compute.test_datasets import write_hub

RECIPE = Recipe(epochs=2, batch_size=16, held_out=8)


@pytest.fixture
def data(tmp_path):
    """Forty training and ten test images of plain colours, one a class."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (10, 3))
    for split, count in (("train", 40), ("test", 10)):
        labels = np.arange(count) % 10
        noise = rng.integers(-9, 10, (count, 32, 32, 3))
        pixels = np.clip(colours[labels][:, None, None] + noise, 0, 255).astype(np.uint8)
        write_hub(tmp_path, pixels, labels.tolist(), split)
    return tmp_path


@pytest.mark.prefect
def test_model_and_card_are_written(data, tmp_path, prefect_server):
    output = tmp_path / "net.keras"
    card = train("cifar10", str(data), str(output), RECIPE.as_dict())
    assert json.loads((tmp_path / "net.json").read_text()) == card
    assert card["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    assert (card["parameters"], card["epochs"], card["recipe"]["batch_size"]) == (309_290, 2, 16)
    assert card["data"] == {"dataset": "cifar10", "fitted_on": 32, "held_out": 8, "tested_on": 10}
    assert len(card["held_out_history"]) == 2
    model = keras.saving.load_model(output)
    assert getattr(model, "optimizer", None) is None
    assert model is not None
    assert not any("Fast" in type(layer).__name__ for layer in model.layers)


def test_training_goes_on_from_its_checkpoint(data, tmp_path, monkeypatch):
    class Killed(Exception):
        pass

    save = training._save

    def save_then_die(twin, folder, made_from, history):
        save(twin, folder, made_from, history)
        if len(history) == 1:
            raise Killed

    output = tmp_path / "net.keras"
    monkeypatch.setattr(training, "_save", save_then_die)
    with pytest.raises(Killed):
        training.train_classifier("cifar10", str(data), str(output), RECIPE)
    monkeypatch.undo()
    folder = tmp_path / "net.keras.checkpoint"
    assert sorted(p.name for p in folder.iterdir()) == ["epoch-001.weights.h5", "state.json"]
    with pytest.raises(UserError, match="checkpoint of another recipe or dataset"):
        training.train_classifier("cifar10", str(data), str(output), Recipe(epochs=3))
    weights = (folder / "epoch-001.weights.h5").read_bytes()
    (folder / "epoch-001.weights.h5").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"epoch-001\.weights\.h5 cannot be read"):
        training.train_classifier("cifar10", str(data), str(output), RECIPE)
    (folder / "epoch-001.weights.h5").write_bytes(weights)
    assert training.train_classifier("cifar10", str(data), str(output), RECIPE)["epochs"] == 2
    assert not folder.exists()


def test_output_must_be_a_keras_file(tmp_path):
    with pytest.raises(UserError, match=r"must end in \.keras"):
        training.train_classifier("cifar10", None, str(tmp_path / "net.h5"), RECIPE)
