"""The attack as Foolbox calls it, on the shipped network and the images that come with Foolbox."""

import doctest
from functools import cache
from typing import Any

import foolbox
import numpy as np
import pytest
import tensorflow as tf
from foolbox.criteria import Misclassification, TargetedMisclassification
from foolbox.models.tensorflow import TensorFlowModel

from compute.attacks import foolbox3
from compute.attacks.foolbox3 import LBFGSAttack
from compute.attacks.lbfgs import LBFGS, attack
from compute.attacks.objective import cross_entropy_evaluator
from compute.attacks.result import softmax
from compute.classifier import load_classifier
from compute.datasets import load_dataset
from compute.graph.operators import logits_function


@cache
def logits() -> Any:
    return tf.function(logits_function(load_classifier("shipped", (32, 32, 3), 10)), autograph=False)


@cache
def samples():
    """The 20 images in [0, 1], and another class for each than the network gives."""
    images = load_dataset("cifar10-samples").pixels.astype(np.float32) / np.float32(255)
    return images, (np.asarray(logits()(images)).argmax(1) + 1) % 10


def model(lower=0.0, upper=1.0):
    """The shipped network on images between other bounds."""
    return TensorFlowModel(
        lambda x: logits()((x - lower) / (upper - lower)), bounds=(lower, upper), device="/CPU:0"
    )


def between(images, lower, upper):
    return tf.constant(np.float32(lower) + images * np.float32(upper - lower))


def test_foolbox_finds_every_image_adversarial_and_as_near_as_the_attack_itself():
    images, targets = samples()
    fooled = TargetedMisclassification(tf.constant(targets))
    raw, clipped, success = LBFGSAttack(batch_size=20)(model(), tf.constant(images), fooled, epsilons=None)
    assert success.numpy().all()
    np.testing.assert_array_equal(raw.numpy(), clipped.numpy())
    itself = attack(
        cross_entropy_evaluator(logits()), images, targets, LBFGS(confidence=0.0, quantise="none"), 20
    )
    ratio = norms(raw.numpy() - images) / np.array([result.l2 for result in itself])
    assert np.median(ratio) == pytest.approx(1, abs=0.01)
    assert ratio.max() < 1.1


def norms(change):
    return np.linalg.norm(change.reshape(len(change), -1), axis=1)


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (0.0, 255.0)])
def test_bounds_are_the_models(bounds):
    images, targets = (part[:4] for part in samples())
    fooled = TargetedMisclassification(tf.constant(targets))
    plain, _, _ = LBFGSAttack()(model(), tf.constant(images), fooled, epsilons=None)
    inputs = between(images, *bounds)
    raw, _, success = LBFGSAttack()(model(*bounds), inputs, fooled, epsilons=None)
    assert success.numpy().all()
    assert raw.numpy().min() >= bounds[0]
    assert raw.numpy().max() <= bounds[1]
    scale = bounds[1] - bounds[0]
    np.testing.assert_allclose(
        norms(raw.numpy() - inputs.numpy()) / scale, norms(plain.numpy() - images), rtol=0.05
    )


def test_epsilons_clip_and_decide():
    images, targets = (part[:4] for part in samples())
    fooled = TargetedMisclassification(tf.constant(targets))
    raw, clipped, success = LBFGSAttack()(model(), tf.constant(images), fooled, epsilons=[1e-3, 100.0, None])
    assert success.numpy().tolist() == [[False] * 4, [True] * 4, [True] * 4]
    assert norms(clipped[0].numpy() - images).max() <= 1e-3 * (1 + 1e-4)
    np.testing.assert_array_equal(raw[0].numpy(), clipped[2].numpy())


def test_mean_absolute_distance_has_the_smaller_l1_norm():
    images, targets = (part[:4] for part in samples())
    fooled = TargetedMisclassification(tf.constant(targets))
    changes = {}
    squared, absolute = LBFGSAttack(), LBFGSAttack(distance="mae")
    assert (squared.distance, absolute.distance) == (foolbox.distances.l2, foolbox.distances.l1)
    for name, one in (("mse", squared), ("mae", absolute)):
        raw, _, success = one(model(), tf.constant(images), fooled, epsilons=None)
        assert success.numpy().all()
        changes[name] = np.abs(raw.numpy() - images).sum(axis=(1, 2, 3))
    assert np.median(changes["mae"]) < np.median(changes["mse"])


