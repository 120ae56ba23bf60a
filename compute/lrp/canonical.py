"""How relevance passes each kind of node, canonical convention: the rules of the literature.

BatchNorm has been folded away; what could not be folded is a diagonal linear layer with the rule of
the layers around it. Max-pooling: the winner takes all. Sums and average pooling share in proportion to
their inputs (LRP-0), as in Montavon et al. (2019), Section 10.3.2. Activations pass relevance on unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from compute.graph.nodes import (
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Concatenate,
    Convolution,
    Dense,
    Diagonal,
    LayerGraph,
    MaxPool,
    Node,
    Opaque,
    Reshape,
    UnsupportedLayer,
    ZeroPad,
)
from compute.graph.operators import average_transposed
from compute.lrp.rules import terms
from compute.lrp.visit import Ledger, Visit, inner, pass_linear
from compute.methods import Method, Rule

Passing = Callable[[Visit, tf.Tensor, Ledger], list[tf.Tensor]]
"""(visit, relevance of the node's output, ledger) to the relevance of each of its inputs."""


def winner_takes_all(visit: Visit, relevance: tf.Tensor, ledger: Ledger) -> list[tf.Tensor]:
    """Max-pooling: all relevance of a window to its maximum."""
    return [visit.scatter(relevance)]


def average(visit: Visit, relevance: tf.Tensor, ledger: Ledger) -> list[tf.Tensor]:
    """R_i = x_i sum_j w_ij R_j / z_j, w_ij = 1 / size of window j; 0/0 = 0."""
    assert isinstance(visit.node, AveragePool)
    s = tf.math.divide_no_nan(relevance, visit.z)
    ledger.empty.append(inner(relevance, visit.zero("z", visit.z)))
    return [visit.x * average_transposed(visit.node, s, visit.x)]


def add(visit: Visit, relevance: tf.Tensor, ledger: Ledger) -> list[tf.Tensor]:
    """Each summand its share: R_i = x_i R / sum x; 0/0 = 0."""
    s = tf.math.divide_no_nan(relevance, visit.z)
    ledger.empty.append(inner(relevance, visit.zero("z", visit.z)))
    return [x * s for x in visit.inputs]


def unchanged(visit: Visit, relevance: tf.Tensor, ledger: Ledger) -> list[tf.Tensor]:
    """Activations and what only moves values: each value keeps its relevance."""
    node = visit.node
    if isinstance(node, Concatenate):
        return list(tf.split(relevance, node.sizes, node.axis))
    return [tf.reshape(relevance, tf.shape(visit.x)) if isinstance(node, Reshape) else relevance]


def cropped(visit: Visit, relevance: tf.Tensor, ledger: Ledger) -> list[tf.Tensor]:
    """Zero padding: what rules that do not look at the input (flat, w^2, box) send to the zeros is lost."""
    assert isinstance(visit.node, ZeroPad)
    (top, bottom), (left, right) = visit.node.rows, visit.node.columns
    shape: Any = relevance.shape
    inside: Any = visit.x.shape
    border = np.pad(np.zeros(inside[1:]), ((top, bottom), (left, right), (0, 0)), constant_values=1)
    ledger.empty.append(inner(relevance, tf.constant(border[None], relevance.dtype)))
    return [relevance[:, top : shape[1] - bottom, left : shape[2] - right]]


def linear_by(rule: Rule, method: Method, behind_relu: bool) -> Passing:
    """Passing a linear node by a rule."""
    of_rule = terms(rule, method.low or 0.0, 1.0 if method.high is None else method.high)
    return lambda visit, relevance, ledger: [pass_linear(visit, of_rule, relevance, ledger, behind_relu)]


WITHOUT_PARAMETERS: dict[type, Passing] = {
    MaxPool: winner_takes_all,
    AveragePool: average,
    Add: add,
    Concatenate: unchanged,
    Activation: unchanged,
    Reshape: unchanged,
    ZeroPad: cropped,
}


def canonical(graph: LayerGraph, method: Method) -> list[Passing]:
    """How relevance passes each node by the method, of a graph whose BatchNorm is folded.

    A convolution or dense layer is the first where no other comes before it. Raises UnsupportedLayer
    for a node without a rule, and where the box rule's first layer does not see the image itself.
    """
    return [_of_node(graph, index, node, method) for index, node in enumerate(graph.nodes)]


def _of_node(graph: LayerGraph, index: int, node: Node, method: Method) -> Passing:
    if isinstance(node, Opaque):
        raise UnsupportedLayer(node.name, node.kind, node.reason, method.id)
    if not isinstance(node, Convolution | Dense | Diagonal | BatchNorm):
        return WITHOUT_PARAMETERS[type(node)]
    rule = _rule_of(graph, index, method)
    moved = [graph.nodes[other] for other in graph.before(index)]
    moved = [other for other in moved if not isinstance(other, Reshape | ZeroPad)]
    if rule.kind == "box" and moved:
        reason = f"the box rule is for values of the image, which '{moved[0].name}' changes before it"
        raise UnsupportedLayer(node.name, type(node).__name__, reason, method.id)
    relu = graph.relu_behind(index)
    return linear_by(rule, method, relu is not None and _zero_gets_none(graph, relu, method))


def _rule_of(graph: LayerGraph, index: int, method: Method) -> Rule:
    """The rule of a linear node by its position; a diagonal one has that of the convolutions."""
    node = graph.nodes[index]
    before = [graph.nodes[other] for other in graph.before(index)]
    is_first = not any(isinstance(other, Convolution | Dense) for other in before)
    rule = method.dense if isinstance(node, Dense) else method.convolution
    if is_first and not isinstance(node, Diagonal):
        rule = method.first
    assert rule is not None
    return rule


def _zero_gets_none(graph: LayerGraph, index: int, method: Method) -> bool:
    """Whether values of zero that node `index` gives get no relevance from any node that reads them."""

    def none_from(reader: int) -> bool:
        node = graph.nodes[reader]
        if isinstance(node, Convolution | Dense | Diagonal):
            return _rule_of(graph, reader, method).kind not in ("w2", "flat", "box")
        if isinstance(node, AveragePool | Add):
            return True
        if isinstance(node, Activation) and np.any(node.function(tf.zeros(1))):
            return False
        return _zero_gets_none(graph, reader, method)

    return all(none_from(reader) for reader in graph.consumers(index))
