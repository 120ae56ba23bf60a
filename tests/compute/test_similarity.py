"""Structural similarity against scikit-image, the equation place by place, and what must hold of any."""

from __future__ import annotations

import numpy as np
import pytest

from compute.similarity import K1, K2, RANGE, SIGMA, ssim

RNG = np.random.default_rng(0)


def maps(count: int, shape: tuple[int, int, int] = (32, 32, 3)) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that have more and less in common, each map divided by its largest |value|."""
    a, b = RNG.standard_normal((2, count, *shape))
    b = np.linspace(-1, 1, count)[:, None, None, None] * a + 0.3 * b
    scaled = (m / np.abs(m).max(axis=(1, 2, 3), keepdims=True) for m in (a, b))
    first, second = (m.astype(np.float32) for m in scaled)
    return first, second


def twin(a: np.ndarray, b: np.ndarray, size: int = 11) -> float:
    """Equation 13 of Wang et al. (2004) at each place of each channel of one pair [h, w, c]."""
    steps = np.arange(size) - size // 2
    window = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * SIGMA**2))
    window /= window.sum()
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    found = []
    for channel in range(a.shape[2]):
        for top in range(a.shape[0] - size + 1):
            for left in range(a.shape[1] - size + 1):
                square = (slice(top, top + size), slice(left, left + size), channel)
                x, y = a[square].astype(float), b[square].astype(float)
                mean_x, mean_y = (window * x).sum(), (window * y).sum()
                var_x, var_y = (window * (x - mean_x) ** 2).sum(), (window * (y - mean_y) ** 2).sum()
                covariance = (window * (x - mean_x) * (y - mean_y)).sum()
                top_line = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
                found.append(top_line / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)))
    return float(np.mean(found))


def test_it_is_what_scikit_image_computes() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    a, b = maps(67)
    wanted = [
        metrics.structural_similarity(
            x.astype(float), y.astype(float), channel_axis=2, data_range=2, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, K1=0.01, K2=0.03,
        )
        for x, y in zip(a, b, strict=True)
    ]  # fmt: skip
    found = ssim(a, b)
    assert found.dtype == np.float64 and found == pytest.approx(wanted, abs=1e-12)
    assert found.min() < 0.1 and found.max() > 0.8


def test_it_is_the_equation_place_by_place() -> None:
    a, b = maps(3, (14, 12, 2))
    assert ssim(a, b) == pytest.approx([twin(x, y) for x, y in zip(a, b, strict=True)], abs=1e-12)


@pytest.mark.parametrize(
    ("shape", "size"), [((4, 9, 3), 3), ((5, 5, 1), 5), ((11, 10, 1), 9), ((2, 2, 3), 1)]
)
def test_the_window_of_a_small_image_is_smaller(shape: tuple[int, int, int], size: int) -> None:
    a, b = maps(3, shape)
    assert ssim(a, b) == pytest.approx([twin(x, y, size) for x, y in zip(a, b, strict=True)], abs=1e-12)


def test_what_holds_of_any_pair() -> None:
    a, b = maps(40)
    assert ssim(a, a) == pytest.approx(np.ones(40), abs=1e-12)
    assert ssim(a, b) == pytest.approx(ssim(b, a), abs=1e-12)
    assert (np.abs(ssim(a, b)) <= 1).all()
    assert (ssim(a, -a) < 0.6).all()  # above 0 where means are turned, too: two factors below 0
    flipped = ssim(a[:, ::-1, ::-1], b[:, ::-1, ::-1])
    assert flipped == pytest.approx(ssim(a, b), abs=1e-12)
    one_by_one = np.concatenate([ssim(a[i : i + 1], b[i : i + 1]) for i in range(40)])
    np.testing.assert_array_equal(one_by_one, ssim(a, b))


def test_a_few_large_values_leave_everything_else_alike() -> None:
    """What the constants of equations 7 and 8 do to maps that are all but empty."""
    a = np.zeros((1, 32, 32, 1), np.float32)
    a[0, 16, 16], b = 1, a.copy()
    b[0, 16, 16] = -1
    assert 0.8 < ssim(a, b)[0] < 0.9
    assert ssim(a, b) == pytest.approx([twin(a[0], b[0])], abs=1e-12)


def test_maps_without_structure_and_maps_that_are_not_finite() -> None:
    flat = np.full((1, 32, 32, 3), 0.5, np.float32)
    # equation 6 alone: (2 * 0.5 * -0.5 + c1) / (0.5 ** 2 + 0.5 ** 2 + c1)
    assert ssim(flat, -flat) == pytest.approx([(-0.5 + 0.0004) / (0.5 + 0.0004)], abs=1e-9)
    a, b = maps(3)
    a[1, 5, 5, 0], b[2, 0, 0, 0] = np.nan, np.inf
    assert np.isnan(ssim(a, b)).tolist() == [False, True, True]
    assert ssim(a[:0], b[:0]).shape == (0,)


def test_maps_of_different_shape_are_refused() -> None:
    a, b = maps(2)
    with pytest.raises(ValueError, match=r"must be two arrays \[pairs, height, width, channels\]"):
        ssim(a, b[:1])
    with pytest.raises(ValueError, match="not"):
        ssim(a.reshape(2, -1), b.reshape(2, -1))
