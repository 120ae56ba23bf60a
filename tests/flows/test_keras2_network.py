"""A network that Keras 2 saved, in the steps of a study."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows import networks
from flows.lake import Lake
from flows.plan import Plan
from flows.study import parse_study

FILES = Path(__file__).parents[1] / "compute" / "keras2"


@pytest.mark.parametrize("name", ["small", "branches"])
def test_logits_are_those_of_keras_2(name):
    answers = np.load(FILES / "answers.npz")
    network = networks.load(str(FILES / f"{name}.json"), (8, 8, 3), 5)
    logits = network.logits(answers["images"], 4).astype(np.float64)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(logs, np.log(answers[name]), atol=1e-4)


def test_evaluate_takes_both_files(typed, tmp_path):
    model, weights = tmp_path / "net.json", tmp_path / "elsewhere.h5"
    model.write_text((FILES / "small.json").read_text())
    weights.write_bytes((FILES / "small.h5").read_bytes())
    pixels = np.random.default_rng(3).integers(0, 256, (12, 8, 8, 3), np.uint8)
    predicted = (
        networks.load(str(model), (8, 8, 3), 5, str(weights)).logits(pixels / np.float32(255), 4).argmax(1)
    )
    for i, image in enumerate(pixels):
        label = predicted[i] if i < 9 else (predicted[i] + 1) % 5
        (tmp_path / "images" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "images" / str(label) / f"{i}.png")
    for label in range(5):
        (tmp_path / "images" / str(label)).mkdir(exist_ok=True)
    words = ("evaluate", "--model", model, "--dataset", tmp_path / "images")
    out = typed(*words, "--weights", weights)[1]
    assert re.search(r"accuracy 0\.7500 \(9 of 12\)", out)
    code, _, err = typed(*words)
    assert code == 2
    assert "no weights file" in err


def test_a_study_is_of_both_files(tmp_path):
    model, weights = tmp_path / "net.json", tmp_path / "trained.h5"
    model.write_text((FILES / "small.json").read_text())
    weights.write_bytes((FILES / "small.h5").read_bytes())
    text = 'name = "x"\nmethods = ["lrp-0"]\n[model]\nfile = "net.json"\nweights = "trained.h5"\n'
    made_from = [Plan(parse_study(text, "s.toml", tmp_path), Lake(str(tmp_path))).model_made_from]
    weights.write_bytes((FILES / "small.h5").read_bytes() + b" ")
    made_from.append(Plan(parse_study(text, "s.toml", tmp_path), Lake(str(tmp_path))).model_made_from)
    assert made_from[0] != made_from[1]
