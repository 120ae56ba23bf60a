"""The preset against a slow twin: plain scipy, one pair at a time, written from the algorithm alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import fmin_l_bfgs_b
from threadpoolctl import threadpool_limits

from compute.attacks.foolbox24 import (
    BUDGET_SPENT,
    NO_GRADIENT,
    NOT_DELIVERED,
    NOT_FINITE,
    NOT_REACHED,
    Foolbox24,
    attack,
)
from compute.attacks.inputs import AttackInputError
from compute.attacks.result import softmax

SHAPE = (4, 4, 3)
QUICK = Foolbox24(max_iterations=12, tolerance=5e-4)


class Perceptron:
    """Two layers with ReLU between them, in float64, a row at a time: no image depends on its batch."""

    def __init__(self, seed=0, hidden=16, classes=4):
        rng = np.random.default_rng(seed)
        size = int(np.prod(SHAPE))
        self.first = rng.normal(size=(size, hidden)) / 4
        self.second = rng.normal(size=(hidden, classes)) / 2
        self.offset = rng.normal(size=hidden)

    def row(self, image, target):
        x = image.reshape(-1).astype(np.float64)
        before = x @ self.first + self.offset
        logits = np.maximum(before, 0) @ self.second
        probabilities = softmax(logits)
        error = probabilities - np.eye(len(logits))[target]
        gradient = self.first @ (np.where(before > 0, self.second @ error, 0.0))
        return logits, -np.log(probabilities[target]), gradient.reshape(image.shape)

    def __call__(self, images, targets):
        rows = [self.row(image, target) for image, target in zip(images, targets, strict=True)]
        logits, losses, gradients = (np.array(part, np.float32) for part in zip(*rows, strict=True))
        return logits, losses, gradients


def pairs(network, count=2, classes=4):
    images = np.random.default_rng(1).random((count, *SHAPE)).astype(np.float32)
    labels = network(images, np.zeros(count, np.int64))[0].argmax(1)
    chosen = [(i, t) for i in range(count) for t in range(classes) if t != labels[i]]
    return images[[i for i, _ in chosen]], np.array([t for _, t in chosen])


def twin(network, image, target, p, batch_size):
    """(closest image or None, its c, gradient calls) of Foolbox 2.4.0's algorithm."""
    best = {"distance": np.inf, "image": None, "c": None}
    calls = 0

    def see(x, c):
        batch, targets = np.zeros((batch_size, *SHAPE), np.float32), np.zeros(batch_size, np.int64)
        batch[0], targets[0] = x.astype(np.float32).reshape(SHAPE), target
        logits, losses, gradients = (part[0] for part in network(batch, targets))
        change = batch[0] - image
        if p.distance == "mse":
            distance = float(np.vdot(change, change)) / change.size
            slope = change / (change.size / 2)
        else:
            distance = float(np.mean(np.abs(change)))
            slope = 1 / change.size * np.sign(change)
        adversarial = logits.argmax() == target
        if adversarial and distance < best["distance"]:
            best.update(distance=distance, image=batch[0].copy(), c=c)
        return adversarial, distance + c * float(losses), slope + c * gradients

    def minimise(c):
        nonlocal calls

        def loss(x):
            nonlocal calls
            calls += 1
            _, value, slope = see(x, c)
            return np.float64(1e10 * value), np.float64(1e10 * slope.reshape(-1))

        start = image.reshape(-1).astype(np.float64)
        x, _, _ = fmin_l_bfgs_b(
            loss, start, bounds=[(0, 1)] * start.size, m=p.history, maxiter=p.max_iterations
        )
        return see(np.clip(x, 0, 1), c)[0]

    if see(image, 0.0)[0]:
        return best["image"], None, calls
    c = p.tolerance
    for _ in range(30):
        c = 2 * c
        if minimise(c):
            break
    else:
        return best["image"], best["c"], calls
    low, high = 0.0, c
    while high - low >= p.tolerance:
        middle = (low + high) / 2
        if minimise(middle):
            high = middle
        else:
            low = middle
    return best["image"], best["c"], calls


@threadpool_limits.wrap(1, "blas")
def twins(network, images, targets, p, batch_size):
    return [twin(network, *pair, p, batch_size) for pair in zip(images, targets, strict=True)]


@pytest.mark.parametrize("distance", ["mse", "mae"])
@pytest.mark.parametrize("history", [3, 15])
def test_lockstep_follows_the_slow_twin_exactly(distance, history):
    network, p = Perceptron(), replace(QUICK, distance=distance, history=history)
    images, targets = pairs(network)
    results = attack(network, images, targets, p, batch_size=4)
    slow = twins(network, images, targets, p, batch_size=4)
    for result, (closest, c, calls) in zip(results, slow, strict=True):
        assert closest is not None
        np.testing.assert_array_equal(result.pixels, closest.reshape(-1))
        assert (result.status, result.c, result.gradient_calls) == ("success", c, calls)


def test_batch_mates_and_batch_places_change_nothing():
    network = Perceptron()
    images, targets = pairs(network)
    together = attack(network, images, targets, QUICK, batch_size=4)
    order = np.random.default_rng(2).permutation(len(targets))
    shuffled = attack(network, images[order], targets[order], QUICK, batch_size=4)
    for place, index in enumerate(order):
        np.testing.assert_array_equal(shuffled[place].pixels, together[index].pixels)
        assert shuffled[place].iterations == together[index].iterations


