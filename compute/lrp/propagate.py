"""The engine: relevance maps of batches of images, by several methods in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from compute.lrp.graph import LayerGraph, nonnegative_inputs
from compute.lrp.operators import forward_node
from compute.lrp.published import PUBLISHED
from compute.lrp.rules import CANONICAL, Rule, Visit
from compute.methods import Method

RULES = {"canonical": CANONICAL, "published": PUBLISHED}


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
