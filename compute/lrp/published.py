"""How relevance passes a node, published convention: what the authors' released code computes.

Notation as in `rules`; e is the rule's epsilon, 1e-7 for LRP-0 and as stabiliser of alpha-beta.
BatchNorm is a layer of its own, with e in place of its own epsilon. Source: the code released with
Dieter & Zisgen (2023), src/LRP/LRP.py; the maps of their network serve as test.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from compute.lrp.graph import BatchNorm, Convolution, Dense, Flatten, MaxPool, ReLU
from compute.lrp.rules import Rule, Visit, epsilon_rule, stabilised, unchanged
from compute.methods import Method

STABILISER = 1e-7


def published_linear(visit: Visit, relevance: tf.Tensor, method: Method) -> tf.Tensor:
    """Convolution and dense: epsilon rule, or alpha-beta split by the sign of the weights alone.

    R_in = x (alpha W+^T (R / z+) + beta W-^T (R / z-)), z+- = x W+- + b+- +- 1e-7.
    """
    if method.alpha is None or method.beta is None:
        return epsilon_rule(visit, relevance, rule_epsilon(method))
    result = tf.zeros_like(visit.x)
    for factor, sign, e in ((method.alpha, "positive", STABILISER), (method.beta, "negative", -STABILISER)):
        if factor:
            z = visit.share(f"z {sign}", lambda sign=sign, e=e: _total(visit, sign, e))
            result += factor * visit.transposed(relevance / z, sign)
    return visit.x * result


def _total(visit: Visit, sign: str, stabiliser: float) -> tf.Tensor:
    return visit.linear(visit.x, sign) + visit.bias(sign) + tf.constant(stabiliser, visit.x.dtype)


def published_batchnorm(visit: Visit, relevance: tf.Tensor, method: Method) -> tf.Tensor:
    """w = gamma / sqrt(variance + e), b = beta - mean w; R_in = x w R / (x w + b + e), without sgn.

    Alpha-beta: R_in = alpha (xw)+ R / ((xw)+ + b+ + e) + beta (xw)- R / ((xw)- + b- - e).
    """
    node = visit.node
    assert isinstance(node, BatchNorm)
    e = rule_epsilon(method)
    scale = node.gamma / np.sqrt(node.variance + e)
    shift = tf.constant(node.beta - node.mean * scale, visit.x.dtype)
    product = visit.x * tf.constant(scale, visit.x.dtype)
    if method.alpha is None or method.beta is None:
        return product * relevance / (product + shift + e)
    zero = tf.zeros((), visit.x.dtype)
    result = tf.zeros_like(visit.x)
    for factor, part, stabiliser in ((method.alpha, tf.maximum, e), (method.beta, tf.minimum, -e)):
        if factor:
            own = part(product, zero)
            result += factor * own * relevance / (own + part(shift, zero) + stabiliser)
    return result


def published_max_pool(visit: Visit, relevance: tf.Tensor, method: Method) -> tf.Tensor:
    """R_in = x scatter(R / (z + e sgn z)), where scatter puts a value at the window's maximum.

    Alpha-beta: x (alpha scatter(R / (z+ + e)) + beta scatter(R / (z- - e))): behind a ReLU z- is 0,
    so that for alpha = 2 the second term outweighs the first by seven orders of magnitude.
    """
    e = rule_epsilon(method)
    if method.alpha is None or method.beta is None:
        return visit.x * visit.scatter(relevance / stabilised(visit.z, e))
    zero = tf.zeros((), visit.x.dtype)
    shares = method.alpha * (relevance / (tf.maximum(visit.z, zero) + e))
    if method.beta:
        shares += method.beta * (relevance / (tf.minimum(visit.z, zero) - e))
    return visit.x * visit.scatter(shares)


def rule_epsilon(method: Method) -> float:
    """e of this convention: the rule's epsilon, 1e-7 where it has none."""
    return STABILISER if method.epsilon is None else method.epsilon


PUBLISHED: dict[type, Rule] = {
    Convolution: published_linear,
    Dense: published_linear,
    BatchNorm: published_batchnorm,
    MaxPool: published_max_pool,
    ReLU: unchanged,
    Flatten: unchanged,
}
