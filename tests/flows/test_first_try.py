"""One image from a file: resized, explained, printed, saved; and what cannot be explained."""

import re

import keras
import numpy as np
import pytest
from PIL import Image

from compute.datasets import CIFAR10_CLASSES, load_dataset
from compute.explainer import Explainer
from compute.methods import PAPER_RULES, parse_method
from flows import networks


@pytest.fixture(scope="module")
def samples():
    return load_dataset("cifar10-samples")


@pytest.fixture
def photo(tmp_path, samples):
    """A picture of another size and shape than the network takes."""
    Image.fromarray(samples.pixels[0]).resize((80, 48)).save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def test_a_first_try_prints_and_saves(typed, photo, tmp_path):
    code, out, _ = typed("explain", "--image", photo)
    assert code == 0
    assert "resized from 80 x 48 to the network's 32 x 32 pixels" in out
    assert re.search(r"the network sees cat \(\d+\.\d%\), \w+ \(", out)
    for rule in PAPER_RULES:
        assert rule in out
    saved = np.load(tmp_path / "photo-maps.npz")
    resized = Image.open(photo).convert("RGB").resize((32, 32), Image.Resampling.LANCZOS)
    image = np.asarray(resized, np.float32) / np.float32(255)
    np.testing.assert_array_equal(saved["image"], image)
    model = networks.load("shipped").model
    probabilities = np.exp(saved["logits"]) / np.exp(saved["logits"]).sum()
    np.testing.assert_allclose(probabilities, model(image[None]).numpy()[0], atol=1e-5)
    number = int(probabilities.argmax())
    assert saved["explained_class"] == number
    own = Explainer(model, [parse_method(rule) for rule in PAPER_RULES], 4)
    maps = own.explain(np.repeat(image[None], 3, axis=0), np.full(3, number))
    for rule in PAPER_RULES:
        expected = maps[rule].relevance[1].reshape(32, 32, 3)
        np.testing.assert_allclose(saved[rule], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    sheet = Image.open(tmp_path / "photo-maps.png")
    assert sheet.width > 4 * 192 and sheet.height > 2 * 192


@pytest.mark.parametrize("named", ["dog", "5"])
def test_another_class_is_explained(typed, tmp_path, samples, named):
    Image.fromarray(samples.pixels[0]).save(tmp_path / "cat.png")
    words = ("--method", "gradient", "--method", "lrp-0", "--class", named, "--output", "out")
    code, out, _ = typed("explain", "--image", "cat.png", *words)
    assert code == 0
    assert "resized" not in out
    assert "for the class dog" in out
    saved = np.load(tmp_path / "out.npz")
    assert (tmp_path / "out.png").is_file()
    assert saved["explained_class"] == CIFAR10_CLASSES.index("dog")
    printed = re.search(r"lrp-0\s+│\s+(\S+)\s+│\s+(\S+)\s+│\s+(\S+)\s+│ \((\d+), (\d+), (\d)\) \+", out)
    assert printed
    start, total, absorbed = map(float, printed.groups()[:3])
    assert start == pytest.approx(saved["logits"][5], rel=1e-3)
    assert total == pytest.approx(saved["lrp-0"].sum(), rel=1e-2, abs=1e-2)
    assert total + absorbed == pytest.approx(start, rel=1e-2, abs=1e-2)
    place = np.unravel_index(saved["lrp-0"].argmax(), saved["lrp-0"].shape)
    assert [int(text) for text in printed.groups()[3:]] == list(place)
    assert ("the start logit is negative" in out) == (start < 0)


def test_a_network_of_one_s_own(typed, tmp_path, samples):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    stack = [keras.Input((8, 10, 1)), layers.Flatten(), layers.Dense(3), layers.Softmax()]
    keras.Sequential(stack).save(tmp_path / "own.keras")
    Image.fromarray(samples.pixels[0]).save(tmp_path / "cat.png")
    words = ("--model", "own.keras", "--method", "lrp-0")
    code, out, _ = typed("explain", "--image", "cat.png", *words)
    assert code == 0
    assert re.search(r"the network sees [012] \(", out)
    assert np.load(tmp_path / "cat-maps.npz")["lrp-0"].shape == (8, 10, 1)


def write_text(folder):
    (folder / "a.png").write_text("no picture")


def write_picture(folder):
    Image.new("RGB", (4, 4)).save(folder / "a.png")


def write_deep(folder):
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(folder / "a.png")


def write_five_channels(folder):
    write_picture(folder)
    layers = keras.layers
    stack = [keras.Input((4, 4, 5)), layers.Flatten(), layers.Dense(2)]
    keras.Sequential(stack).save(folder / "five.keras")


def write_two_heads(folder):
    write_picture(folder)
    keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Dense(2)]).save(folder / "pixels.keras")


@pytest.mark.parametrize(
    ("prepare", "words", "said"),
    [
        (None, ["--image", "gone.png"], "there is no image file gone.png"),
        (write_text, ["--image", "a.png"], r"a.png is not a readable image .*give a PNG or JPEG"),
        (write_deep, ["--image", "a.png"], "a.png has more than 8 bits a value: save it as 8-bit"),
        (None, ["demo", "--model", "net.keras"], "--model goes with --image"),
        (write_picture, ["--image", "a.png", "--class", "lion"], "classes are 0 to 9, or one of airplane, "),
        (write_picture, ["--image", "a.png", "--class", "10"], "classes are 0 to 9"),
        (write_picture, ["--image", "a.png", "--method", "lrp-zero"], "unknown method 'lrp-zero'"),
        (write_picture, ["--image", "a.png", "--method", "imported-x"], "imported-x: imported maps"),
        (write_picture, ["--image", "a.png", "--model", "gone.keras"], "no model file gone.keras"),
        (write_five_channels, ["--image", "a.png", "--model", "five.keras"], "images of 5 channels"),
        (write_two_heads, ["--image", "a.png", "--model", "pixels.keras"], "one number a class"),
        (write_picture, ["demo", "--image", "a.png"], r"give a study \(demo\) or --image, not both"),
        (None, ["--method", "lrp-0"], "--method goes with --image"),
    ],
)
def test_what_cannot_be_explained_is_one_message(typed, tmp_path, prepare, words, said):
    if prepare:
        prepare(tmp_path)
    code, _, err = typed("explain", *words)
    assert code == 2
    assert re.search(said, " ".join(err.split()))
    assert "Traceback" not in err


def test_what_is_transparent_is_white(typed, tmp_path, samples):
    hidden = np.dstack([samples.pixels[0], np.zeros((32, 32), np.uint8)])
    Image.fromarray(hidden).save(tmp_path / "hidden.png")
    code, _, _ = typed("explain", "--image", "hidden.png", "--method", "gradient", "--output", "new/seen")
    assert code == 0
    with np.load(tmp_path / "new" / "seen.npz") as saved:
        assert (saved["image"] == 1).all()
    sheet = np.asarray(Image.open(tmp_path / "new" / "seen.png").convert("L"))
    assert (sheet[:, -1] == 255).all()  # the legend ends before the border
