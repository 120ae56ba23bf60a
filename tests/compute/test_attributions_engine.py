"""Methods beside LRP through the explainer: batches, order, precision, all of them together."""

from __future__ import annotations

import numpy as np
import pytest
from keras import layers

from compute.attributions.network import UnsupportedMethod
from compute.explainer import Explainer
from compute.maps import RawMaps
from compute.methods import parse_method
from compute.ranking import finish_maps
from tests.compute.networks import paper_like, seeded
from tests.compute.test_attributions import logits, random_images, residual, with_layer_norm

IDS = (
    "gradient", "input-x-gradient", "smoothgrad-n4-sigma0.1", "integrated-gradients-n6",
    "guided-backpropagation", "grad-cam", "occlusion-window2-stride1", "lime-n40-window2", "random",
)  # fmt: skip
OTHERS = [parse_method(id) for id in IDS]
CLASSES = np.array([0, 1, 2, 0, 1, 2, 0])


def difference(a: RawMaps, b: RawMaps) -> float:
    """The largest of all maps' max |a - b| by max |b|, or by 1 where b is zero: Grad-CAM's may be."""
    largest = np.abs(b.relevance).max(axis=1)
    return float((np.abs(a.relevance - b.relevance).max(axis=1) / np.where(largest > 0, largest, 1)).max())


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return random_images(paper_like(), 7).astype(np.float32)


@pytest.fixture(scope="module")
def reference(images: np.ndarray) -> dict[str, RawMaps]:
    return Explainer(paper_like(), OTHERS, batch_size=7, dtype="float64").explain(images, CLASSES)


@pytest.mark.parametrize("size", [1, 3, 16])
def test_batch_size_does_not_change_a_map(images, reference, size: int) -> None:
    maps = Explainer(paper_like(), OTHERS, batch_size=size, dtype="float64").explain(images, CLASSES)
    assert list(maps) == list(IDS)
    for id in IDS:
        assert maps[id].relevance.shape == (7, 48)
        assert difference(maps[id], reference[id]) < 1e-9, id


def test_order_in_the_batch_does_not_change_a_map(images, reference) -> None:
    order = np.array([3, 0, 6, 2, 5, 1, 4])
    maps = Explainer(paper_like(), OTHERS, 7, "float64").explain(images[order], CLASSES[order])
    for id in IDS:
        undone = np.argsort(order)
        np.testing.assert_allclose(maps[id].relevance[undone], reference[id].relevance, rtol=1e-9, atol=1e-12)


def test_a_second_explainer_gives_the_same_maps(images) -> None:
    first, second = (Explainer(paper_like(), OTHERS, batch_size=4).explain(images, CLASSES) for _ in range(2))
    for id in IDS:
        np.testing.assert_array_equal(first[id].relevance, second[id].relevance)


def test_float32_gives_nearly_the_maps_of_float64(images, reference) -> None:
    maps = Explainer(paper_like(), OTHERS, batch_size=7).explain(images, CLASSES)
    for id in IDS:
        assert maps[id].relevance.dtype == maps[id].start.dtype == np.float32
        assert reference[id].relevance.dtype == np.float64
        assert difference(maps[id], reference[id]) < 1e-4, id


def test_all_methods_together_with_lrp_on_a_residual_network() -> None:
    network = residual()
    images = random_images(network, 5).astype(np.float32)
    methods = [parse_method("lrp-0"), *OTHERS, parse_method("lrp-epsilon-0.1")]
    together = Explainer(network, methods, batch_size=2).explain(images, CLASSES[:5])
    assert list(together) == [method.id for method in methods]
    expected = logits(network, images)[range(5), CLASSES[:5]]
    for method in methods:
        maps = together[method.id]
        np.testing.assert_allclose(maps.start, expected, rtol=1e-4, err_msg=method.id)
        alone = Explainer(network, [method], batch_size=2).explain(images, CLASSES[:5])[method.id]
        assert difference(maps, alone) < 1e-5, method.id
        finished = finish_maps(maps.relevance)
        assert finished.ok.all(), method.id
    per_pixel = {"grad-cam", "occlusion-window2-stride1", "lime-n40-window2"}
    for id in IDS:
        pixels = together[id].relevance.reshape(5, 36, 2)
        assert (pixels[..., 0] == pixels[..., 1]).all() == (id in per_pixel), id
    # each method says something of its own
    for id in IDS:
        for other in IDS:
            assert id == other or difference(together[id], together[other]) > 1e-2, (id, other)
    # canonical LRP-0 is input x gradient on a network of ReLU, max-pooling, means and sums
    assert difference(together["lrp-0"], together["input-x-gradient"]) < 1e-3


def test_networks_that_lrp_does_not_know_have_all_maps_but_guided_ones() -> None:
    network = with_layer_norm()
    images = random_images(network, 2).astype(np.float32)
    methods = [method for method in OTHERS if method.id != "guided-backpropagation"]
    maps = Explainer(network, methods, batch_size=2).explain(images, CLASSES[:2])
    for id, found in maps.items():
        assert finish_maps(found.relevance).ok.all(), id
    for id in ("lrp-0", "guided-backpropagation"):
        with pytest.raises(ValueError, match=f"'{id}'.*layer "):
            Explainer(network, [parse_method(id)])


def test_a_method_that_the_network_does_not_allow_is_refused_before_any_work() -> None:
    with pytest.raises(UnsupportedMethod, match="'grad-cam'"):
        Explainer(seeded(1, layers.Flatten(), layers.Dense(3)), OTHERS)


def test_no_images_give_no_maps() -> None:
    maps = Explainer(paper_like(), OTHERS).explain(np.zeros((0, 6, 4, 2), np.float32), np.zeros(0, np.int64))
    assert [found.relevance.shape for found in maps.values()] == [(0, 48)] * len(IDS)
