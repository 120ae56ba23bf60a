"""The authors' released network and images, where they are at hand beside the repository."""

from __future__ import annotations

import io
import json
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
from keras import layers
from PIL import Image

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
PUBLISHED = SHARED / "data" / "published"
MAPS = SHARED / "reference" / "published_relevance.npz"


def published_network() -> keras.Sequential:
    """The Keras 2 description rebuilt layer by layer, with the released weights."""
    stem = PUBLISHED / "finalCNN_250_160_0.001_BNL"
    described = json.loads(stem.with_name(stem.name + ".json").read_text())["config"]["layers"]
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), *(rebuild(d["class_name"], d["config"]) for d in described)]
    )
    model.load_weights(stem.with_name(stem.name + ".h5"))
    return model


def rebuild(kind: str, config: dict) -> layers.Layer:
    if kind == "Conv2D":
        return layers.Conv2D(
            config["filters"], config["kernel_size"], config["strides"], config["padding"],
            activation=config["activation"],
        )  # fmt: skip
    if kind == "BatchNormalization":
        return layers.BatchNormalization(epsilon=config["epsilon"])
    if kind == "Activation":
        return layers.Activation(config["activation"])
    if kind == "MaxPooling2D":
        return layers.MaxPooling2D(config["pool_size"], config["strides"], config["padding"])
    if kind == "Dropout":
        return layers.Dropout(config["rate"])
    if kind == "Dense":
        return layers.Dense(config["units"], activation=config["activation"])
    return {"Flatten": layers.Flatten, "Softmax": layers.Softmax}[kind]()


def original_images(image_ids: np.ndarray) -> np.ndarray:
    """CIFAR-10 test images float64 [n, 32, 32, 3] in [0, 1], by row number."""
    table = pq.read_table(SHARED / "data" / "cifar10" / "test-00000-of-00001.parquet", columns=["img"])
    return np.stack([decode(io.BytesIO(table["img"][int(i)].as_py()["bytes"])) for i in image_ids])


def adversarial_images(image_ids: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The released adversarial examples float64 [n, 32, 32, 3] in [0, 1]."""
    folder = PUBLISHED / "adversarial_examples" / "Test"
    names = [folder / f"target_{t}" / f"img_{i}_t{t}.png" for i, t in zip(image_ids, targets, strict=True)]
    return np.stack([decode(name) for name in names])


def decode(png: Path | io.BytesIO) -> np.ndarray:
    with Image.open(png) as image:
        return np.asarray(image.convert("RGB"), np.float64) / 255
