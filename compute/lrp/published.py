"""How relevance passes a node, published convention: what the authors' released code computes.

Notation as in `rules`; e is the rule's epsilon, 1e-7 for LRP-0 and as stabiliser of alpha-beta.
BatchNorm is a layer of its own, with e in place of its own epsilon. Source: the code released with
Dieter & Zisgen (2023), src/LRP/LRP.py; the maps of their network serve as test.
"""

from __future__ import annotations

import tensorflow as tf

from compute.graph.nodes import (
    Activation,
    BatchNorm,
    Convolution,
    Dense,
    LayerGraph,
    MaxPool,
    Node,
    Opaque,
    Reshape,
    UnsupportedLayer,
)
from compute.lrp.canonical import Passing, unchanged
from compute.lrp.rules import NEGATIVE, POSITIVE, WHOLE, Stabiliser, Term
from compute.lrp.visit import Ledger, Visit, inner, pass_linear
from compute.methods import Method

STABILISER = 1e-7

ABOVE, BELOW = Stabiliser(STABILISER, sign=+1), Stabiliser(STABILISER, sign=-1)


def published(graph: LayerGraph, method: Method) -> list[Passing]:
    """How relevance passes each node by the method, BatchNorm unfolded.

    Raises UnsupportedLayer for a node that the released code has no rule for.
    """
    return [_of_node(node, method) for node in graph.nodes]


def _of_node(node: Node, method: Method) -> Passing:
    match node:
        case Convolution() | Dense():
            of_layer = _linear_terms(method)
            return lambda visit, relevance, ledger: [pass_linear(visit, of_layer, relevance, ledger)]
        case BatchNorm():
            return _batchnorm(node, method)
        case MaxPool():
            return _max_pool(method)
        case Activation() | Reshape():
            return unchanged
    kind = node.kind if isinstance(node, Opaque) else type(node).__name__
    reason = "the published convention has no rule for it; the canonical one may (the id without published-)"
    raise UnsupportedLayer(node.name, kind, reason, method.id)


def rule_epsilon(method: Method) -> float:
    """e of this convention: the rule's epsilon, 1e-7 where it has none."""
    return STABILISER if method.epsilon is None else method.epsilon


def _linear_terms(method: Method) -> tuple[Term, ...]:
    """Epsilon rule, or alpha-beta split by the sign of the weights alone.

    R_in = x (alpha W+^T (R / z+) + beta W-^T (R / z-)), z+- = x W+- + b+- +- 1e-7.
    """
    if method.alpha is None or method.beta is None:
        return (Term((("x", WHOLE),), WHOLE, stabiliser=Stabiliser(rule_epsilon(method))),)
    positive = Term((("x", POSITIVE),), POSITIVE, method.alpha, stabiliser=ABOVE)
    negative = Term((("x", NEGATIVE),), NEGATIVE, method.beta, stabiliser=BELOW)
    return (positive, negative) if method.beta else (positive,)


def _batchnorm(node: BatchNorm, method: Method) -> Passing:
    """w = gamma / sqrt(variance + e), b = beta - mean w; R_in = x w R / (x w + b + e), without sgn.

    Alpha-beta: R_in = alpha (xw)+ R / ((xw)+ + b+ + e) + beta (xw)- R / ((xw)- + b- - e).
    """
    e = rule_epsilon(method)
    affine = node.affine(e)
    if method.alpha is None or method.beta is None:
        of_layer: tuple[Term, ...] = (Term((("x", WHOLE),), WHOLE, stabiliser=Stabiliser(e, sign=+1)),)
    else:
        same = (("x+", POSITIVE), ("x-", NEGATIVE))
        other = (("x+", NEGATIVE), ("x-", POSITIVE))
        of_layer = (
            Term(same, POSITIVE, method.alpha, stabiliser=ABOVE),
            Term(other, NEGATIVE, method.beta, stabiliser=BELOW),
        )
        of_layer = of_layer if method.beta else of_layer[:1]

    def passing(visit: Visit, relevance: tf.Tensor, ledger: Ledger) -> list[tf.Tensor]:
        z = visit.x * tf.constant(affine.kernel, visit.x.dtype) + tf.constant(affine.bias, visit.x.dtype)
        own = Visit(affine, visit.inputs, z, visit.nonnegative)
        return [pass_linear(own, of_layer, relevance, ledger)]

    return passing


def _max_pool(method: Method) -> Passing:
    """R_in = x scatter(R / (z + e sgn z)), where scatter puts a value at the window's maximum.

    Alpha-beta: x (alpha scatter(R / (z+ + e)) + beta scatter(R / (z- - e))): behind a ReLU z- is 0,
    so that for alpha = 2 the second term outweighs the first by seven orders of magnitude. What it makes
    up that way is entered as negative in the ledger.
    """
    e = rule_epsilon(method)
    alpha, beta = method.alpha, method.beta

    def passing(visit: Visit, relevance: tf.Tensor, ledger: Ledger) -> list[tf.Tensor]:
        z = visit.z
        if alpha is None or beta is None:
            added = e * visit.sign("z", z)
            s = relevance / (z + added)
            ledger.stabiliser.append(inner(s, added))
            return [visit.x * visit.scatter(s)]
        zero = tf.zeros((), z.dtype)
        shares = []
        for factor, own, other, stabiliser in (
            (alpha, tf.maximum(z, zero), tf.minimum(z, zero), e),
            (beta, tf.minimum(z, zero), tf.maximum(z, zero), -e),
        ):
            if factor:
                s = factor * (relevance / (own + stabiliser))
                ledger.stabiliser.append(inner(s, tf.constant(stabiliser, z.dtype)))
                ledger.empty.append(-inner(s, other))
                shares.append(s)
        return [visit.x * visit.scatter(tf.add_n(shares))]

    return passing
