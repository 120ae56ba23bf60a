"""The attack against closed-form optima, its parameters one by one, and on the real network."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from compute.attacks.lbfgs import LBFGS, attack
from compute.attacks.objective import cross_entropy_evaluator
from compute.attacks.result import quantised, softmax
from compute.classifier import load_classifier
from compute.datasets import load_dataset
from compute.graph.operators import logits_function

EXACT = LBFGS(confidence=0.0, quantise="none", tolerance=1e-5, margin=1e-4)


class Linear:
    """Logits x @ weights + bias of flat images, with the cross-entropy and its gradient by hand."""

    def __init__(self, components=48, classes=4, seed=0):
        rng = np.random.default_rng(seed)
        self.weights = rng.normal(size=(components, classes))
        self.bias = rng.normal(size=classes)
        self.calls = 0

    def logits(self, images):
        flat = images.reshape(len(images), -1).astype(np.float64)
        # one image at a time: BLAS may sum in another order in another batch
        return np.stack([row @ self.weights for row in flat]) + self.bias

    def __call__(self, images, targets):
        self.calls += 1
        logits = self.logits(images)
        probabilities = np.stack([softmax(row) for row in logits])
        one_hot = np.eye(logits.shape[1])[targets]
        gradient = np.stack([row @ self.weights.T for row in probabilities - one_hot])
        losses = -np.log((probabilities * one_hot).sum(1))
        return logits.astype(np.float32), losses, gradient.reshape(images.shape).astype(np.float32)


def inner_images(count, components, seed=1):
    """Grey images [count, height, width, 1], far from the box."""
    flat = 0.45 + 0.1 * np.random.default_rng(seed).random((count, components))
    return flat.astype(np.float32).reshape(count, components // 4, 4, 1)


def pairs_of(network, images, classes):
    predicted = network.logits(images).argmax(1)
    pairs = [(i, t) for i in range(len(images)) for t in range(classes) if t != predicted[i]]
    return images[[i for i, _ in pairs]], np.array([t for _, t in pairs])


def test_two_classes_reach_the_closed_form_optimum():
    """The nearest point with p(target) = q has distance (logit(q) + margin) / |w_t - w_y|."""
    network = Linear(classes=2)
    images, targets = pairs_of(network, inner_images(12, 48), 2)
    direction = network.weights[:, 1] - network.weights[:, 0]
    logits = network.logits(images)
    for confidence in (0.0, 0.9, 0.99):
        parameters = replace(EXACT, confidence=confidence)
        results = attack(network, images, targets, parameters, batch_size=5)
        needed = np.log(confidence / (1 - confidence)) if confidence > 0.5 else 0.0
        margins = np.where(targets == 1, logits[:, 0] - logits[:, 1], logits[:, 1] - logits[:, 0])
        optimum = (margins + needed) / np.linalg.norm(direction)
        assert [result.status for result in results] == ["success"] * 12
        ratio = np.array([result.l2 for result in results]) / optimum
        assert ratio.min() >= 0.999
        assert ratio.max() <= 1.01


def nearest_win(network, image, target):
    """Least squares under the linear constraints `target wins`, by scipy."""
    from scipy.optimize import minimize

    others = [c for c in range(network.weights.shape[1]) if c != target]
    differences = network.weights[:, [target]] - network.weights[:, others]
    offsets = network.bias[target] - network.bias[others]
    found = minimize(
        lambda d: d @ d,
        np.zeros(image.size),
        jac=lambda d: 2 * d,
        method="SLSQP",
        bounds=[(-v, 1 - v) for v in image.astype(float)],
        constraints={
            "type": "ineq",
            "fun": lambda d: (image + d) @ differences + offsets,
            "jac": lambda d: differences.T,
        },
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert found.success
    return float(np.linalg.norm(found.x))


def test_many_classes_and_the_box_stay_near_the_optimum():
    """Images near the box, so that the nearest win touches it."""
    network = Linear(classes=5, seed=3)
    rng = np.random.default_rng(5)
    raw = np.where(rng.random((6, 48)) < 0.5, 0.03, 0.97) + rng.uniform(-0.03, 0.03, (6, 48))
    images, targets = pairs_of(network, raw.astype(np.float32).reshape(6, -1, 4, 1), 5)
    results = attack(network, images, targets, EXACT, batch_size=7)
    ratios = [
        result.l2 / nearest_win(network, image.reshape(-1), target)
        for result, image, target in zip(results, images, targets, strict=True)
    ]
    assert all(result.status == "success" for result in results)
    assert all(result.pixels.min() >= 0 and result.pixels.max() <= 1 for result in results)
    assert min(ratios) >= 0.999
    assert np.median(ratios) <= 1.05
    assert max(ratios) <= 1.25  # cross-entropy trades one competing class against another


def test_batch_mates_and_batch_places_change_nothing():
    network = Linear()
    images, targets = pairs_of(network, inner_images(6, 48), 4)
    together = attack(network, images, targets, LBFGS(), batch_size=4)
    order = np.random.default_rng(2).permutation(len(targets))
    shuffled = attack(network, images[order], targets[order], LBFGS(), batch_size=4)
    for place, index in enumerate(order):
        np.testing.assert_array_equal(shuffled[place].pixels, together[index].pixels)
        assert shuffled[place].gradient_calls == together[index].gradient_calls


def test_batches_are_full():
    network = Linear()
    images, targets = pairs_of(network, inner_images(30, 48), 4)
    results = attack(network, images, targets, LBFGS(), batch_size=8)
    evaluations = sum((result.gradient_calls or 0) + (result.forward_calls or 0) for result in results)
    longest = max((result.gradient_calls or 0) + (result.forward_calls or 0) for result in results)
    assert network.calls <= evaluations / 8 + longest


def test_quantised_images_are_verified_on_their_levels():
    network = Linear()
    images, targets = pairs_of(network, quantised(inner_images(6, 48), "round"), 4)
    for how in ("round", "floor"):
        for result, target in zip(
            attack(network, images, targets, LBFGS(quantise=how, confidence=0.9), 8), targets, strict=True
        ):
            levels = result.pixels * 255
            np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
            probability = softmax(network.logits(result.pixels[None])[0])[target]
            assert result.status == "success"
            assert probability >= 0.9 - 1e-6
            assert result.target_probability == pytest.approx(probability, abs=1e-5)


def test_measures_are_of_the_delivered_image():
    network = Linear()
    images, targets = pairs_of(network, inner_images(3, 48), 4)
    for result, image in zip(attack(network, images, targets, LBFGS(), 8), images, strict=True):
        change = result.pixels.astype(np.float64) - image.reshape(-1)
        assert result.l1 == pytest.approx(np.abs(change).sum(), rel=1e-5)
        assert result.l2 == pytest.approx(np.linalg.norm(change), rel=1e-5)
        assert result.linf == pytest.approx(np.abs(change).max(), rel=1e-5)


def test_mean_absolute_distance_changes_fewer_components():
    network = Linear(classes=2)
    images, targets = pairs_of(network, inner_images(6, 48), 2)
    mse = attack(network, images, targets, replace(EXACT, confidence=0.9), 6)
    mae = attack(network, images, targets, replace(EXACT, confidence=0.9, distance="mae"), 6)
    assert all(result.status == "success" for result in mae)
    assert np.median([r.l1 for r in mae]) < np.median([r.l1 for r in mse])
    assert np.median([r.l2 for r in mae]) > np.median([r.l2 for r in mse])


def test_budget_spent_is_a_failure_with_its_best_attempt():
    network = Linear()
    images, targets = pairs_of(network, inner_images(4, 48), 4)
    parameters = LBFGS(max_gradient_calls=2)
    for result, target in zip(attack(network, images, targets, parameters, 4), targets, strict=True):
        assert result.status == "failed"
        assert (result.gradient_calls or 0) <= 2
        probability = softmax(network.logits(result.pixels[None])[0])[target]
        assert result.target_probability == pytest.approx(probability, abs=1e-5)


def test_image_of_the_target_class_is_left_alone():
    network = Linear()
    images = inner_images(4, 48)
    predicted = network.logits(images).argmax(1)
    results = attack(network, images, predicted, LBFGS(confidence=0.0, quantise="none"), 4)
    assert [result.status for result in results] == ["already_target"] * 4
    assert [result.l2 for result in results] == [0.0] * 4


def test_results_are_told_as_they_come():
    network = Linear()
    images, targets = pairs_of(network, inner_images(4, 48), 4)
    told = {}
    results = attack(network, images, targets, LBFGS(), 4, told.__setitem__)
    assert [told[index] for index in range(len(targets))] == results


def test_nothing_to_attack():
    assert attack(Linear(), inner_images(0, 48), np.zeros(0, np.int64), LBFGS(), 4) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"distance": "l2"},
        {"logits": "maybe"},
        {"quantise": "ceil"},
        {"confidence": 1.0},
        {"tolerance": 0.0},
        {"margin": -0.1},
        {"max_gradient_calls": 0},
        {"history": 0},
    ],
)
def test_impossible_parameters_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LBFGS(**wrong)


@cache
def shipped_logits():
    return logits_function(load_classifier("shipped", (32, 32, 3), 10))


@cache
def sample_pairs():
    samples = load_dataset("cifar10-samples")
    images = samples.pixels.astype(np.float32) / 255
    logits = np.asarray(shipped_logits()(images))
    kept = np.flatnonzero(logits.argmax(1) == samples.labels)[:4]
    pairs = [(i, t) for i in kept for t in range(10) if t != samples.labels[i]][::3]
    return images[[i for i, _ in pairs]], np.array([t for _, t in pairs])


def test_gradient_is_that_of_the_loss():
    images, targets = sample_pairs()
    for kind in ("true", "softmax"):
        evaluate = cross_entropy_evaluator(shipped_logits(), kind)
        logits, losses, gradient = evaluate(images[:2], targets[:2])
        taken = [softmax(row) if kind == "softmax" else row for row in logits]
        by_hand = [-np.log(softmax(np.asarray(row))[t]) for row, t in zip(taken, targets[:2], strict=True)]
        np.testing.assert_allclose(losses, by_hand, rtol=1e-4)
        step = 1e-3 * gradient / np.abs(gradient).max()
        higher, lower = (evaluate(images[:2] + sign * step, targets[:2])[1] for sign in (1, -1))
        slope = (gradient * 2 * step).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(higher - lower, slope, rtol=0.05, atol=1e-4)


def test_shipped_network_is_fooled_with_confidence():
    images, targets = sample_pairs()
    evaluate = cross_entropy_evaluator(shipped_logits())
    results = attack(evaluate, images, targets, LBFGS(), batch_size=12)
    delivered = np.stack([result.pixels for result in results]).reshape(images.shape)
    logits = np.asarray(shipped_logits()(delivered))
    assert [result.status for result in results] == ["success"] * len(targets)
    np.testing.assert_array_equal(logits.argmax(1), targets)
    assert min(softmax(row)[t] for row, t in zip(logits, targets, strict=True)) >= 0.99 - 1e-4
    assert np.median([result.l2 for result in results]) < 2.0


def test_results_on_the_network_are_bit_for_bit_the_same_in_any_batch():
    """Batch mates, places in a batch, and the size of the batch."""
    images, targets = sample_pairs()
    evaluate = cross_entropy_evaluator(shipped_logits())
    together = attack(evaluate, images, targets, LBFGS(), batch_size=12)
    order = np.random.default_rng(3).permutation(len(targets))
    for size, chosen in ((12, order), (5, order[:7]), (1, order[:2])):
        for index, result in zip(
            chosen, attack(evaluate, images[chosen], targets[chosen], LBFGS(), size), strict=True
        ):
            np.testing.assert_array_equal(result.pixels, together[index].pixels)
            np.testing.assert_array_equal(result.logits, together[index].logits)
            assert result.gradient_calls == together[index].gradient_calls


def test_stored_c_makes_the_image_stationary():
    """Where the box does not hold it, the gradient of distance + c * cross-entropy vanishes there."""
    network = Linear()
    images, targets = pairs_of(network, inner_images(6, 48), 4)
    for result, image, target in zip(
        attack(network, images, targets, replace(EXACT, confidence=0.9), 8), images, targets, strict=True
    ):
        _, _, gradient = network(result.pixels[None], np.array([target]))
        distance = 2 * (result.pixels - image.reshape(-1)) / image.size
        left = distance + result.c * gradient[0]
        free = (result.pixels > 0) & (result.pixels < 1)
        assert np.linalg.norm(left[free]) <= 0.02 * np.linalg.norm(distance)


def test_softmax_taken_for_logits_is_searched_where_it_is_flat():
    """Of the original's double softmax next to nothing is left to go by; most pairs succeed all the same."""
    images, targets = sample_pairs()
    evaluate = cross_entropy_evaluator(shipped_logits(), "softmax")
    results = attack(evaluate, images, targets, LBFGS(logits="softmax", quantise="none"), batch_size=12)
    reached = [result for result in results if result.status == "success"]
    assert len(reached) >= 9
    assert min(result.target_probability for result in reached) >= 0.99
    assert {result.reason for result in results} <= {None, "budget spent", "no step leads nearer"}


