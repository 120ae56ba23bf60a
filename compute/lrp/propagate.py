"""The engine: relevance maps of batches of images, by several methods in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from compute.lrp.graph import LayerGraph, fold_batchnorm, nonnegative_inputs, read_model
from compute.lrp.operators import forward_node
from compute.lrp.published import PUBLISHED
from compute.lrp.rules import CANONICAL, Rule, Visit
from compute.methods import Method

RULES = {"canonical": CANONICAL, "published": PUBLISHED}


@dataclass(frozen=True)
class RawMaps:
    """relevance: float [n, h*w*c], in the unit of logits; start: float [n], the explained logit."""

    relevance: np.ndarray
    start: np.ndarray


def visit_nodes(graph: LayerGraph, x: tf.Tensor, nonnegative: bool = True) -> list[Visit]:
    """A forward pass of x [b, h, w, c] that keeps each node's input and output."""
    visits = []
    for node, known in zip(graph.nodes, nonnegative_inputs(graph, nonnegative), strict=True):
        z = forward_node(node, x)
        visits.append(Visit(node, x, z, known))
        x = z
    return visits


def propagate(
    visits: Sequence[Visit], relevance: tf.Tensor, method: Method, rules: dict[type, Rule]
) -> tf.Tensor:
    """Relevance of the network's output taken back to its input [b, h, w, c]."""
    for visit in reversed(visits):
        relevance = rules[type(visit.node)](visit, relevance, method)
    return relevance


def explain_batch(
    graph: LayerGraph, methods: Sequence[Method], x: tf.Tensor, classes: tf.Tensor, nonnegative: bool = True
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Relevance [b, h*w*c] by each method and start logits [b]; all methods of one convention.

    x: float [b, h, w, c]; classes: int64 [b], the class whose logit starts the propagation, alone.
    `nonnegative`: x is known to have no negative value. For the canonical convention the graph has
    its BatchNorm folded.
    """
    visits = visit_nodes(graph, x, nonnegative)
    logits = visits[-1].z
    chosen = tf.one_hot(classes, graph.classes, on_value=True, off_value=False, dtype=tf.bool)
    seed = tf.where(chosen, logits, tf.zeros_like(logits))
    rules = RULES[methods[0].convention]
    maps = [propagate(visits, seed, method, rules) for method in methods]
    flat = [tf.reshape(relevance, (-1, graph.components)) for relevance in maps]
    return flat, tf.gather(logits, classes, axis=1, batch_dims=1)


class Explainer:
    """Relevance maps of a model by several LRP methods.

    model: a built Keras model, images in [0, 1] to probabilities or logits; its weights are read
    here. Raises UnsupportedLayer where a layer has no rule. Methods of one convention share one
    forward pass; a batch has a fixed size, the last one is filled up.
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
        self.batch_size, self.dtype = batch_size, dtype
        self.input_shape, self.classes, self.components = graph.input_shape, graph.classes, graph.components
        self._passes: list[tuple[list[Method], Any]] = []
        for convention in RULES:
            chosen = [method for method in self.methods if method.convention == convention]
            if chosen:
                used = fold_batchnorm(graph) if convention == "canonical" else graph
                self._passes.append((chosen, self._compile(used, chosen)))

    def explain(
        self,
        images: np.ndarray,
        classes: np.ndarray,
        on_batch: Callable[[int, int], None] = lambda done, total: None,
    ) -> dict[str, RawMaps]:
        """Maps by method id, of images float32 [n, h, w, c] in [0, 1] for classes int64 [n].

        Images are taken to the engine's dtype; give float64 images where 1e-8 in a pixel matters.
        `on_batch(done, total)` is called after each batch, with numbers of images. Raises
        ValueError for other shapes, values outside [0, 1] or classes that the model does not have.
        """
        self._check(images, classes)
        n = len(images)
        relevance = {method.id: np.empty((n, self.components), self.dtype) for method in self.methods}
        start = {method.id: np.empty(n, self.dtype) for method in self.methods}
        for first in range(0, n, self.batch_size):
            rows = slice(first, min(first + self.batch_size, n))
            filling = self.batch_size - (rows.stop - rows.start)
            x = np.pad(images[rows].astype(self.dtype), ((0, filling), (0, 0), (0, 0), (0, 0)))
            targets = np.pad(classes[rows].astype(np.int64), (0, filling))
            for methods, function in self._passes:
                maps, logits = function(x, targets)
                for method, values in zip(methods, maps, strict=True):
                    relevance[method.id][rows] = values.numpy()[: len(images[rows])]
                    start[method.id][rows] = logits.numpy()[: len(images[rows])]
            on_batch(rows.stop, n)
        return {id: RawMaps(relevance[id], start[id]) for id in relevance}

    def _compile(self, graph: LayerGraph, methods: list[Method]) -> Any:
        signature = [
            tf.TensorSpec((self.batch_size, *self.input_shape), self.dtype),
            tf.TensorSpec((self.batch_size,), tf.int64),
        ]
        return tf.function(
            lambda x, classes: explain_batch(graph, methods, x, classes),
            input_signature=signature,
            autograph=False,
        )

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