def test_the_closest_image_is_delivered_with_its_measures():
    network = Perceptron()
    images, targets = pairs(network)
    for result, image, target in zip(
        attack(network, images, targets, QUICK, 4), images, targets, strict=True
    ):
        logits = network(result.pixels.reshape(1, *SHAPE), [target])[0][0]
        assert logits.argmax() == target
        np.testing.assert_array_equal(result.logits, logits)
        assert result.l2 == pytest.approx(np.linalg.norm(result.pixels - image.reshape(-1)), rel=1e-5)
        # it stops at the boundary, where the second class is as probable
        assert 0 <= result.target_probability - result.second_probability < 0.1


def test_a_threshold_stops_the_search():
    network = Perceptron()
    images, targets = pairs(network)
    full = attack(network, images, targets, QUICK, 4)
    enough = max(float(np.mean((r.pixels - i.reshape(-1)) ** 2)) for r, i in zip(full, images, strict=True))
    early = attack(network, images, targets, replace(QUICK, threshold=2 * enough), 4)
    for result, image in zip(early, images, strict=True):
        assert result.status == "success"
        assert np.mean((result.pixels - image.reshape(-1)) ** 2) <= 2 * enough
        assert result.gradient_calls
    assert sum(r.gradient_calls or 0 for r in early) < sum(r.gradient_calls or 0 for r in full)


def test_quantised_images_are_verified():
    network = Perceptron()
    images, targets = pairs(network)
    plain = attack(network, images, targets, QUICK, 4)
    for how in ("round", "floor"):
        kept = attack(network, images, targets, replace(QUICK, quantise=how), 4)
        for result, before, target in zip(kept, plain, targets, strict=True):
            levels = result.pixels * 255
            np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
            assert np.abs(result.pixels - before.pixels).max() < 1 / 255 + 1e-6
            reached = network(result.pixels.reshape(1, *SHAPE), [target])[0][0].argmax() == target
            assert (result.status, result.reason) == (
                ("success", None) if reached else ("failed", NOT_DELIVERED)
            )


def test_image_of_the_target_class_is_left_alone():
    network = Perceptron()
    images = pairs(network)[0][:2]
    predicted = network(images, np.zeros(2, np.int64))[0].argmax(1)
    results = attack(network, images, predicted, QUICK, 4)
    assert [(r.status, r.l2, r.gradient_calls) for r in results] == [("already_target", 0.0, 0)] * 2


def test_a_spent_budget_is_a_failure_with_its_best_attempt():
    network = Perceptron()
    images, targets = pairs(network)
    for result, target in zip(
        attack(network, images, targets, replace(QUICK, max_gradient_calls=1), 4), targets, strict=True
    ):
        assert (result.status, result.reason, result.gradient_calls) == ("failed", BUDGET_SPENT, 1)
        probability = softmax(network(result.pixels.reshape(1, *SHAPE), [target])[0][0])[target]
        assert result.target_probability == pytest.approx(probability, abs=1e-6)


def constant(logits, slope):
    """A network that always says the same, with this gradient everywhere."""

    def evaluate(images, targets):
        count = len(images)
        return (
            np.tile(np.array(logits, np.float32), (count, 1)),
            np.full(count, 2.0, np.float32),
            np.full(images.shape, slope, np.float32),
        )

    return evaluate


@pytest.mark.parametrize(
    ("logits", "slope", "reason"),
    [
        ([1.0, 0.0, -1.0], 0.0, NO_GRADIENT),
        ([1.0, 0.0, -1.0], 1e-3, NOT_REACHED),
        ([np.nan, 0.0, 0.0], 1.0, NOT_FINITE),
        ([1.0, 0.0, -1.0], np.nan, NOT_FINITE),
    ],
)
def test_what_cannot_succeed_fails_with_its_reason(logits, slope, reason):
    images = np.full((2, *SHAPE), 0.5, np.float32)
    results = attack(constant(logits, slope), images, np.array([1, 2]), QUICK, 3)
    assert [(result.status, result.reason) for result in results] == [("failed", reason)] * 2


def test_what_is_no_pair_is_refused():
    network = Perceptron()
    images, targets = pairs(network)
    with pytest.raises(AttackInputError, match="class 4"):
        attack(network, images[:1], np.array([4]), QUICK, 2)
    with pytest.raises(AttackInputError, match="scale images"):
        attack(network, images[:1] * 255, targets[:1], QUICK, 2)
    assert attack(network, images[:0], targets[:0], QUICK, 2) == []


def test_an_error_of_the_network_comes_through():
    network, calls = Perceptron(), 0

    def breaks(images, targets):
        nonlocal calls
        calls += 1
        if calls == 5:
            raise RuntimeError("out of memory")
        return network(images, targets)

    images, targets = pairs(network)
    with pytest.raises(RuntimeError, match="out of memory"):
        attack(breaks, images, targets, QUICK, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"preset": "foolbox-3"},
        {"distance": "l2"},
        {"logits": "maybe"},
        {"quantise": "ceil"},
        {"tolerance": 0.0},
        {"threshold": -1.0},
        {"max_iterations": 0},
        {"history": 0},
        {"max_gradient_calls": 0},
    ],
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Foolbox24(**wrong)


def test_parameters_are_stored():
    row = Foolbox24(distance="mae").as_row()
    assert (row["algorithm"], row["preset"], row["targeted"], row["distance"]) == (
        "lbfgs", "foolbox-2.4", True, "mae",
    )  # fmt: skip
