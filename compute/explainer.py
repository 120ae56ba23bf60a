"""Relevance maps of images by any attribution methods: batches, checks, and who computes what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from compute.attributions.registry import attributions
from compute.graph.folding import fold_batchnorm
from compute.graph.nodes import LayerGraph
from compute.graph.operators import traced_once
from compute.graph.reader import read_model
from compute.lrp.propagate import CONVENTIONS, explain_batch
from compute.maps import RawMaps, joined, unaccounted
from compute.methods import Method

Pass = Callable[[np.ndarray, np.ndarray], dict[str, RawMaps]]
"""(images [b, h, w, c] of the engine's dtype, classes int64 [b]) to maps by method id; b is fixed."""


LARGEST_ON_CPU = 64
"""Images at a time that a CPU gains from; seven rules of 256 would hold 5 GB and run slower."""


class Explainer:
    """Relevance maps of a model by several methods.

    model: a built Keras model, images in [0, 1] to probabilities or logits; its weights are read
    here. Raises UnsupportedLayer where a method has no rule for a layer, UnsupportedMethod where it
    cannot explain the network for another reason. LRP methods of one convention share one forward
    pass; their batches have a fixed size, the last one is filled up. On a CPU a batch above 64 goes
    through the network in equal parts.
    """

    def __init__(
        self, model: keras.Model, methods: Sequence[Method], batch_size: int = 64, dtype: str = "float32"
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be float32 or float64, not {dtype}")
        graph = read_model(model)
        self.methods = tuple(dict.fromkeys(methods))
        self.batch_size, self.dtype = _at_a_time(batch_size), dtype
        self.input_shape, self.classes, self.components = graph.input_shape, graph.classes, graph.components
        self._passes: list[Pass] = []
        for convention in CONVENTIONS:
            chosen = [method for method in self.methods if method.convention == convention]
            if chosen:
                used = fold_batchnorm(graph) if convention == "canonical" else graph
                self._passes.append(self._lrp_pass(used, chosen))
        others = [method for method in self.methods if not method.is_lrp]
        self._attributes = (
            attributions(fold_batchnorm(graph), others, self.batch_size, dtype) if others else {}
        )

    def stream(self, images: np.ndarray, classes: np.ndarray) -> Iterator[dict[str, RawMaps]]:
        """Maps by method id, batch after batch of at most `batch_size` images, in order.

        images: float32 [n, h, w, c] in [0, 1], for classes int64 [n]; they are taken to the engine's
        dtype: give float64 images where 1e-8 in a pixel matters. Raises ValueError for other shapes,
        values outside [0, 1] or classes that the model does not have.
        """
        self._check(images, classes)
        for first in range(0, len(images), self.batch_size):
            batch = images[first : first + self.batch_size]
            filling = self.batch_size - len(batch)
            x = np.pad(batch.astype(self.dtype), ((0, filling), (0, 0), (0, 0), (0, 0)))
            targets = np.pad(classes[first : first + self.batch_size].astype(np.int64), (0, filling))
            maps: dict[str, RawMaps] = {}
            for one_pass in self._passes:
                maps |= one_pass(x, targets)
            for id, attribute in self._attributes.items():
                maps[id] = attribute(x[: len(batch)], targets[: len(batch)])
            yield {method.id: maps[method.id].rows(slice(len(batch))) for method in self.methods}

    def explain(
        self,
        images: np.ndarray,
        classes: np.ndarray,
        on_batch: Callable[[int, int], None] = lambda done, total: None,
    ) -> dict[str, RawMaps]:
        """The maps of all batches by method id; images and classes as for `stream`.

        `on_batch(done, total)` is called after each batch, with numbers of images.
        """
        nothing = unaccounted(np.empty((0, self.components), self.dtype), np.empty(0, self.dtype))
        parts: dict[str, list[RawMaps]] = {method.id: [nothing] for method in self.methods}
        done = 0
        for batch in self.stream(images, classes):
            for id, maps in batch.items():
                parts[id].append(maps)
            done = min(done + self.batch_size, len(images))
            on_batch(done, len(images))
        return {id: joined(maps) for id, maps in parts.items()}

    def _lrp_pass(self, graph: LayerGraph, methods: list[Method]) -> Pass:
        passings = [CONVENTIONS[str(method.convention)](graph, method) for method in methods]
        signature = [
            tf.TensorSpec((self.batch_size, *self.input_shape), self.dtype),
            tf.TensorSpec((self.batch_size,), tf.int64),
        ]
        function = traced_once(lambda x, classes: explain_batch(graph, passings, x, classes), signature)

        def run(x: np.ndarray, classes: np.ndarray) -> dict[str, RawMaps]:
            maps, absorbed, start = function(tf.constant(x), tf.constant(classes))
            return {
                method.id: RawMaps(values.numpy(), start.numpy(), *kept.numpy().astype(np.float64))
                for method, values, kept in zip(methods, maps, absorbed, strict=True)
            }

        return run

    def _check(self, images: np.ndarray, classes: np.ndarray) -> None:
        if images.ndim != 4 or images.shape[1:] != self.input_shape:
            raise ValueError(
                f"images must be [n, {', '.join(map(str, self.input_shape))}], not {images.shape}"
            )
        if classes.shape != (len(images),):
            raise ValueError(f"classes must be [{len(images)}], one for each image, not {classes.shape}")
        if len(images) and not (images.min() >= 0 and images.max() <= 1):
            raise ValueError(f"images must lie in [0, 1], not in [{images.min()}, {images.max()}]")
        if len(images) and not (classes.min() >= 0 and classes.max() < self.classes):
            raise ValueError(
                f"classes must lie in 0..{self.classes - 1}, not in {classes.min()}..{classes.max()}"
            )


def _at_a_time(batch_size: int) -> int:
    """Images that go through the network at a time."""
    if tf.config.list_physical_devices("GPU"):
        return batch_size
    parts = -(-batch_size // LARGEST_ON_CPU)
    return -(-batch_size // parts)
