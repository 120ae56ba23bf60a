"""The Foolbox 2.4.0 side of the comparison: its L-BFGS attack, used as its documentation shows.

Run by the Python of .venv-foolbox24, which has Foolbox 2.4.0, TensorFlow and nothing of this product;
`peer_process` is the other end. Source: Rauber et al. (2017), Foolbox, arXiv:1707.04131.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import collections
import collections.abc
import json
import os
import sys
import time
import warnings
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# scipy's L-BFGS-B asks BLAS for products of 3,072 numbers: more threads wait for each other and slow it down
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import keras
import numpy as np
import tensorflow as tf

# Foolbox 2.4.0 imports them from where Python 3.9 had them last
collections.Iterable, collections.Mapping = collections.abc.Iterable, collections.abc.Mapping  # type: ignore

import foolbox  # noqa: E402

DISTANCES: dict[str, Any] = {"mse": foolbox.distances.MSE, "mae": foolbox.distances.MAE}


class Worker:
    """The network and the pairs of the last `load`."""

    def load(self, network: str, pairs: str) -> dict[str, Any]:
        """A network that ends with its logits (.keras), and images, labels and targets (.npz).

        Foolbox gets it compiled, and both of its passes have run before anything is timed.
        """
        model: Any = keras.saving.load_model(network, compile=False)
        compiled = tf.function(lambda x: model(x, training=False), autograph=False)
        self.model = foolbox.models.TensorFlowEagerModel(
            compiled, bounds=(0, 1), num_classes=model.output_shape[-1]
        )
        with np.load(pairs) as file:
            self.images, self.labels, self.targets = file["images"], file["labels"], file["targets"]
        logits = [self.model.forward_one(image) for image in self.images]
        self.model.forward_and_gradient_one(self.images[0], int(self.targets[0]))
        return {
            "logits": np.stack(logits).tolist(),
            "versions": {module.__name__: module.__version__ for module in (foolbox, tf, keras, np)},
        }

    def attack(self, pair: int, distance: str) -> dict[str, Any]:
        """One pair by the attack's defaults: the delivered image, or null where it found none."""
        started = time.perf_counter()
        adversarial = foolbox.v1.Adversarial(
            self.model,
            foolbox.criteria.TargetClass(int(self.targets[pair])),
            self.images[pair],
            int(self.labels[pair]),
            distance=DISTANCES[distance],
        )
        foolbox.v1.attacks.LBFGSAttack()(adversarial, unpack=False)
        seconds = time.perf_counter() - started
        found = adversarial.perturbed
        return {
            "image": None if found is None else found.reshape(-1).tolist(),
            "gradient_calls": adversarial._total_gradient_calls,
            "prediction_calls": adversarial._total_prediction_calls,
            "seconds": seconds,
        }


def main() -> None:
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    worker, answers = Worker(), os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to stderr, not among the answers
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(worker, request.pop("task"))(**request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
