"""Foolbox's attacks on the shipped network: budgets, targets, honest success, one result in every batch."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from compute.attacks import foolbox_attacks
from compute.attacks import foolbox_parameters as p
from compute.attacks.foolbox_attacks import Pool, attack
from compute.attacks.inputs import AttackInputError
from compute.attacks.result import AttackResult, quantised, softmax
from compute.datasets import load_dataset
from flows import networks

BATCH = 16
EIGHT_LEVELS = 8 / 255

TARGETED = {
    "bim-linf": p.BIMLinf(epsilon=EIGHT_LEVELS),
    "pgd-linf": p.PGDLinf(epsilon=0.03, steps=10),
    "pgd-l2": p.PGDL2(epsilon=0.5, steps=10),
    "carlini-wagner-l2": p.CarliniWagnerL2(binary_search_steps=2, steps=12, initial_const=1.0),
    "ddn": p.DDN(steps=25),
    "ead": p.EAD(binary_search_steps=2, steps=12, initial_const=1.0),
    "boundary": p.Boundary(steps=40),
}
UNTARGETED = {"fgsm": p.FGSM(epsilon=0.02), "deepfool-l2": p.DeepFoolL2()}
ALL = TARGETED | UNTARGETED


@pytest.fixture(scope="module")
def network():
    return networks.load("shipped", (32, 32, 3), 10)


@pytest.fixture(scope="module")
def samples(network):
    """Correctly classified sample images and their labels."""
    data = load_dataset("cifar10-samples")
    images = data.pixels.astype(np.float32) / 255
    correct = network.logits(images, BATCH).argmax(axis=1) == data.labels
    return images[correct], data.labels[correct]


@pytest.fixture(scope="module")
def attacked(network, samples) -> Callable[[str], tuple[np.ndarray, np.ndarray, list[AttackResult]]]:
    """(images, classes, results) of each attack on five pairs, run once."""
    images, labels = samples
    known: dict[str, Any] = {}

    def results(name: str) -> tuple[np.ndarray, np.ndarray, list[AttackResult]]:
        if name not in known:
            classes = (labels[:5] + 3) % 10 if ALL[name].targeted else labels[:5]
            assert set(classes.tolist()) <= set(labels.tolist())  # Boundary starts from one of these
            pool = Pool(images, labels)
            found = attack(network.forward, images[:5], classes, ALL[name], BATCH, pool=pool)
            known[name] = images[:5], classes, found
        return known[name]

    return results


def test_every_attack_is_tried():
    assert set(ALL) == set(p.FOOLBOX_ATTACKS)


@pytest.mark.parametrize("name", ALL)
def test_success_is_of_the_delivered_image(name, attacked, network):
    images, classes, results = attacked(name)
    assert any(result.status == "success" for result in results)
    delivered = np.stack([result.pixels for result in results]).reshape(images.shape)
    np.testing.assert_array_equal(delivered, quantised(delivered, "round"))
    assert delivered.min() >= 0 and delivered.max() <= 1
    logits = network.logits(delivered, BATCH)
    for image, own, wanted, result in zip(images, logits, classes, results, strict=True):
        np.testing.assert_allclose(result.logits, own, atol=1e-5)
        reached = (own.argmax() == wanted) == ALL[name].targeted
        assert result.status == ("success" if reached else "failed")
        assert (result.reason is None) == reached
        assert result.target == (own.argmax() if reached else wanted)
        assert result.target_probability == pytest.approx(softmax(own)[result.target], abs=1e-5)
        change = result.pixels.astype(float) - image.reshape(-1)
        assert result.l2 == pytest.approx(np.linalg.norm(change))


@pytest.mark.parametrize("name", ["fgsm", "bim-linf", "pgd-linf", "pgd-l2"])
def test_delivered_images_keep_to_the_budget(name, attacked):
    _, _, results = attacked(name)
    size = "l2" if name == "pgd-l2" else "linf"
    sizes = np.array([getattr(result, size) for result in results])
    assert (sizes <= ALL[name].epsilon + 1e-6).all()
    assert (sizes >= 0.9 * ALL[name].epsilon).all()  # rounding takes little of it


@pytest.mark.parametrize("how", ["none", "round", "floor"])
@pytest.mark.parametrize("epsilon", [0.0039, 0.004, 0.01, 8 / 255, 0.0314])
def test_rounding_does_not_break_a_linf_budget(how, epsilon, network, samples):
    """Against every level within the budget, counted one by one."""
    images, labels = samples
    results = attack(network.forward, images, labels, p.FGSM(epsilon=epsilon, quantise=how), BATCH)
    levels = np.rint(images * 255).astype(int)
    allowed = next(n for n in range(255, -1, -1) if n / 255 <= epsilon + 1e-9)
    for image, result in zip(levels, results, strict=True):
        assert result.linf <= epsilon + 1e-6
        if how != "none":
            change = np.rint(result.pixels * 255).astype(int) - image.reshape(-1)
            assert np.abs(change).max() == allowed
            assert result.status == "failed" or allowed > 0


@pytest.mark.parametrize("how", ["none", "round", "floor"])
@pytest.mark.parametrize("epsilon", [0.0039, 0.1, 5.0])
def test_rounding_does_not_break_an_l2_budget(how, epsilon, network, samples):
    images, labels = samples
    parameters = p.PGDL2(epsilon=epsilon, steps=5, quantise=how)
    results = attack(network.forward, images[:4], (labels[:4] + 3) % 10, parameters, BATCH)
    for image, result in zip(images, results, strict=False):
        assert result.l2 <= epsilon + 1e-6
        if epsilon < 1 / 255:
            assert result.status == "failed"
            assert how == "none" or (result.pixels == image.reshape(-1)).all()
        else:
            assert result.l2 > 0.9 * epsilon or epsilon > 1  # five steps do not leave a large ball


@pytest.mark.parametrize("name", ALL)
def test_results_do_not_depend_on_the_other_pairs(name, attacked, network, samples):
    """The third and the first pair, in another order and with other mates."""
    images, classes, results = attacked(name)
    rest = np.roll(samples[0], 3, axis=0)[:7]
    others = np.roll(samples[1], 3)[:7]
    others = (others + 1) % 10 if ALL[name].targeted else others
    mixed = np.concatenate([rest[:4], images[[2]], rest[4:], images[[0]]])
    wanted = np.concatenate([others[:4], classes[[2]], others[4:], classes[[0]]])
    found = attack(network.forward, mixed, wanted, ALL[name], BATCH, pool=Pool(*samples))
    for old, new in ((results[2], found[4]), (results[0], found[8])):
        for field in AttackResult.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(old, field), getattr(new, field), err_msg=field)


@pytest.mark.parametrize("name", ["pgd-linf", "pgd-l2", "boundary"])
def test_another_seed_is_another_result(name, network, samples):
    images, labels = samples
    parameters = replace(ALL[name], steps=5)
    first, other = (
        attack(network.forward, images[:2], (labels[:2] + 3) % 10, a, BATCH, pool=Pool(images, labels))
        for a in (parameters, replace(parameters, seed=1))
    )
    assert (first[0].pixels != other[0].pixels).any()


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        # gradients, and evaluations without: the clean image, the delivered one, and each search step's own
        ("fgsm", (1, 2)),
        ("bim-linf", (10, 2)),
        ("pgd-l2", (10, 2)),
        ("ddn", (25, 25 + 2)),
        ("carlini-wagner-l2", (24, 24 + 2)),
        ("ead", (24, 2 * 24 + 2)),
        ("boundary", (0, 40 + 4 + 1 + 2)),
    ],
)
def test_evaluations_are_counted(name, calls, attacked):
    _, _, results = attacked(name)
    assert {(result.gradient_calls, result.forward_calls) for result in results} == {calls}


def test_deepfool_counts_until_its_own_success(attacked):
    """Each step asks nine boundaries, and one gradient more tells that it is done."""
    _, _, results = attacked("deepfool-l2")
    for result in results:
        assert result.iterations is not None and 1 <= result.iterations < 50
        assert result.gradient_calls == 9 * result.iterations + 1
        assert result.forward_calls == result.iterations + 1 + 3


@pytest.mark.parametrize("name", ["ddn", "deepfool-l2"])
def test_confidence_is_reached_by_the_delivered_image(name, network, samples):
    images, labels = samples
    parameters = replace(ALL[name], confidence=0.9)
    classes = (labels[:3] + 3) % 10 if parameters.targeted else labels[:3]
    results = attack(network.forward, images[:3], classes, parameters, BATCH)
    sure = [result.target_probability for result in results if result.status == "success"]
    assert sure and min(sure) >= 0.9
    for result in results:
        if result.status == "failed":
            assert result.target_probability < 0.9 or not parameters.targeted


def test_unrounded_images_are_foolbox_s_own(network, samples):
    """Against Foolbox's public interface. Two images: TensorFlow's sums over one vary from run to run."""
    import tensorflow as tf
    from foolbox.criteria import TargetedMisclassification
    from foolbox.models.tensorflow import TensorFlowModel

    images, labels = samples
    parameters = replace(TARGETED["ddn"], quantise="none")
    targets = (labels[:2] + 3) % 10
    results = attack(network.forward, images[:2], targets, parameters, 2)
    model = TensorFlowModel(network.forward, bounds=(0, 1), device="/CPU:0")
    own, _, success = foolbox_attacks.foolbox_attack(parameters)(
        model, tf.constant(images[:2]), TargetedMisclassification(tf.constant(targets)), epsilons=None
    )
    assert success.numpy().all() and all(result.status == "success" for result in results)
    pixels = np.stack([result.pixels for result in results])
    np.testing.assert_array_equal(pixels, own.numpy().reshape(2, -1))


def test_failures_say_why(network, samples):
    images, labels = samples
    three = slice(0, 3)

    def reasons(parameters, classes, **more):
        results = attack(network.forward, images[three], classes, parameters, BATCH, **more)
        assert {result.status for result in results} == {"failed"}
        assert [result.target for result in results] == classes.tolist()
        return {result.reason for result in results}

    weak = 1 / 255
    assert reasons(p.BIMLinf(epsilon=weak, steps=1), (labels[:3] + 3) % 10) == {"the target was not reached"}
    assert reasons(p.FGSM(epsilon=weak / 2), labels[three]) == {"the image kept its class"}
    below = p.FGSM(epsilon=0.02, confidence=1 - 1e-9)
    assert "the class reached is less probable than the confidence asked for" in reasons(below, labels[three])
    no_start = "no correctly classified image of the target to start from"
    other_class = Pool(images[:1], labels[:1] * 0 + 9)  # the network does not take it for a truck
    for pool in (None, Pool(images[:0], labels[:0]), other_class):
        assert reasons(p.Boundary(steps=3), np.full(3, 9), pool=pool) == {no_start}


def two_classes(weight: float, bias: float) -> keras.Model:
    """Class 1 where the mean component lies above -bias / weight, else class 0."""
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    kernel = np.zeros((48, 2), np.float32)
    kernel[:, 1] = weight / 48
    model.layers[-1].set_weights([kernel, np.array([0, bias], np.float32)])
    return model


def test_boundary_starts_only_where_the_delivered_start_is_of_the_target():
    """Floored to 8 bits, the only image of the target is of the other class."""
    model = two_classes(100.0, -100 * 100.5 / 255)
    pool = Pool(np.full((1, 4, 4, 3), 100.9 / 255, np.float32), np.array([1]))
    assert np.asarray(model(pool.images)).argmax() == 1
    images = np.zeros((1, 4, 4, 3), np.float32)
    [result] = attack(model, images, np.array([1]), p.Boundary(steps=3, quantise="floor"), 2, pool=pool)
    no_start = "no correctly classified image of the target to start from"
    assert (result.status, result.reason) == ("failed", no_start)


@pytest.mark.parametrize("name", ["ddn", "deepfool-l2"])
def test_values_that_are_not_finite_are_failures(name):
    images = np.full((2, 4, 4, 3), 0.5, np.float32)
    classes = np.array([0, 1])  # an arg max over nan would be 0
    for result in attack(two_classes(np.nan, 0.0), images, classes, ALL[name], 2):
        assert (result.status, result.l2) == ("failed", 0)
        assert result.reason == "the network gives values that are not finite"


def test_nothing_found_delivers_the_original(network, samples):
    """Carlini-Wagner and EAD of Foolbox give a black image where they find nothing."""
    images, labels = samples
    for kind in (p.CarliniWagnerL2, p.EAD):
        hopeless = kind(steps=1, binary_search_steps=1, initial_const=1e-9)
        [result] = attack(network.forward, images[:1], labels[1:2], hopeless, BATCH)
        assert (result.status, result.l2) == ("failed", 0)


def test_images_that_are_there_already_are_not_attacked(network, samples):
    images, labels = samples
    for parameters, classes in ((p.DDN(), labels[:2]), (p.DeepFoolL2(), (labels[:2] + 1) % 10)):
        results = attack(network.forward, images[:2], classes, parameters, BATCH)
        for result, label in zip(results, labels, strict=False):
            assert (result.status, result.l2, result.gradient_calls) == ("already_target", 0, 0)
            assert result.target == label


def test_every_result_is_told_with_its_batch(network, samples):
    images, labels = samples
    told: list[int] = []
    results = attack(
        network.forward,
        images[:5],
        labels[:5],
        p.FGSM(epsilon=0.01),
        2,
        lambda i, result: told.append(i),
    )
    assert told == list(range(5)) and len(results) == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": np.full((2, 32, 32, 3), 1.5, np.float32)}, "image 0 has values from 1.5 to 1.5"),
        ({"images": np.full((2, 32, 32, 3), np.nan, np.float32)}, "image 0 has values from nan to nan"),
        ({"classes": np.array([1, 10])}, "class 10 of image 1 is none of the network's: they are 0 to 9"),
        ({"classes": np.array([1])}, r"with classes of shape \(1,\)"),
    ],
)
def test_bad_input_is_named(network, change, said):
    given = {"images": np.zeros((2, 32, 32, 3), np.float32), "classes": np.array([1, 2])} | change
    with pytest.raises(AttackInputError, match=said):
        attack(network.forward, given["images"], given["classes"], p.DDN(), BATCH)


@pytest.mark.parametrize("name", ALL)
def test_a_network_without_gradients_ends_in_failures(name):
    """All weights zero but the bias of class 0: nothing leads anywhere, and nothing runs on."""
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    dense = model.layers[-1]
    dense.set_weights([np.zeros((192, 3), np.float32), np.array([1, 0, 0], np.float32)])
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    parameters = ALL[name]
    classes = np.array([1, 2]) if parameters.targeted else np.array([0, 0])
    results = attack(model, images, classes, parameters, 4)
    assert [result.status for result in results] == ["failed", "failed"]
    for result in results:
        assert np.isfinite(result.pixels).all() and result.reason
