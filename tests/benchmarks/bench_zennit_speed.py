"""Maps a second of the paper's seven rules, ours against zennit's on the same two cores; bar: 7 times.

zennit takes one forward and one backward pass a rule. It gets its BatchNorm merged and its hooks
registered outside the loop over batches, and the best of several batch sizes and memory layouts. The
two take turns, so that what else the machine does hits both; of each the shortest time counts.
Run from the repository root: python -m tests.benchmarks.bench_zennit_speed [images]
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compute.classifier import build_table2
from compute.explainer import Explainer
from compute.maps import RawMaps
from compute.methods import PAPER_RULES, parse_method
from tests.benchmarks.zennit_peer import Zennit, rule, write_network, zennit_process
from tests.compute.networks import randomise

BAR = 7
THREADS = 2
BATCH = 64
TRIED = [(batch, channels_last) for batch in (16, 32, 64, 128) for channels_last in (False, True)]
ROUNDS = 5
STABILIZER = 1e-9
RULES = {
    "lrp-0": rule("Epsilon", epsilon=STABILIZER),
    "lrp-epsilon-0.0001": rule("Epsilon", epsilon=1e-4),
    "lrp-epsilon-0.01": rule("Epsilon", epsilon=1e-2),
    "lrp-epsilon-0.1": rule("Epsilon", epsilon=0.1),
    "lrp-epsilon-1": rule("Epsilon", epsilon=1),
    "lrp-alpha1-beta0": rule("AlphaBeta", alpha=1, beta=0),
    "lrp-alpha2-beta-1": rule("AlphaBeta", alpha=2, beta=1),
}
"""The paper's rules, and what they are in zennit."""


def show_agreement(ours: dict[str, RawMaps], theirs: dict[str, np.ndarray]) -> None:
    """That both sides do the same work: float32, so that singular denominators show."""
    for number, id in enumerate(RULES):
        reference = theirs[str(number)]
        gap = np.linalg.norm(ours[id].relevance - reference, axis=1) / np.linalg.norm(reference, axis=1)
        print(f"{id:<20} median relative L2 difference {np.median(gap):.1e}, float32 on both sides")


def best_setup(zennit: Zennit, count: int) -> tuple[int, bool]:
    """zennit's fastest batch size and layout on the images that it holds."""
    trials = {setup: min(zennit_seconds(zennit, setup) for _ in range(2)) for setup in TRIED}
    for (batch, channels_last), seconds in trials.items():
        layout = "channels last" if channels_last else "channels first"
        print(f"zennit, batch {batch:>3}, {layout:<14}: {seconds / count * 1e3:6.1f} ms an image")
    return min(trials, key=lambda setup: trials[setup])


def zennit_seconds(zennit: Zennit, setup: tuple[int, bool]) -> float:
    batch, channels_last = setup
    answer = zennit.ask(
        "time",
        methods=list(RULES.values()),
        stabilizer=STABILIZER,
        batch_size=batch,
        channels_last=channels_last,
    )
    return answer["seconds"]


def our_seconds(explainer: Explainer, images: np.ndarray, classes: np.ndarray) -> float:
    start = time.perf_counter()
    explainer.explain(images, classes)
    return time.perf_counter() - start


def show_rate(name: str, times: Sequence[float], count: int) -> None:
    best, middle = min(times), float(np.median(times))
    print(
        f"{name}: 7 rules {best / count * 1e3:.2f} ms an image = {7 * count / best:.0f} maps a second "
        f"(median of {len(times)} rounds: {7 * count / middle:.0f})"
    )


def show_limit(model: keras.Model, seconds: float) -> None:
    """How near our convolutions come to a plain matrix product on the same cores, the physical limit.

    seconds: of one image. Eleven passes through the network: one forward, two more for the
    contributions of either sign, and back one for each rule but two for alpha 2, beta -1.
    """
    products = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            outputs: Any = layer.output.shape[1:-1]
            kernel: Any = layer.kernel
            products += math.prod(outputs) * math.prod(kernel.shape)
    operations = 11 * 2 * products
    matrix = tf.random.stateless_normal((2048, 2048), (0, 0))
    times = []
    for _ in range(10):
        start = time.perf_counter()
        tf.matmul(matrix, matrix).numpy()
        times.append(time.perf_counter() - start)
    limit = 2 * 2048**3 / min(times) / 1e9
    print(
        f"{operations / 1e6:.0f} million operations an image: ours {operations / seconds / 1e9:.0f} billion "
        f"a second, a matrix product {limit:.0f}; at its rate 7 rules take {operations / limit / 1e6:.1f} ms"
    )


def main(count: int = 256) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    keras.utils.set_random_seed(0)
    model, rng = randomise(build_table2()), np.random.default_rng(0)
    images, classes = rng.random((count, 32, 32, 3), np.float32), rng.integers(0, 10, count)
    explainer = Explainer(model, [parse_method(id) for id in PAPER_RULES], BATCH)
    with zennit_process(THREADS) as zennit, tempfile.TemporaryDirectory() as folder:
        few = min(count, 128)
        network, maps = str(Path(folder) / "network.npz"), str(Path(folder) / "maps.npz")
        write_network(Path(network), model, images[:few], classes[:few])
        zennit.ask("load", path=network)
        zennit.ask("explain", methods=list(RULES.values()), stabilizer=STABILIZER, out=maps)
        show_agreement(explainer.explain(images[:few], classes[:few]), dict(np.load(maps)))
        setup = best_setup(zennit, few)
        write_network(Path(network), model, images, classes)
        zennit.ask("load", path=network)
        rounds = [
            (our_seconds(explainer, images, classes), zennit_seconds(zennit, setup)) for _ in range(ROUNDS)
        ]
    ours, theirs = zip(*rounds, strict=True)
    show_rate(f"ours, batch {BATCH}", ours, count)
    show_rate(f"zennit, batch {setup[0]}", theirs, count)
    show_limit(model, min(ours) / count)
    ratio, each = min(theirs) / min(ours), ", ".join(f"{b / a:.1f}" for a, b in rounds)
    verdict = "met" if ratio >= BAR else "MISSED"
    print(f"ours makes {ratio:.1f} times as many maps a second (by rounds: {each}); bar {BAR}: {verdict}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
