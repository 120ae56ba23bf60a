"""LIME against the library as its authors use it, and the random map against chance."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from keras import layers
from lime.lime_image import LimeImageExplainer

from compute.attributions.lime import QuietExplainer, grid
from compute.attributions.network import UnsupportedMethod
from compute.attributions.random_map import draw
from tests.compute.networks import paper_like, seeded
from tests.compute.test_attributions import explain, linear, logits, random_images


def test_the_grid_numbers_its_squares_row_by_row() -> None:
    assert grid(4, 5, 2).tolist() == [[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5], [3, 3, 4, 4, 5]]
    assert grid(2, 2, 1).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_explanations_are_those_of_the_library(batch_size: int) -> None:
    network, segments = paper_like(), grid(6, 4, 2)
    image = random_images(network, 1)[0]
    explanations = []
    for kind in (LimeImageExplainer, QuietExplainer):
        explainer: Any = kind(random_state=np.random.RandomState(5))
        explanations.append(
            explainer.explain_instance(
                image, lambda images: logits(network, images), labels=(2,), top_labels=None, hide_color=0.5,
                num_samples=60, batch_size=batch_size, segmentation_fn=lambda _: segments,
            )
        )  # fmt: skip
    theirs, ours = (dict(explanation.local_exp[2]) for explanation in explanations)
    assert len(theirs) == 6
    for segment, weight in theirs.items():
        assert ours[segment] == pytest.approx(weight, rel=1e-9)
    assert explanations[1].score == pytest.approx(explanations[0].score, rel=1e-9)


def test_lime_finds_the_weights_of_a_linear_network() -> None:
    """There the logit is linear in the squares: each weighs w . (x - baseline), but for the ridge."""
    network = linear()
    image = random_images(network, 1)
    maps = explain(network, "lime-n3000-window3", image, [1]).relevance.reshape(6, 5, 2)
    slope = explain(network, "gradient", image, [1]).relevance.reshape(6, 5, 2)
    share = slope * (image[0] - 0.5)
    for square in (np.s_[:3, :3], np.s_[:3, 3:], np.s_[3:, :3], np.s_[3:, 3:]):
        np.testing.assert_allclose(maps[square], share[square].sum(), atol=0.01 * np.abs(share).sum())
        assert np.ptp(maps[square]) == 0


def test_lime_tosses_alike_for_all_images() -> None:
    network = paper_like()
    images = random_images(network, 2)
    both = explain(network, "lime-n20-window2", images, [0, 0]).relevance
    alone = explain(network, "lime-n20-window2", images[1:], [0]).relevance
    np.testing.assert_allclose(both[1], alone[0], rtol=1e-9)
    shifted = explain(network, "lime-n20-window2", images[1:] + 1e-5, [0]).relevance
    assert np.abs(shifted[0] - alone[0]).max() < 1e-3 * np.abs(alone).max()
    assert np.abs(both[0] - both[1]).max() > 1e-2 * np.abs(both).max()


def test_lime_without_its_library_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "compute.attributions.lime")
    monkeypatch.setitem(sys.modules, "lime.lime_image", None)
    with pytest.raises(UnsupportedMethod, match=r"'lime-n20-window2'.*pip install 'relevance-lake\[lime\]'"):
        explain(linear(), "lime-n20-window2", np.zeros((1, 6, 5, 2)), [0])


def test_random_maps_are_standard_normal_and_overlap_by_chance() -> None:
    network = seeded(1, layers.Flatten(), layers.Dense(3), shape=(32, 32, 3))
    images = random_images(network, 40)
    maps = explain(network, "random", images, [0] * 40).relevance
    n = maps.size
    assert abs(maps.mean()) < 4 / np.sqrt(n)
    assert abs(maps.std() - 1) < 4 / np.sqrt(2 * n)
    assert abs((maps > 1.6448536).mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / n)
    top = np.argsort(-maps, axis=1)[:, :307]
    overlap = [len(set(a) & set(b)) / 307 for a, b in zip(top[::2], top[1::2], strict=True)]
    chance = 307 / 3072
    spread = np.sqrt(chance * (1 - chance) ** 2 / 307 / len(overlap))  # hypergeometric
    assert abs(np.mean(overlap) - chance) < 4 * spread


def test_a_random_map_depends_on_image_class_and_seed_alone() -> None:
    network = paper_like()
    images = random_images(network, 3).astype(np.float32)
    maps = explain(network, "random", images, [0, 1, 2], "float32").relevance
    np.testing.assert_array_equal(
        explain(network, "random", images[1:2], [1], "float32").relevance[0], maps[1]
    )
    in_double = explain(network, "random", images, [0, 1, 2], "float64").relevance
    np.testing.assert_array_equal(in_double.astype(np.float32), maps)
    nudged = images[0].copy()
    nudged[0, 0, 0] = np.nextafter(nudged[0, 0, 0], np.float32(2))
    others = [draw(0, images[0], 1), draw(1, images[0], 0), draw(0, nudged, 0)]
    for other in others:
        assert abs(np.corrcoef(other.ravel(), maps[0])[0, 1]) < 0.6
    assert draw(0, images[0], 0).ravel().astype(np.float32).tolist() == maps[0].tolist()