class Broken:
    """A network of two classes that gives the same whatever it sees."""

    def __init__(self, logit=0.0, slope=0.0):
        self.logit, self.slope, self.calls = logit, slope, 0

    def __call__(self, images, targets):
        self.calls += 1
        logits = np.tile(np.array([1.0, self.logit], np.float32), (len(images), 1))
        return logits, np.ones(len(images)), np.full(images.shape, self.slope, np.float32)


@pytest.mark.parametrize("quantise", ["none", "round"])
@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Broken(), "gradient is zero"),
        (Broken(slope=1.0), "no step leads nearer"),
        (Broken(logit=np.nan), "the network gives values that are not finite"),
        (Broken(slope=np.inf), "the network gives values that are not finite"),
    ],
)
@pytest.mark.parametrize("distance", ["mse", "mae"])
def test_networks_that_lead_nowhere_are_failures_with_a_reason(network, reason, quantise, distance):
    images = inner_images(3, 12).reshape(3, 2, 2, 3)
    network.calls = 0
    results = attack(network, images, np.ones(3, np.int64), LBFGS(quantise=quantise, distance=distance), 2)
    assert [result.status for result in results] == ["failed"] * 3
    assert [result.reason for result in results] == [reason] * 3
    assert network.calls < 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.full((2, 4, 4, 3), 1.5, np.float32)}, "image 0 has values from 1.5"),
        ({"images": np.full((2, 4, 4, 3), np.nan, np.float32)}, "image 0"),
        ({"targets": np.array([1, 4])}, "class 4 of image 1"),
        ({"targets": np.array([-1, 2])}, "class -1 of image 0"),
        ({"targets": np.array([1])}, "shape"),
    ],
)
def test_what_cannot_be_attacked_is_refused(change, message):
    given = {"images": inner_images(2, 48).reshape(2, 4, 4, 3), "targets": np.array([1, 2])} | change
    with pytest.raises(ValueError, match=message):
        attack(Linear(), given["images"], given["targets"], LBFGS(), 4)


def test_a_corner_of_the_box_is_no_flat_network():
    """Two black and white components cannot reach the confidence that is asked for."""
    network = Linear(components=4, classes=2)
    network.weights *= 0.01
    images = np.full((1, 1, 4, 1), 0.5, np.float32)
    target = 1 - network.logits(images).argmax(1)
    (result,) = attack(network, images, target, LBFGS(), 4)
    assert (result.status, result.reason) == ("failed", "all that would help is at the end of the box")
    assert set(result.pixels) <= {0.0, 1.0}


def test_logits_beyond_what_probabilities_can_hold_end_well():
    network = Linear(classes=3)
    images, targets = pairs_of(network, inner_images(4, 48), 3)
    network.weights, network.bias = network.weights * 1e4, network.bias * 1e4
    with np.errstate(divide="ignore"):
        results = attack(network, images, targets, LBFGS(confidence=0.0, quantise="none"), 4)
    for result, target in zip(results, targets, strict=True):
        assert result.status == "success"
        assert network.logits(result.pixels[None])[0].argmax() == target
