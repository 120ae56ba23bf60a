"""The study's classifier, loaded once a process and compiled once a purpose."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from compute.classifier import load_classifier, model_sha256
from compute.methods import Method
from compute.randomisation import Randomisation, randomised, weights_sha256
from compute.startup import default_batch_size, start_tensorflow
from flows.errors import LakeMismatch
from flows.parallel import worker_threads

if TYPE_CHECKING:
    from compute.attacks.lockstep import Evaluate
    from compute.explainer import Explainer
    from flows.study import Study


_building = RLock()
"""Tasks of one process that want the same network at once get the same one."""


class Network:
    """A classifier with what the steps need of it. Images: float32 [n, h, w, c] in [0, 1]."""

    def __init__(self, model: Any) -> None:
        import tensorflow as tf

        from compute.graph.operators import logits_function

        self.model = model
        self._logits_of = logits_function(model)
        self.forward = tf.function(self._logits_of, autograph=False)
        """Pre-softmax outputs of a batch of images, compiled."""
        self._explainers: dict[tuple[tuple[Method, ...], int], Explainer] = {}

    def logits(
        self, images: np.ndarray, batch_size: int, on_batch: Callable[[int], None] = lambda n: None
    ) -> np.ndarray:
        """Pre-softmax outputs float32 [n, k]; batches have one shape, the last one is filled up."""
        outputs = []
        for first in range(0, len(images), batch_size):
            batch = images[first : first + batch_size]
            filled = np.pad(batch, ((0, batch_size - len(batch)), (0, 0), (0, 0), (0, 0)))
            outputs.append(self.forward(filled).numpy()[: len(batch)])
            on_batch(len(batch))
        return np.concatenate(outputs)

    @cache  # noqa: B019 - a network lives as long as its process
    def evaluator(self, logits: str) -> Evaluate:
        """Cross-entropy and its gradient, for the attacks."""
        from compute.attacks.objective import cross_entropy_evaluator

        return cross_entropy_evaluator(self._logits_of, logits)

    def explainer(self, methods: tuple[Method, ...], batch_size: int) -> Explainer:
        """Relevance maps by these methods."""
        from compute.explainer import Explainer

        asked = methods, batch_size
        with _building:
            if asked not in self._explainers:
                self._explainers[asked] = Explainer(self.model, methods, batch_size)
            return self._explainers[asked]


def load(
    file: str,
    shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    weights: str | None = None,
) -> Network:
    """The network of a model file (and its weights file), for images [h, w, c] of so many classes, or any."""
    with _building:
        return _load(file, shape, classes, weights, model_sha256(file, weights))


@cache
def _load(
    file: str, shape: tuple[int, ...] | None, classes: int | None, weights: str | None, sha256: str
) -> Network:
    """sha256: a worker may outlive what a file held at first."""
    start_tensorflow(worker_threads())
    return Network(load_classifier(file, shape, classes, weights))


def of_study(study: Study, shape: tuple[int, ...], classes: int) -> Network:
    """The network of a study, for its images.

    Raises UnsupportedLayer or UnsupportedMethod where one of the study's methods cannot explain it:
    before an attack of hours, not behind it.
    """
    network = load(study.model.file, shape, classes, study.model.weights)
    network.explainer(study.computed_methods(), batch_size(study))
    return network


def batch_size(study: Study) -> int:
    """Images at a time: the study's, or what suits the device of this process, whose network is loaded."""
    return study.batch_size or default_batch_size()


def randomised_of_study(
    study: Study, shape: tuple[int, ...], classes: int, randomisation: Randomisation
) -> Network:
    """A randomised network of the sanity check, with just the weights that the lake says."""
    model = study.model
    with _building:
        return _randomised(model.file, shape, classes, model.weights, randomisation)


@lru_cache(maxsize=1)  # the shards of a subject follow one another
def _randomised(
    file: str, shape: tuple[int, ...], classes: int, weights: str | None, wanted: Randomisation
) -> Network:
    network = Network(randomised(load(file, shape, classes, weights).model, wanted.depth, wanted.seed))
    if weights_sha256(network.model) != wanted.sha256:
        raise LakeMismatch(
            f"the weights drawn for depth {wanted.depth} with seed {wanted.seed} are not those of the lake's "
            "randomisations: use the versions of TensorFlow and Keras that drew them, or another lake"
        )
    return network
