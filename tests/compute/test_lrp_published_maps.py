"""The published convention on the authors' network against maps of an independent implementation."""

import numpy as np
import pytest

from compute.explainer import Explainer
from compute.methods import PAPER_RULES, parse_method
from compute.ranking import finish_maps
from tests.compute.published_network import (
    MAPS,
    PUBLISHED,
    adversarial_images,
    original_images,
    published_network,
)

HERE = MAPS.exists() and PUBLISHED.exists()
pytestmark = pytest.mark.skipif(not HERE, reason="the authors' files are not here")


@pytest.fixture(scope="module")
def network():
    return published_network()


@pytest.fixture(scope="module")
def published_maps():
    with np.load(MAPS) as archive:
        return dict(archive)


def subjects(maps: dict[str, np.ndarray], rule: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and explained classes of the 16 originals, then of their adversarial examples."""
    ids, targets = maps[f"{rule}/adversarial/image_id"], maps[f"{rule}/adversarial/explained_class"]
    np.testing.assert_array_equal(ids, maps[f"{rule}/original/image_id"])
    images = np.concatenate([original_images(ids), adversarial_images(ids, targets)])
    return images, np.concatenate([maps[f"{rule}/original/explained_class"], targets]).astype(np.int64)


def expected_maps(maps: dict[str, np.ndarray], rule: str, column: str) -> np.ndarray:
    return np.concatenate([maps[f"{rule}/{subject}/{column}"] for subject in ("original", "adversarial")])


@pytest.fixture(scope="module", params=["float64", "float32"])
def explained(request, network, published_maps):
    """(dtype, raw maps by method): 16 originals and 16 adversarial examples."""
    images, classes = subjects(published_maps, "lrp-0")
    for rule in PAPER_RULES:
        assert np.array_equal(expected_maps(published_maps, rule, "explained_class"), classes)
    methods = [parse_method(f"published-{rule}") for rule in PAPER_RULES]
    explainer = Explainer(network, methods, batch_size=16, dtype=request.param)
    return request.param, explainer.explain(images.astype(request.param), classes)


def test_the_images_are_the_ones_explained(network, published_maps) -> None:
    images, classes = subjects(published_maps, "lrp-0")
    np.testing.assert_array_equal(network(images, training=False).numpy().argmax(axis=1), classes)


@pytest.mark.parametrize("rule", PAPER_RULES)
def test_published_maps(explained, published_maps, rule: str) -> None:
    """float64: all but equal. float32: denominators near zero cost digits, and a few maps overflow."""
    dtype, maps = explained
    expected = expected_maps(published_maps, rule, "relevance")
    finished = finish_maps(maps[f"published-{rule}"].relevance)
    if dtype == "float64":
        np.testing.assert_allclose(finished.relevance, expected, rtol=0, atol=1e-8)
        np.testing.assert_allclose(finished.scale, expected_maps(published_maps, rule, "scale"), rtol=1e-6)
        return
    assert np.count_nonzero(~finished.ok) <= 3
    median, high = (2e-3, 3e-2) if rule in ("lrp-0", "lrp-epsilon-0.0001") else (5e-4, 1e-2)
    gap = np.linalg.norm((finished.relevance - expected)[finished.ok], axis=1)
    gap /= np.linalg.norm(expected[finished.ok], axis=1)
    assert np.median(gap) <= median
    assert np.quantile(gap, 0.95) <= high
    top = np.argsort(-expected, axis=1, kind="stable")[:, :307]
    overlap = (np.take_along_axis(finished.rank, top, axis=1) < 307).mean(axis=1)[finished.ok]
    assert overlap.min() >= 0.98
