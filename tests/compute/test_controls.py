"""Controls of an attack: as far from the original, of the class that they say, the same every time."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from compute.attacks.controls import (
    DARKENED,
    DRAWS,
    NO_DRAW,
    NO_EXAMPLE,
    NO_SIZE,
    OTHER_CLASS,
    TOLERANCE,
    Attacked,
    Darkened,
    Noise,
    Path,
    Rounded,
    darkened,
    make,
    noise,
)

SHAPE = (8, 8, 3)
RNG = np.random.default_rng(0)


def linear(images: np.ndarray) -> np.ndarray:
    """A network of four classes, whose decision between 0 and 1 is the mean of the left half."""
    left = images[:, :, :4].mean(axis=(1, 2, 3)) - 0.5
    return np.stack([-left, left, left - 9, left - 9], axis=1).astype(np.float32)


@pytest.fixture
def pairs() -> Attacked:
    """Images on levels of 1/255; the attack raised the left half."""
    originals = np.round(RNG.uniform(0.3, 0.49, (12, *SHAPE)) * 255).astype(np.float32) / np.float32(255)
    change = np.zeros_like(originals)
    change[:, :, :4] = RNG.integers(30, 60, (12, 8, 4, 3)) / 255
    delivered = np.clip(originals + change, 0, 1).astype(np.float32)
    succeeded = np.arange(12) != 5
    return Attacked(np.arange(12), np.zeros(12, int), np.ones(12, int), originals, delivered, succeeded)


def test_noise_is_as_large_as_the_attack_and_keeps_the_class(pairs: Attacked) -> None:
    results = make(Noise("lbfgs"), "noise-lbfgs", pairs, linear)
    assert len(results) == 12
    for i, result in enumerate(results):
        if i == 5:
            assert (result.status, result.reason) == ("failed", NO_EXAMPLE)
            continue
        wanted = np.linalg.norm((pairs.delivered[i] - pairs.originals[i]).astype(np.float64))
        assert result.status == "kept" and result.reason is None
        assert abs(result.l2 - wanted) <= TOLERANCE * wanted
        levels = result.pixels * 255
        assert np.abs(levels - np.round(levels)).max() < 1e-4
        assert result.pixels.min() >= 0 and result.pixels.max() <= 1
        assert result.logits.argmax() == 0
        assert 1 <= (result.forward_calls or 0) <= DRAWS


def test_noise_depends_on_image_target_seed_and_name_alone(pairs: Attacked) -> None:
    every = make(Noise("lbfgs"), "noise-lbfgs", pairs, linear)
    some = Attacked(*(getattr(pairs, name)[3:5] for name in vars(pairs)))
    alone = make(Noise("lbfgs"), "noise-lbfgs", some, linear)
    for one, other in zip(every[3:5], alone, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
    others = [
        make(Noise("lbfgs", seed=1), "noise-lbfgs", some, linear),
        make(Noise("lbfgs"), "noise-other", some, linear),
        make(Noise("lbfgs"), "noise-lbfgs", replace(some, image_id=some.image_id + 1), linear),
    ]
    assert len({tuple(result[0].pixels) for result in [alone, *others]}) == 4


def test_noise_that_always_changes_the_class_has_failed(pairs: Attacked) -> None:
    calls = []

    def never(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        return np.tile(np.array([0, 0, 1, 0], np.float32), (len(images), 1))

    results = make(Noise("lbfgs"), "noise-lbfgs", pairs, never)
    assert {result.reason for result in results} == {NO_DRAW, NO_EXAMPLE}
    assert len(calls) == DRAWS + 1


def test_a_size_that_noise_cannot_have_is_told(pairs: Attacked) -> None:
    """Half of one level, rounded to levels: either nothing moves or a whole level does."""
    tiny = pairs.originals.copy()
    tiny[:, 0, 0, 0] += np.float32(0.3 / 255)
    results = make(Noise("lbfgs"), "noise-lbfgs", replace(pairs, delivered=tiny), linear)
    assert {result.reason for result in results} == {NO_SIZE, NO_EXAMPLE}
    images, is_sized = noise(pairs.originals, pairs.delivered, list(range(12)), "none")
    assert is_sized.all() and images.dtype == np.float32


@pytest.mark.parametrize("fraction", [-1.0, 0.25, 0.999])
def test_path_is_on_the_straight_line(pairs: Attacked, fraction: float) -> None:
    results = make(Path("lbfgs", fraction), "path", pairs, linear)
    for i, result in enumerate(results):
        if i == 5:
            assert result.reason == NO_EXAMPLE
            continue
        line = pairs.originals[i] + fraction * (pairs.delivered[i] - pairs.originals[i])
        assert result.pixels == pytest.approx(np.clip(line, 0, 1).ravel(), abs=1e-6)
        taken = linear(line[None]).argmax()
        assert result.status == ("success" if taken == 1 else "kept")


def test_a_class_between_label_and_target_is_a_failure_with_a_reason(pairs: Attacked) -> None:
    def third(images: np.ndarray) -> np.ndarray:
        return np.tile(np.array([0, 0, 1, 0], np.float32), (len(images), 1))

    results = make(Path("lbfgs", 0.5), "path", pairs, third)
    assert {result.reason for result in results} == {OTHER_CLASS, NO_EXAMPLE}


def test_darkened_is_one_level_lower_in_so_many_components(pairs: Attacked) -> None:
    images = pairs.originals.copy()
    images[:, 0] = 0
    results = make(Darkened("lbfgs"), "darkened-lbfgs", replace(pairs, originals=images), linear)
    assert results[5].reason == NO_EXAMPLE
    for i, result in enumerate(results):
        if i == 5:
            continue
        levels = np.rint(images[i].ravel() * 255)
        np.testing.assert_array_equal(result.pixels, np.rint(result.pixels * 255) / np.float32(255))
        lower = levels - np.rint(result.pixels * 255)
        assert set(lower) == {0, 1} and not lower[levels == 0].any()
        # of 192 components 84 are drawn, those of the black row among them stay
        assert 84 - (levels == 0).sum() <= lower.sum() <= 84 == round(DARKENED * levels.size)
        assert (result.status, result.reason) == ("kept", None)


@pytest.mark.parametrize("fraction", [0.01, 0.44, 1.0])
def test_exactly_the_share_of_components_is_darkened(pairs: Attacked, fraction: float) -> None:
    images = darkened(pairs.originals, list(range(12)), fraction)
    lower = np.rint((pairs.originals - images) * 255).reshape(12, -1)
    np.testing.assert_array_equal(lower.sum(axis=1), round(fraction * lower.shape[1]))
    assert images.dtype == np.float32 and (fraction == 1 or len(np.unique(lower, axis=0)) == 12)


def test_darkened_depends_on_image_target_seed_and_name_alone(pairs: Attacked) -> None:
    every = make(Darkened("lbfgs"), "darkened-lbfgs", pairs, linear)
    some = Attacked(*(getattr(pairs, name)[3:5] for name in vars(pairs)))
    others = [
        make(Darkened("lbfgs"), "darkened-lbfgs", some, linear),
        make(Darkened("lbfgs", seed=1), "darkened-lbfgs", some, linear),
        make(Darkened("lbfgs"), "darkened-other", some, linear),
        make(Darkened("lbfgs"), "darkened-lbfgs", replace(some, target=some.target + 1), linear),
    ]
    np.testing.assert_array_equal(every[3].pixels, others[0][0].pixels)
    assert len({tuple(result[0].pixels) for result in others}) == 4


@pytest.mark.parametrize("how", ["round", "floor"])
def test_rounding_puts_the_float_example_on_levels(pairs: Attacked, how: Literal["round", "floor"]) -> None:
    between = np.clip(pairs.delivered + RNG.uniform(0, 0.9 / 255, pairs.delivered.shape), 0, 1)
    results = make(Rounded("lbfgs", how), how, replace(pairs, delivered=between.astype(np.float32)), linear)
    for i, result in enumerate(results):
        if i == 5:
            assert result.reason == NO_EXAMPLE
            continue
        exact = between[i].astype(np.float32).astype(np.float64).ravel() * 255
        levels = np.floor(exact + 0.5) if how == "round" else np.floor(exact + 1e-5)
        assert result.pixels == pytest.approx(levels / 255, abs=1e-6)
        assert result.status == ("success" if linear(between[i : i + 1]).argmax() == 1 else "kept")


def test_rounding_may_give_the_class_back(pairs: Attacked) -> None:
    """The attack got just beyond the boundary, less than a level; flooring takes that away."""
    level = np.float32(127 / 255)
    delivered = np.full_like(pairs.originals, level + 0.7 / 255)

    def beyond(images: np.ndarray) -> np.ndarray:
        over = images.mean(axis=(1, 2, 3)) - (level + 0.5 / 255)
        return np.stack([-over, over], axis=1)

    close = replace(pairs, delivered=delivered, succeeded=np.ones(12, bool))
    floored, rounded = (make(Rounded("lbfgs", how), how, close, beyond) for how in ("floor", "round"))
    assert {result.status for result in floored} == {"kept"}
    assert {result.status for result in rounded} == {"success"}


def test_rows_name_the_attack_and_the_parameters() -> None:
    row = Darkened("lbfgs", 7, 0.3).as_row()
    assert (row["algorithm"], row["control_of"]) == ("darkened", "lbfgs")
    assert (row["seed"], row["fraction"]) == (7, 0.3)
    for how in ("round", "floor"):
        row = Rounded("lbfgs", how).as_row()
        assert (row["algorithm"], row["quantise"], row["control_of"]) == (how, how, "lbfgs")
    assert Noise("lbfgs", 7).as_row()["control_of"] == "lbfgs" and Noise("lbfgs", 7).as_row()["seed"] == 7
    assert [Path("a", f).as_row()["algorithm"] for f in (-1.0, 0.5)] == ["reverse", "path"]
