"""Training: the schedule, the augmentation, and that a resumed run is the uninterrupted one."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from compute.training import (
    Recipe,
    augment,
    augmentation_transforms,
    batches,
    dropout_scale,
    learning_rate,
    predict_labels,
    split_held_out,
    train,
    trainable_twin,
)

STILL = Recipe(shift_pixels=0, rotation_share=0.0, flip=False)


@pytest.fixture
def stripes():
    """Bright rows against bright columns: two classes that a small network tells apart."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 60, (200, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(200) % 2
    for image, label in zip(pixels, labels, strict=True):
        place = rng.integers(2, 6)
        image[(place, slice(None)) if label else (slice(None), place)] += 190
    return pixels, labels.astype(np.int64)


def small_network(seed=1):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(2),
            layers.Softmax(),
        ]
    )


def test_one_cycle():
    recipe = Recipe(peak_learning_rate=0.1, warmup_share=0.25)
    rates = [learning_rate(step, 100, recipe) for step in range(100)]
    assert max(rates) == rates[24] == rates[25] == pytest.approx(0.1)
    assert rates[0] == pytest.approx(0.1 / 25)
    assert rates[-1] == pytest.approx(0.1 / 75)
    assert np.all(np.diff(rates[:25]) > 0)
    assert np.all(np.diff(rates[25:]) < 0)


def test_dropout_fades_out():
    recipe = Recipe(epochs=10, dropout_share=0.5)
    assert [dropout_scale(epoch, recipe) for epoch in (0, 2, 5, 9)] == [1, 0.6, 0, 0]


def test_held_out_images_are_not_fitted():
    fitted, held_out = split_held_out(1000, Recipe(held_out=100))
    assert len(fitted) == 900
    assert sorted([*fitted, *held_out]) == list(range(1000))


def test_augmentation_without_motion_copies():
    images = np.random.default_rng(0).random((5, 6, 6, 3), np.float32)
    transforms = augmentation_transforms(5, 6, STILL, np.random.default_rng(1))
    np.testing.assert_array_equal(augment(images, transforms), images)


def test_flip_and_shift_move_whole_pixels():
    images = np.random.default_rng(0).random((400, 6, 6, 1), np.float32)
    recipe = replace(STILL, shift_pixels=1, flip=True)
    moved = augment(images, augmentation_transforms(400, 6, recipe, np.random.default_rng(1))).numpy()
    seen = set()
    for image, result in zip(images, moved, strict=True):
        matches = [
            (flip, dy, dx)
            for flip in (False, True)
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            if np.array_equal(
                np.roll(image[:, ::-1] if flip else image, (dy, dx), (0, 1))[1:-1, 1:-1], result[1:-1, 1:-1]
            )
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert len(seen) == 18


def test_rotation_keeps_the_centre_and_the_corners_turn():
    image = np.zeros((1, 7, 7, 1), np.float32)
    image[0, 3, 3] = 1.0
    recipe = replace(STILL, rotation_degrees=30.0, rotation_share=1.0)
    turned = augment(image, augmentation_transforms(1, 7, recipe, np.random.default_rng(3))).numpy()
    assert turned[0, 3, 3, 0] == pytest.approx(1.0, abs=1e-5)
    image = np.zeros((1, 7, 7, 1), np.float32)
    image[0, 0, 3] = 1.0
    turned = augment(image, augmentation_transforms(1, 7, recipe, np.random.default_rng(3))).numpy()
    assert turned[0, 0, 3, 0] < 0.9


def test_epochs_are_functions_of_the_seed():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(40)
    recipe = Recipe(batch_size=16)

    def epoch(recipe, number):
        return [(np.asarray(x), y) for x, y in batches(pixels, labels, recipe, number)]

    first = epoch(recipe, 0)
    assert len(first) == 2
    for (x, y), (again_x, again_y) in zip(first, epoch(recipe, 0), strict=True):
        np.testing.assert_array_equal(x, again_x)
        np.testing.assert_array_equal(y, again_y)
    assert not np.array_equal(first[0][1], epoch(recipe, 1)[0][1])
    assert not np.array_equal(first[0][1], epoch(replace(recipe, seed=1), 0)[0][1])


def test_training_learns_and_resumes_exactly(stripes, tmp_path):
    recipe = Recipe(
        epochs=6, batch_size=20, peak_learning_rate=0.05, shift_pixels=1, rotation_share=0.0, held_out=40
    )
    pixels, labels = stripes
    whole = trainable_twin(small_network(), recipe)
    seen = []
    results = train(
        whole, pixels, labels, recipe, on_batch=lambda step, steps, loss: seen.append((step, steps))
    )
    assert seen == [(step, 48) for step in range(1, 49)]
    assert [result.epoch for result in results] == list(range(6))
    assert results[-1].held_out_accuracy >= 0.9
    assert (predict_labels(whole, pixels) == labels).mean() >= 0.9

    class Stop(Exception):
        pass

    def save_and_stop(result):
        half.save_weights(tmp_path / "half.weights.h5")
        if result.epoch == 0:  # dropout is still on in the next two
            raise Stop

    half = trainable_twin(small_network(), recipe)
    with pytest.raises(Stop):
        train(half, pixels, labels, recipe, on_epoch=save_and_stop)
    resumed = trainable_twin(small_network(seed=7), recipe)
    resumed.load_weights(tmp_path / "half.weights.h5")
    train(resumed, pixels, labels, recipe, first_epoch=1)
    for ours, theirs in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"warmup_share": 1.0}])
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Recipe(**wrong)
