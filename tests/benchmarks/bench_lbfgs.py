"""Time of the L-BFGS attack against its floor: its gradient evaluations at the network's own batched rate.

A ratio of 1 would mean that everything beside the network (search, line search, bookkeeping, places
in the last batches that stay empty) is free. Run: python -m tests.benchmarks.bench_lbfgs [pairs]
"""

import sys
import time

import numpy as np

from compute.attacks.lbfgs import LBFGS, attack
from compute.datasets import load_dataset
from flows import networks

BATCH = 64


def main(wanted: int) -> None:
    """Attack sample pairs and print rates and the ratio."""
    samples = load_dataset("cifar10-samples")
    network = networks.load("shipped", samples.pixels.shape[1:], 10)
    images = samples.pixels.astype(np.float32) / 255
    correct = np.flatnonzero(network.logits(images, BATCH).argmax(1) == samples.labels)
    pairs = [(i, t) for i in correct for t in range(10) if t != samples.labels[i]][:wanted]
    x, targets = images[[i for i, _ in pairs]], np.array([t for _, t in pairs])
    evaluate = network.evaluator("true")
    batch, classes = np.resize(x, (BATCH, *x.shape[1:])), np.resize(targets, BATCH)
    evaluate(batch, classes)

    def rate() -> float:
        started = time.perf_counter()
        for _ in range(10):
            evaluate(batch, classes)
        return (time.perf_counter() - started) / (10 * BATCH)

    before = rate()
    started = time.perf_counter()
    results = attack(evaluate, x, targets, LBFGS(), BATCH)
    seconds = time.perf_counter() - started
    gradient = min(before, rate())
    evaluations = sum(result.gradient_calls + result.forward_calls for result in results)
    successes = [result for result in results if result.status == "success"]
    print(
        f"{len(pairs)} pairs, batch {BATCH}: {seconds / len(pairs):.3f} s a pair, {len(successes)} successful"
    )
    print(f"median L2 {np.median([result.l2 for result in successes]):.4f}")
    print(f"evaluations a pair {evaluations / len(pairs):.1f}")
    print(f"one batched gradient {gradient * 1e3:.2f} ms an image")
    print(f"ratio to the floor (evaluations x gradient): {seconds / (evaluations * gradient):.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 144)
