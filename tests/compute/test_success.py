"""How far logits are from a success, against the definition by probabilities."""

import numpy as np
import pytest

from compute.attacks.result import softmax
from compute.attacks.success import look

CONFIDENCES = (0.0, 0.3, 0.5, 0.9, 0.99)


def some_logits(spread=4.0):
    rng = np.random.default_rng(2)
    return (spread * rng.normal(size=(200, 6))).astype(np.float32), rng.integers(0, 6, 200)


def log_odds(probabilities, target):
    return np.log1p(-probabilities[target]) - np.log(probabilities[target])


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize("taken", ["true", "softmax"])
def test_bound_is_h_where_a_success_begins(confidence, taken):
    """By bisection of the target's logit, the others as they are."""
    logits, targets = some_logits()
    seen = look(logits, targets, confidence, taken)
    for place in range(0, len(targets), 10):
        low, high = -60.0, 60.0
        for _ in range(80):
            moved = logits[place].astype(float)
            moved[targets[place]] = (low + high) / 2
            wins = moved.argmax() == targets[place] and softmax(moved)[targets[place]] >= confidence
            low, high = (low, (low + high) / 2) if wins else ((low + high) / 2, high)
        moved[targets[place]] = high
        outputs = softmax(moved) if taken == "softmax" else moved
        assert seen.bound[place] == pytest.approx(log_odds(softmax(outputs), targets[place]), abs=1e-6)


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize("taken", ["true", "softmax"])
def test_h_share_and_success_are_those_of_the_probabilities(confidence, taken):
    logits, targets = some_logits()
    seen = look(logits, targets, confidence, taken)
    for place, (row, target) in enumerate(zip(logits, targets, strict=True)):
        p = softmax(row)
        q = softmax(p) if taken == "softmax" else p
        assert seen.h[place] == pytest.approx(log_odds(q, target), abs=1e-6)
        assert seen.share[place] == pytest.approx(1 - q[target], rel=1e-6)
        assert seen.probability[place] == pytest.approx(p[target], rel=1e-6)
        assert seen.reached[place] == (p.argmax() == target and p[target] >= confidence)
    if confidence == 0 and taken == "true":
        np.testing.assert_array_equal(seen.reached, seen.h < seen.bound)


def test_probabilities_next_to_one_keep_their_odds():
    logits = np.array([[40.0, 0.0, 0.0]], np.float32)
    seen = look(logits, np.array([0]), 0.99, "true")
    assert seen.h[0] == pytest.approx(np.log(2) - 40)
    assert seen.share[0] == pytest.approx(2 * np.exp(-40.0), rel=1e-6)
