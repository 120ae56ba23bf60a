"""Where the time of the L-BFGS attack goes, and its memory, on the images that come with the product.

The floor is the network at its own batched rate: a ratio of 1 would mean that all else (search,
bookkeeping, places of a batch that stay empty) is free. Bars: at most 15 % of the time outside the
network at batch 128, less than 3 GB at batch 512.
Run from the repository root: python -m tests.benchmarks.bench_lbfgs [pairs]
"""

import resource
import sys
import time

import numpy as np

from compute.attacks.lbfgs import LBFGS, attack
from compute.attacks.result import Quantise
from compute.datasets import load_dataset
from flows import networks


def main(wanted: int) -> bool:
    """Attack sample pairs, as often as it takes, and print rates, shares and memory."""
    samples = load_dataset("cifar10-samples")
    network = networks.load("shipped", samples.pixels.shape[1:], 10)
    images = samples.pixels.astype(np.float32) / 255
    correct = np.flatnonzero(network.logits(images, 20).argmax(1) == samples.labels)
    pairs = [(i, t) for i in correct for t in range(10) if t != samples.labels[i]]
    chosen = np.resize(np.arange(len(pairs)), wanted)
    x, targets = images[[pairs[n][0] for n in chosen]], np.array([pairs[n][1] for n in chosen])
    compiled = network.evaluator("true")
    inside = [0.0]

    def evaluate(images: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        started = time.perf_counter()
        result = compiled(images, targets)
        inside[0] += time.perf_counter() - started
        return result

    def rate() -> float:
        started = time.perf_counter()
        for _ in range(5):
            compiled(x[:128], targets[:128])
        return (time.perf_counter() - started) / (5 * 128)

    met = True
    compiled(x[:128], targets[:128])
    runs: tuple[tuple[float, Quantise, int], ...] = (
        (0.0, "none", 128),
        (0.99, "round", 128),
        (0.99, "round", 512),
    )
    for confidence, quantise, batch in runs:
        before, inside[0] = rate(), 0.0
        started = time.perf_counter()
        parameters = LBFGS(confidence=confidence, quantise=quantise)
        results = attack(evaluate, x, targets, parameters, batch)
        seconds = time.perf_counter() - started
        gradient = min(before, rate())
        gradients = sum(result.gradient_calls or 0 for result in results)
        evaluations = gradients + sum(result.forward_calls or 0 for result in results)
        outside = 1 - inside[0] / seconds
        met &= batch != 128 or outside <= 0.15
        print(
            f"{wanted} pairs, confidence {confidence:g}, quantise {quantise}, batch {batch}: "
            f"{wanted / seconds:.1f} pairs a second, "
            f"{sum(result.status == 'success' for result in results)} successful, "
            f"median L2 {np.median([result.l2 for result in results]):.4f}, "
            f"{gradients / wanted:.1f} gradients and {evaluations / wanted:.1f} evaluations a pair\n"
            f"  outside the network {outside:.1%} (bar at batch 128: 15 %); one batched gradient "
            f"{gradient * 1e3:.2f} ms; ratio to the floor of {evaluations / wanted:.1f} of them "
            f"{seconds / (evaluations * gradient):.2f}",
            flush=True,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GB (bar at batch 512: 3 GB)")
    return met and peak < 3


if __name__ == "__main__":
    sys.exit(0 if main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024) else 1)
