"""LIME by the library of its authors, with a grid of squares for its segments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from lime.lime_image import LimeImageExplainer

from compute.attributions.network import Attribute, Network
from compute.attributions.occlusion import check_window
from compute.maps import RawMaps
from compute.methods import Method


def lime(network: Network, method: Method) -> Attribute:
    """The weight of each square in a linear model of the logit around the image.

    Ribeiro, Singh & Guestrin 2016, "Why should I trust you?", section 3, as the library `lime` computes it:
    `samples` images in which each square is kept or filled with the baseline by the toss of a coin
    (the first keeps all), the logit of each, and a ridge regression (alpha 1) of the logit on the
    squares kept, weighted by sqrt(exp(-d^2 / 0.25^2)), d the cosine distance from the image.
    All squares enter. The components of a square share its weight. The tosses follow from the seed
    alone: every image gets the same, so that a map depends on no other image and what differs
    between two maps is not the luck of the tosses (common random numbers).
    """
    assert method.samples and method.window and method.baseline is not None and method.seed is not None
    samples, baseline, seed = method.samples, method.baseline, method.seed
    check_window(network, method)
    segments = grid(*network.graph.input_shape[:2], method.window)

    def explain(image: np.ndarray, of_class: int) -> np.ndarray:
        def logits(images: np.ndarray) -> np.ndarray:
            return network.logit(images, np.full(len(images), of_class))[:, None]

        explainer: Any = QuietExplainer(feature_selection="none", random_state=np.random.RandomState(seed))
        explanation = explainer.explain_instance(
            image, logits, labels=(0,), top_labels=None, hide_color=baseline, num_samples=samples,
            batch_size=network.batch_size, segmentation_fn=lambda _: segments, random_seed=0,
        )  # fmt: skip
        weights = np.zeros(segments.max() + 1)
        for segment, weight in explanation.local_exp[0]:
            weights[segment] = weight
        return weights[segments]

    def attribute(x: np.ndarray, classes: np.ndarray) -> RawMaps:
        values = np.stack([explain(image, int(of_class)) for image, of_class in zip(x, classes, strict=True)])
        return network.maps(values, network.logit(x, classes))

    return attribute


class QuietExplainer(LimeImageExplainer):
    """LIME's explainer with the same tosses, without its progress bar and its loop over segments."""

    def data_labels(
        self,
        image: np.ndarray,
        fudged_image: np.ndarray,
        segments: np.ndarray,
        classifier_fn: Callable[[np.ndarray], np.ndarray],
        num_samples: int,
        batch_size: int = 10,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tosses int [samples, segments], 1 = kept, and the outputs for the images that they make."""
        features = int(segments.max()) + 1
        random_state: Any = self.random_state
        kept = random_state.randint(0, 2, num_samples * features).reshape(num_samples, features)
        kept[0] = 1
        outputs = []
        for first in range(0, num_samples, batch_size):
            pixels = kept[first : first + batch_size, segments, None] == 1
            outputs.append(classifier_fn(np.where(pixels, image, fudged_image)))
        return kept, np.concatenate(outputs)


def grid(height: int, width: int, window: int) -> np.ndarray:
    """int [height, width]: the number of each pixel's square; the last ones are cut at the border."""
    columns = -(-width // window)
    return (np.arange(height) // window)[:, None] * columns + np.arange(width) // window