def test_confidence_and_levels_hold_for_what_comes_back():
    images, targets = (part[:4] for part in samples())
    fooled = TargetedMisclassification(tf.constant(targets))
    raw, _, success = LBFGSAttack(confidence=0.9, quantise="round")(
        model(0.0, 255.0), between(images, 0, 255), fooled, epsilons=None
    )
    assert success.numpy().all()
    np.testing.assert_allclose(raw.numpy(), np.rint(raw.numpy()), atol=1e-3)
    probabilities = softmax(np.asarray(model(0.0, 255.0)(raw)))
    assert min(row[t] for row, t in zip(probabilities, targets, strict=True)) >= 0.9 - 1e-4


def test_inputs_of_any_shape_and_dtype():
    """Two flat components: the nearest point of the other class of a linear classifier is known."""
    weights = tf.constant([[1.0, -1.0], [2.0, -2.0]], tf.float64)
    linear = TensorFlowModel(lambda x: x @ weights - [[1.5, -1.5]], bounds=(0, 1), device="/CPU:0")
    fooled = TargetedMisclassification(tf.constant([1, 1]))
    inputs = tf.constant([[0.5, 0.8], [0.9, 0.6]], tf.float64)
    raw, _, success = LBFGSAttack()(linear, inputs, fooled, epsilons=None)
    assert success.numpy().all()
    assert raw.dtype == tf.float64
    optimum = (inputs.numpy() @ [1.0, 2.0] - 1.5) / np.sqrt(5)
    np.testing.assert_allclose(norms(raw.numpy() - inputs.numpy()), optimum, rtol=0.03)


def test_what_cannot_be_reached_comes_back_as_it_was():
    images, targets = (part[:3] for part in samples())
    flat = TensorFlowModel(
        lambda x: tf.one_hot(tf.zeros(len(x), tf.int64), 10) + 0 * tf.reduce_sum(x), bounds=(0, 1)
    )
    fooled = TargetedMisclassification(tf.constant(np.where(targets == 0, 1, targets)))
    raw, _, success = LBFGSAttack(max_gradient_calls=30)(flat, tf.constant(images), fooled, epsilons=None)
    assert not success.numpy().any()
    np.testing.assert_array_equal(raw.numpy(), images)


def test_an_image_of_the_target_class_comes_back_as_it_was():
    images, targets = (part[:3] for part in samples())
    fooled = TargetedMisclassification(tf.constant((targets - 1) % 10))
    raw, _, success = LBFGSAttack()(model(-1.0, 1.0), between(images, -1, 1), fooled, epsilons=None)
    assert success.numpy().all()
    np.testing.assert_array_equal(raw.numpy(), between(images, -1, 1).numpy())


@pytest.mark.parametrize(
    "criterion",
    [
        tf.constant([1, 2, 3]),
        Misclassification(tf.constant([1, 2, 3])),
        TargetedMisclassification(tf.constant([1, 2, 3])) & Misclassification(tf.constant([1, 2, 3])),
    ],
    ids=["labels", "untargeted", "combined"],
)
def test_other_criteria_are_refused(criterion):
    images = tf.constant(samples()[0][:3])
    with pytest.raises(ValueError, match=r"unsupported criterion: .* TargetedMisclassification"):
        LBFGSAttack()(model(), images, criterion, epsilons=None)


def test_wrong_arguments_are_refused():
    images, targets = samples()
    with pytest.raises(ValueError, match=r"expected target_classes to have shape \(3,\)"):
        LBFGSAttack().run(
            model(), tf.constant(images[:3]), TargetedMisclassification(tf.constant(targets[:2]))
        )
    with pytest.raises(TypeError, match="unexpected keyword argument 'steps'"):
        LBFGSAttack().run(
            model(), tf.constant(images[:2]), TargetedMisclassification(tf.constant(targets[:2])), steps=3
        )
    with pytest.raises(ValueError, match="distance"):
        LBFGSAttack(distance="l2")  # type: ignore[arg-type]


def test_32_bit_classes_work_beside_numpy_2():
    images, targets = (part[:2] for part in samples())
    fooled = TargetedMisclassification(tf.constant(targets.astype(np.int32)))
    assert LBFGSAttack()(model(), tf.constant(images), fooled, epsilons=None)[2].numpy().all()


def test_the_example_runs():
    assert doctest.testmod(foolbox3) == (0, 10)
