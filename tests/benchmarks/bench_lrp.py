"""What the seven rules cost in input gradients of the same network, peak memory, and the time of ranking.

Bars: at most 7 gradients for the canonical rules, 8 for the published ones, in under 3 GB, at every batch
size; a map ranked in half the time of a stable argsort. Who is timed takes turns, so that what else the
machine does hits all; of each the shortest time counts.
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
from compute.explainer import Explainer
from compute.graph.operators import logits_function
from compute.methods import PAPER_RULES, parse_method
from compute.ranking import finish_maps
from tests.benchmarks.measuring import peak_memory, verdict

BATCHES = (16, 64, 128, 256)
BARS = {"canonical": 7, "published": 8}
MEMORY_BAR = 3.0
RANKING_BAR = 0.5
ROUNDS = 5

Work = Callable[[], object]


def best_seconds(works: dict[str, Work], rounds: int = ROUNDS) -> dict[str, float]:
    """Shortest time of each over some rounds in which they take turns, after one that compiles."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if number:
                times[name].append(time.perf_counter() - start)
    return {name: min(each) for name, each in times.items()}


def input_gradients(outputs: Callable[[tf.Tensor], Any], images: np.ndarray, batch: int) -> Work:
    """The gradient of the largest output by the image, batch after batch."""

    @tf.function(autograph=False)
    def gradient(x: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            largest = tf.reduce_max(outputs(x), axis=1)
        return tape.gradient(largest, x)

    return lambda: [
        gradient(tf.constant(images[i : i + batch])).numpy() for i in range(0, len(images), batch)
    ]


def show_rules(model: keras.Model, images: np.ndarray, classes: np.ndarray, batch: int) -> None:
    works: dict[str, Work] = {
        "Keras": input_gradients(lambda x: model(x, training=False), images, batch),
        "ours": input_gradients(logits_function(model), images, batch),
    }
    for name, prefix in (("canonical", ""), ("published", "published-")):
        explainer = Explainer(model, [parse_method(prefix + rule) for rule in PAPER_RULES], batch)
        works[name] = lambda explainer=explainer: explainer.explain(images, classes)
    cost = {name: seconds / len(images) * 1e3 for name, seconds in best_seconds(works).items()}
    print(
        f"batch {batch}: input gradient {cost['Keras']:.2f} ms an image as Keras computes it, "
        f"{cost['ours']:.2f} ms with BatchNorm folded and our convolutions"
    )
    for name, bar in BARS.items():
        by_keras, by_ours = cost[name] / cost["Keras"], cost[name] / cost["ours"]
        print(
            f"  {name}: 7 rules {cost[name]:.2f} ms an image, {7e3 / cost[name]:.0f} maps a second; "
            f"{by_keras:.2f} gradients {verdict(by_keras, bar)}, of the faster kind {by_ours:.2f} "
            f"{verdict(by_ours, bar)}"
        )
    print(f"  peak memory of this process {peak_memory():.2f} GB {verdict(peak_memory(), MEMORY_BAR)}")


def argsort_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks uint16 [n, d] by a stable argsort; 0 = largest."""
    rank = np.empty(values.shape, np.uint16)
    order = np.argsort(-values, axis=1, kind="stable")
    np.put_along_axis(rank, order, np.arange(values.shape[1], dtype=np.uint16)[None], axis=1)
    return rank


def show_ranking(maps: int = 2048, components: int = 3072) -> None:
    """On maps with ties: a third of the components are 0, as at black pixels."""
    rng = np.random.default_rng(0)
    raw = rng.standard_normal((maps, components)).astype(np.float32)
    raw[rng.random(raw.shape) < 1 / 3] = 0
    finished = finish_maps(raw)
    same = np.array_equal(finished.rank, argsort_ranks(finished.relevance))
    cost = best_seconds(
        {"keys": lambda: finish_maps(raw), "argsort": lambda: argsort_ranks(finished.relevance)}
    )
    ratio = cost["keys"] / cost["argsort"]
    print(
        f"scaling and ranking: {cost['keys'] / maps * 1e3:.3f} ms a map, ranking alone by a stable argsort "
        f"{cost['argsort'] / maps * 1e3:.3f} ms: {ratio:.2f} {verdict(ratio, RANKING_BAR)}; "
        f"{'the same' if same else 'OTHER'} ranks"
    )
    if not same:
        sys.exit("ranks differ from those of a stable argsort")


def main(count: int = 256) -> None:
    keras.utils.set_random_seed(0)
    model, rng = build_table2(), np.random.default_rng(0)
    images, classes = rng.random((count, 32, 32, 3), np.float32), rng.integers(0, 10, count)
    for batch in BATCHES:
        show_rules(model, images, classes, batch)
    show_ranking()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
