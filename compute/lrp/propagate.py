"""The walk through the graph: one forward pass, then relevance back from the logits by each method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from compute.graph.nodes import IMAGE, LayerGraph, nonnegative_inputs
from compute.graph.operators import outputs
from compute.lrp.canonical import Passing, canonical
from compute.lrp.published import published
from compute.lrp.visit import Ledger, Visit
from compute.methods import Method

CONVENTIONS: dict[str, Callable[[LayerGraph, Method], list[Passing]]] = {
    "canonical": canonical,
    "published": published,
}


def visit_nodes(graph: LayerGraph, x: tf.Tensor, nonnegative: bool = True) -> list[Visit]:
    """A forward pass of x [b, h, w, c] that keeps each node's inputs and output."""
    known = nonnegative_inputs(graph, nonnegative)
    values = dict(enumerate(outputs(graph, x))) | {IMAGE: x}
    visits = []
    for index, (node, sources) in enumerate(zip(graph.nodes, graph.sources, strict=True)):
        relu = graph.relu_behind(index)
        rectified = None if relu is None else values[relu]
        inputs = [values[source] for source in sources]
        visits.append(Visit(node, inputs, values[index], known[index], rectified))
    return visits


def propagate(
    graph: LayerGraph, visits: Sequence[Visit], passings: Sequence[Passing], relevance: tf.Tensor
) -> tuple[tf.Tensor, Ledger]:
    """Relevance of the network's output taken back to the image [b, h, w, c], and what was absorbed.

    Where several nodes read one value, its relevance is the sum of what they give back.
    """
    ledger = Ledger()
    waiting: dict[int, list[tf.Tensor]] = {len(visits) - 1: [relevance]}
    for index in reversed(range(len(visits))):
        arrived = waiting.pop(index)
        shares = passings[index](visits[index], tf.add_n(arrived), ledger)
        for source, share in zip(graph.sources[index], shares, strict=True):
            waiting.setdefault(source, []).append(share)
    return tf.add_n(waiting[IMAGE]), ledger


def explain_batch(
    graph: LayerGraph,
    passings: Sequence[Sequence[Passing]],
    x: tf.Tensor,
    classes: tf.Tensor,
    nonnegative: bool = True,
) -> tuple[list[tf.Tensor], list[tf.Tensor], tf.Tensor]:
    """Relevance [b, h*w*c] and absorbed [3, b] (bias, stabiliser, empty) by method, and start logits [b].

    passings: of each method, as its convention gives them for this graph. x: float [b, h, w, c];
    classes: int64 [b], the class whose logit starts the propagation, alone. `nonnegative`: x is known
    to have no negative value.
    """
    visits = visit_nodes(graph, x, nonnegative)
    logits = visits[-1].z
    chosen = tf.one_hot(classes, graph.classes, on_value=True, off_value=False, dtype=tf.bool)
    seed = tf.where(chosen, logits, tf.zeros_like(logits))
    start = tf.gather(logits, classes, axis=1, batch_dims=1)
    maps, absorbed = [], []
    for of_method in passings:
        relevance, ledger = propagate(graph, visits, of_method, seed)
        maps.append(tf.reshape(relevance, (-1, graph.components)))
        absorbed.append(ledger.totals(start))
    return maps, absorbed, start
