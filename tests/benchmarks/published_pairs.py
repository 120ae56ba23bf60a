"""Random pairs of the paper's network for the benchmarks of the attack: an image of CIFAR-10, another class.

Only images that the network gets right, and of each every class but its own. The pairs of one seed
stand in one order, so that more of them contain the fewer.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compute.datasets import load_dataset
from compute.graph.operators import logits_function
from tests.compute.published_network import PUBLISHED, published_network
from tests.shared import CIFAR10

THREADS = 2
SEED = 4
BATCH = 128


@dataclass(frozen=True)
class Pairs:
    """Images float32 [m, 32, 32, 3] in [0, 1], their places in the test set, labels and targets int64 [m]."""

    images: np.ndarray
    image_id: np.ndarray
    labels: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    def of(self, rows: Any) -> Pairs:
        """Some of them."""
        return Pairs(self.images[rows], self.image_id[rows], self.labels[rows], self.targets[rows])


class PublishedNetwork:
    """The released network and the test images that it gets right."""

    def __init__(self) -> None:
        self.model: keras.Model = published_network()
        self.logits_of = logits_function(self.model)
        self._forward: Any = tf.function(self.logits_of, autograph=False)
        test = load_dataset("cifar10", CIFAR10)
        self.images = test.pixels.astype(np.float32) / np.float32(255)
        self.labels = test.labels
        self.correct = np.flatnonzero(self.logits(self.images).argmax(1) == self.labels)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """float32 [n, 10], by a plain forward pass that no attack has a part in."""
        batches = [self._forward(images[i : i + 500]).numpy() for i in range(0, len(images), 500)]
        return np.concatenate(batches)

    def pairs(self, image_id: np.ndarray, targets: np.ndarray) -> Pairs:
        """The pairs of these images and target classes."""
        return Pairs(self.images[image_id], image_id, self.labels[image_id], targets)

    def random_pairs(self, count: int, seed: int = SEED) -> Pairs:
        """So many of all pairs."""
        order = np.random.default_rng(seed).permutation(9 * len(self.correct))[:count]
        image_id = self.correct[order // 9]
        return self.pairs(image_id, (self.labels[image_id] + 1 + order % 9) % 10)


def open_published() -> PublishedNetwork:
    """The network on two cores; ends this program with code 0 and the reason where it is not at hand."""
    for folder in (PUBLISHED, CIFAR10):
        if not folder.is_dir():
            print(f"skipped: there is no {folder}")
            sys.exit(0)
    use_two_cores()
    return PublishedNetwork()


def use_two_cores() -> None:
    """Hold this program, and what it starts, to the same two cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])


def l2(pairs: Pairs, delivered: np.ndarray) -> np.ndarray:
    """Euclidean distance [m] of the delivered images from the originals, in float64."""
    change = delivered.astype(np.float64).reshape(len(pairs), -1) - pairs.images.reshape(len(pairs), -1)
    return np.linalg.norm(change, axis=1)


def show(name: str, figure: float, bar: float, form: str = ".3f", at_least: bool = False) -> bool:
    """Print a figure with its bar; whether it is met."""
    met = figure >= bar if at_least else figure <= bar
    side = "at least" if at_least else "at most"
    print(f"{name}: {figure:{form}} (bar: {side} {bar:{form}}, {'met' if met else 'MISSED'})", flush=True)
    return bool(met)


def load_cache(path: Path | None, pairs: Pairs) -> dict[str, np.ndarray] | None:
    """What a peer did on the first of these pairs, from an earlier run; None where there is none.

    ValueError where the file is of other pairs.
    """
    if path is None or not path.is_file():
        return None
    with np.load(path) as file:
        kept = dict(file)
    for name in ("image_id", "targets"):
        if not np.array_equal(kept[name], getattr(pairs, name)):
            raise ValueError(f"{path} is of other pairs: remove it")
    return kept


def save_cache(path: Path | None, pairs: Pairs, **found: Any) -> None:
    """Keep what a peer did on these pairs."""
    if path is not None:
        np.savez(path, image_id=pairs.image_id, targets=pairs.targets, **found)
