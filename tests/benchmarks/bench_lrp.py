"""Maps a second of the seven rules, against one plain input gradient an image in the same run.

Run from the repository root: python -m tests.benchmarks.bench_lrp [images]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compute.classifier import build_table2
from compute.lrp.propagate import Explainer
from compute.methods import PAPER_RULES, parse_method
from compute.ranking import finish_maps

BATCH = 64


def best_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Shortest of some runs, after one that compiles."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def input_gradients(model: keras.Model, images: np.ndarray) -> Callable[[], object]:
    """The gradient of the top probability by the image, batch after batch, as Keras computes it."""

    @tf.function
    def gradient(x: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            output = tf.reduce_max(model(x, training=False), axis=1)
        return tape.gradient(output, x)

    return lambda: [
        gradient(tf.constant(images[i : i + BATCH])).numpy() for i in range(0, len(images), BATCH)
    ]


def main(count: int = 256) -> None:
    model = build_table2()
    rng = np.random.default_rng(0)
    images, classes = rng.random((count, 32, 32, 3), np.float32), rng.integers(0, 10, count)
    plain = best_seconds(input_gradients(model, images)) / count
    print(f"input gradient (Keras): {plain * 1e3:.2f} ms an image, batch {BATCH}, {count} images")
    for prefix, name in (("", "canonical"), ("published-", "published")):
        methods = [parse_method(prefix + rule) for rule in PAPER_RULES]
        explainer = Explainer(model, methods, BATCH)
        seconds = best_seconds(lambda e=explainer: e.explain(images, classes)) / count
        print(
            f"{name}: 7 rules {seconds * 1e3:.2f} ms an image = {7 / seconds:.0f} maps a second; "
            f"7 maps cost {seconds / plain:.2f} input gradients, one map {seconds / plain / 7:.2f}"
        )
    raw = rng.standard_normal((2048, 3072)).astype(np.float32)
    print(f"scaling and ranking: {best_seconds(lambda: finish_maps(raw)) / len(raw) * 1e3:.3f} ms a map")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
