"""Our attack against the published adversarial examples, on the paper's network.

Mean absolute distance: 100 published pairs, each at its own confidence, the target's probability at the
published image (at most 1 - 1e-6), so that each is a call of its own at batch 1; bar: a median distance
no larger than theirs. Confidence 0.99 on 8-bit levels: 900 published pairs; bars: 99.5 % successful by a
plain forward pass, median ratio of L2 0.55, 70 gradient calls a pair.
Run from the repository root: python -m tests.benchmarks.bench_lbfgs_bars [pairs] [mae pairs]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from compute.attacks.imported import find_examples, read_pixels
from compute.attacks.lbfgs import LBFGS, attack
from compute.attacks.objective import cross_entropy_evaluator
from compute.attacks.result import softmax
from tests.benchmarks.published_pairs import (
    BATCH,
    SEED,
    Pairs,
    PublishedNetwork,
    l2,
    open_published,
    show,
)
from tests.compute.published_network import PUBLISHED

CONFIDENCE = 0.99
SLACK = 1e-5
"""What the same logits may differ by in another batch, as a probability."""


def published_pairs(network: PublishedNetwork, count: int) -> tuple[Pairs, np.ndarray]:
    """Random published pairs of images that the network gets right, and the published images float32."""
    examples = find_examples(str(PUBLISHED / "adversarial_examples"))
    labels = network.labels[examples.image_id]
    usable = np.flatnonzero(np.isin(examples.image_id, network.correct) & (labels != examples.target))
    rows = np.random.default_rng(SEED).permutation(usable)[:count]
    pixels = read_pixels(examples.paths[row] for row in rows).astype(np.float32) / np.float32(255)
    return network.pairs(examples.image_id[rows], examples.target[rows]), pixels


def target_probability(network: PublishedNetwork, pairs: Pairs, images: np.ndarray) -> np.ndarray:
    """float64 [m], 0 where another class is more probable."""
    logits = network.logits(images)
    reached = softmax(logits)[np.arange(len(pairs)), pairs.targets]
    return np.where(logits.argmax(1) == pairs.targets, reached, 0.0)


def mean_absolute(pairs: Pairs, delivered: np.ndarray) -> np.ndarray:
    """Mean absolute distance [m] from the originals, in units of the box."""
    return np.abs(delivered.astype(np.float64) - pairs.images).mean(axis=(1, 2, 3))


def compare_mae(network: PublishedNetwork, count: int) -> bool:
    """Our mean absolute distance at the published examples' confidence."""
    pairs, published = published_pairs(network, count)
    confidence = np.minimum(target_probability(network, pairs, published), 1 - 1e-6)
    theirs = float(np.median(mean_absolute(pairs, published)))
    print(
        f"{count} published pairs at their confidence (median {np.median(confidence):.6f}, smallest "
        f"{confidence.min():.3f}): median mean absolute distance {theirs * 255:.3f} grey levels"
    )
    evaluate = cross_entropy_evaluator(network.logits_of, chunk=1)
    met = []
    for quantise in ("none", "round"):
        started = time.perf_counter()
        results = [
            attack(
                evaluate,
                pairs.images[[i]],
                pairs.targets[[i]],
                LBFGS(distance="mae", confidence=float(confidence[i]), quantise=quantise),
                batch_size=1,
            )[0]
            for i in range(count)
        ]
        seconds = time.perf_counter() - started
        delivered = np.stack([result.pixels for result in results]).reshape(pairs.images.shape)
        succeeded = np.array([result.status == "success" for result in results])
        confirmed = target_probability(network, pairs, delivered) >= confidence - SLACK
        distances = np.where(succeeded & confirmed, mean_absolute(pairs, delivered), np.inf)
        calls = np.mean([result.gradient_calls or 0 for result in results])
        print(
            f"mae, {quantise}: {succeeded.sum()} successful, {(succeeded & confirmed).sum()} confirmed, "
            f"{calls:.0f} gradient calls a pair, {seconds:.0f} s"
        )
        ours = float(np.median(distances)) * 255
        met.append(show(f"mae, {quantise}: median distance in grey levels", ours, theirs * 255))
    return all(met)


def compare_confident(network: PublishedNetwork, count: int) -> bool:
    """Success, distance and effort at confidence 0.99 on 8-bit levels."""
    pairs, published = published_pairs(network, count)
    evaluate = cross_entropy_evaluator(network.logits_of)
    evaluate(np.resize(pairs.images, (BATCH, *pairs.images.shape[1:])), np.resize(pairs.targets, BATCH))
    started = time.perf_counter()
    results = attack(
        evaluate,
        pairs.images,
        pairs.targets,
        LBFGS(confidence=CONFIDENCE, quantise="round"),
        batch_size=BATCH,
    )
    seconds = time.perf_counter() - started
    delivered = np.stack([result.pixels for result in results]).reshape(pairs.images.shape)
    levels = delivered * np.float32(255)
    on_levels = (np.abs(levels - np.rint(levels)) < 1e-3).all(axis=(1, 2, 3))
    confirmed = (target_probability(network, pairs, delivered) >= CONFIDENCE - SLACK) & on_levels
    ours, theirs = l2(pairs, delivered), l2(pairs, published)
    said = sum(result.status == "success" for result in results)
    forward = np.mean([result.forward_calls or 0 for result in results])
    print(
        f"{count} published pairs at confidence {CONFIDENCE}, rounded: {said} successful by the attack's "
        f"own word, {seconds / count * 1e3:.0f} ms a pair, {forward:.1f} forward calls a pair; median L2 "
        f"{np.median(ours):.4f}, the published examples' {np.median(theirs):.4f}"
    )
    ratio = np.where(confirmed, ours / theirs, np.inf)
    calls = float(np.mean([result.gradient_calls or 0 for result in results]))
    return all(
        [
            show("success on 8-bit levels in a plain forward pass", confirmed.mean(), 0.995, ".2%", True),
            show("per-pair ratio of L2 to the published example, median", float(np.median(ratio)), 0.55),
            show("ratio of the medians of L2", float(np.median(ours) / np.median(theirs)), 0.55),
            show("gradient calls a pair", calls, 70, ".1f"),
        ]
    )


def main(count: int = 900, mae_count: int = 100) -> bool:
    """Print the figures; whether all bars are met."""
    network = open_published()
    return all([compare_confident(network, count), compare_mae(network, mae_count)])


if __name__ == "__main__":
    sys.exit(not main(*map(int, sys.argv[1:])))
