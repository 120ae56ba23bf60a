"""Structural similarity of pairs of CIFAR-10 maps, in time of one core, against scikit-image.

Bars: 0.3 ms a pair, and a quarter of scikit-image's time.

Run from the repository root: python -m tests.benchmarks.bench_ssim
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from compute.similarity import ssim
from tests.benchmarks.measuring import verdict

PAIRS = 1024


def seconds_a_pair(
    compute: Callable[[np.ndarray, np.ndarray], object], a: np.ndarray, b: np.ndarray
) -> float:
    """Time on all cores together, the best of five."""
    times = []
    for _ in range(5):
        start = time.process_time()
        compute(a, b)
        times.append((time.process_time() - start) / len(a))
    return min(times)


def by_scikit_image(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    from skimage.metrics import structural_similarity

    return np.array([
        structural_similarity(
            x, y, channel_axis=2, data_range=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for x, y in zip(a, b, strict=True)
    ])  # fmt: skip


def main() -> None:
    maps = np.random.default_rng(0).uniform(-1, 1, (2, PAIRS, 32, 32, 3)).astype(np.float32)
    own = seconds_a_pair(ssim, *maps)
    peer = seconds_a_pair(by_scikit_image, *(some[:64] for some in maps))
    gap = np.abs(ssim(*(some[:64] for some in maps)) - by_scikit_image(*(some[:64] for some in maps))).max()
    print(f"ssim: {own * 1e3:.3f} ms a pair {verdict(own * 1e3, 0.3)}")
    print(f"scikit-image: {peer * 1e3:.3f} ms a pair; ratio {own / peer:.3f} {verdict(own / peer, 0.25)}")
    print(f"largest difference: {gap:.1e}")


if __name__ == "__main__":
    main()
