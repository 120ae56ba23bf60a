"""How near our adversarial images are, against the nearer of two peers' for every pair; bar: 1.03 times.

Targeted, on the paper's network, at the arg max: Foolbox 3's DDN (1,000 steps) and Carlini-Wagner L2
(9 x 1,000 steps, none of them skipped), whose model has the same fast gradient as ours. A success is
what the network itself takes for the target. Takes about 20 minutes; `--cache` keeps what the peers found.
Run from the repository root: python -m tests.benchmarks.bench_attack_quality [pairs] [--cache FILE]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from foolbox.attacks.carlini_wagner import L2CarliniWagnerAttack
from foolbox.attacks.ddn import DDNAttack
from foolbox.criteria import TargetedMisclassification
from foolbox.models.tensorflow import TensorFlowModel

from compute.attacks.lbfgs import LBFGS, attack
from compute.attacks.objective import cross_entropy_evaluator
from tests.benchmarks.published_pairs import (
    BATCH,
    Pairs,
    PublishedNetwork,
    l2,
    load_cache,
    open_published,
    save_cache,
    show,
)

BAR = 1.03
STEPS = 1_000
PEERS: dict[str, Any] = {
    "ddn": DDNAttack(steps=STEPS),
    "carlini-wagner": L2CarliniWagnerAttack(binary_search_steps=9, steps=STEPS, abort_early=False),
}


def run_peers(network: PublishedNetwork, pairs: Pairs) -> dict[str, Any]:
    """The delivered images and the seconds of each peer."""
    if not hasattr(np, "find_common_type"):  # eagerpy 0.30 is older than NumPy 2
        np.find_common_type = lambda arrays, scalars: np.result_type(*arrays, *scalars)  # type: ignore
    logits: Any = tf.function(network.logits_of, autograph=False)
    model = TensorFlowModel(logits, bounds=(0, 1), device="/CPU:0")
    criterion = TargetedMisclassification(tf.constant(pairs.targets))
    found: dict[str, Any] = {}
    for name, peer in PEERS.items():
        started = time.perf_counter()
        found[name] = peer.run(model, tf.constant(pairs.images), criterion).numpy()
        found[f"{name}-seconds"] = time.perf_counter() - started
        print(f"{name}: done in {found[f'{name}-seconds']:.0f} s", flush=True)
    return found


def run_ours(network: PublishedNetwork, pairs: Pairs) -> tuple[np.ndarray, float]:
    """Delivered images, and seconds."""
    evaluate = cross_entropy_evaluator(network.logits_of)
    filler = np.zeros((BATCH, *pairs.images.shape[1:]), np.float32)
    evaluate(filler, np.zeros(BATCH, np.int64))
    started = time.perf_counter()
    results = attack(
        evaluate, pairs.images, pairs.targets, LBFGS(confidence=0.0, quantise="none"), batch_size=BATCH
    )
    seconds = time.perf_counter() - started
    return np.stack([result.pixels for result in results]).reshape(pairs.images.shape), seconds


def main(count: int, cache: Path | None) -> bool:
    """Print the figures; whether the bar is met."""
    network = open_published()
    pairs = network.random_pairs(count)
    found = load_cache(cache, pairs)
    if found is None:
        found = run_peers(network, pairs)
        save_cache(cache, pairs, **found)
    ours, seconds = run_ours(network, pairs)
    distances = {}
    for name, delivered, spent in [
        ("ours", ours, seconds),
        *((name, found[name], float(found[f"{name}-seconds"])) for name in PEERS),
    ]:
        reached = network.logits(delivered).argmax(1) == pairs.targets
        distances[name] = np.where(reached, l2(pairs, delivered), np.inf)
        print(
            f"{name:<15} {reached.sum()} of {count} successful, median L2 "
            f"{np.median(distances[name]):.4f}, {spent:.0f} s"
        )
    both = np.minimum(*(distances[name] for name in PEERS))
    ratios = (distances["ours"] / both)[np.isfinite(both)]
    at = {q: float(np.quantile(ratios, q)) for q in (0.05, 0.5, 0.95)}
    print(f"ratios to the nearer peer: 5 % {at[0.05]:.3f}, 95 % {at[0.95]:.3f}, largest {ratios.max():.3f}")
    return show("median of the ratios to the nearer of DDN and Carlini-Wagner", at[0.5], BAR)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Our distances against those of DDN and Carlini-Wagner.")
    parser.add_argument("pairs", nargs="?", type=int, default=100)
    parser.add_argument("--cache", type=Path, help="the peers' results are kept there and taken from there")
    options = parser.parse_args()
    sys.exit(not main(options.pairs, options.cache))
