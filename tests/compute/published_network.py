"""The authors' released network and images, where they are at hand beside the repository."""

from __future__ import annotations

import io
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from compute.classifier import load_classifier

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
PUBLISHED = SHARED / "data" / "published"
MAPS = SHARED / "reference" / "published_relevance.npz"


def published_network() -> keras.Model:
    """The released network with its weights."""
    return load_classifier(str(PUBLISHED / "finalCNN_250_160_0.001_BNL.json"), (32, 32, 3), 10)


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
