"""Our maps against zennit's in float64: the same weights, images, classes and rules; bar 1e-4 relative L2.

zennit adds its stabiliser to every denominator, here tiny where ours is 0/0 = 0. Exit code 1 where a
map misses the bar. Run from the repository root: python -m tests.benchmarks.bench_zennit_parity [images]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from compute.classifier import build_table2, load_classifier
from compute.explainer import Explainer
from compute.methods import parse_method
from tests.benchmarks.zennit_peer import Zennit, composite, rule, write_network, zennit_process
from tests.compute.networks import randomise

BAR = 1e-4
STABILIZER = 1e-15
SHAPE, CLASSES = (32, 32, 3), 10

METHODS = {
    "lrp-epsilon-0.1": rule("Epsilon", epsilon=0.1),
    "lrp-epsilon-0.000001": rule("Epsilon", epsilon=1e-6),
    "lrp-epsilon-rms-0.25": rule("Epsilon", epsilon=0.25, norm_scale=True),
    "lrp-alpha1-beta0": rule("AlphaBeta", alpha=1, beta=0),
    "lrp-alpha2-beta-1": rule("AlphaBeta", alpha=2, beta=1),
    "lrp-gamma-0.25": rule("Gamma", gamma=0.25),
    "lrp-plus": rule("ZPlus"),
    "lrp-w2": rule("WSquare", zero_params=["bias"]),
    "lrp-flat": rule("Flat"),
    "lrp-epsilon-0.000001-plus-flat": composite("EpsilonPlusFlat", epsilon=1e-6),
    "lrp-epsilon-0.000001-plus-w2": composite(
        "EpsilonPlusFlat", first=rule("WSquare", zero_params=["bias"]), epsilon=1e-6
    ),
    "lrp-epsilon-0.000001-gamma-0.25-box": composite(
        "EpsilonGammaBox", low=0.0, high=1.0, epsilon=1e-6, gamma=0.25
    ),
    "lrp-epsilon-0.000001-alpha2-beta-1-flat": composite("EpsilonAlpha2Beta1Flat", epsilon=1e-6),
}
"""Our ids, and how a user of zennit asks for the same. zennit's alpha2-beta1 subtracts its beta."""


def paper_network() -> keras.Model:
    return randomise(build_table2(SHAPE, CLASSES))


def shipped_network() -> keras.Model:
    return load_classifier("shipped", SHAPE, CLASSES)


def small_resnet() -> keras.Model:
    """Two residual blocks, one with a strided projection; BatchNorm behind every convolution."""

    def convolve(x: Any, filters: int, size: int, strides: int = 1) -> Any:
        x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    def block(x: Any, filters: int, strides: int) -> Any:
        branch = layers.ReLU()(convolve(x, filters, 3, strides))
        branch = convolve(branch, filters, 3)
        shortcut = x if strides == 1 else convolve(x, filters, 1, strides)
        return layers.ReLU()(layers.Add()([branch, shortcut]))

    image = keras.Input(SHAPE)
    x = layers.ReLU()(convolve(image, 16, 3))
    x = block(block(x, 16, 1), 32, 2)
    x = layers.Flatten()(layers.AveragePooling2D(4)(x))
    return randomise(keras.Model(image, layers.Dense(CLASSES)(x), name="small_resnet"))


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "the paper's network, BatchNorm at random": paper_network,
    "the paper's network as shipped": shipped_network,
    "a small ResNet": small_resnet,
}


def difference(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Relative L2 difference of each map, float64 [n]; the reference is theirs."""
    return np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)


def compare(zennit: Zennit, model: keras.Model, count: int, folder: Path) -> int:
    """Prints a line a method; the number of methods that miss the bar."""
    rng = np.random.default_rng(0)
    images, classes = rng.random((count, *SHAPE)), rng.integers(0, CLASSES, count)
    ours = Explainer(model, [parse_method(id) for id in METHODS], count, "float64").explain(images, classes)
    write_network(folder / "network.npz", model, images, classes)
    zennit.ask("load", path=str(folder / "network.npz"))
    found = {}
    for name, canonizer in (("merged", "merge"), ("released", "merge as released")):
        out = str(folder / f"{name}.npz")
        zennit.ask(
            "explain", methods=list(METHODS.values()), stabilizer=STABILIZER, out=out, canonizer=canonizer
        )
        found[name] = dict(np.load(out))
    missed, starts = 0, found["merged"]["logits"][np.arange(count), classes]
    print(f"  logits: relative difference {np.abs(ours['lrp-plus'].start / starts - 1).max():.1e}")
    print(f"  {'method':<40} {'largest':>9} {'median':>9}   bar {BAR:g}  (zennit's own merging)")
    for number, id in enumerate(METHODS):
        each, released = (difference(ours[id].relevance, found[name][str(number)]) for name in found)
        met = bool(each.max() <= BAR)
        missed += not met
        verdict = "met" if met else "MISSED"
        print(f"  {id:<40} {each.max():9.1e} {np.median(each):9.1e}   {verdict:<10} ({released.max():.1e})")
    return missed


def main(count: int = 8) -> None:
    keras.utils.set_random_seed(0)
    print(
        f"relative L2 difference to zennit over {count} maps, float64; in brackets: with the merging of "
        "zennit 0.5.1, which leaves BatchNorm's epsilon in"
    )
    missed = 0
    with zennit_process(threads=1) as zennit, tempfile.TemporaryDirectory() as folder:
        for name, build in NETWORKS.items():
            print(name)
            missed += compare(zennit, build(), count, Path(folder))
    if missed:
        sys.exit(f"{missed} comparisons miss the bar")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
