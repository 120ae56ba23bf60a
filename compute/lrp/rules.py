"""How relevance passes a node, canonical convention: the rules of the literature.

Notation: x a node's input, W, b its weights, z = x W + b its output, R the relevance of z; v+ and
v- the positive and negative part of v. 0/0 = 0 throughout. BatchNorm has been folded away.
Source: Bach et al. (2015), On Pixel-Wise Explanations ... by Layer-Wise Relevance Propagation,
PLOS ONE 10(7), Eq. 56 (LRP-0), 58 (epsilon), 60 (alpha-beta).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from compute.lrp.graph import Convolution, Dense, Flatten, MaxPool, Node, ReLU
from compute.lrp.operators import linear, linear_transposed, scatter_to_winner, winner_mask
from compute.methods import Method

PARTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "whole": lambda v: v,
    "positive": lambda v: np.maximum(v, 0),
    "negative": lambda v: np.minimum(v, 0),
}

SAME_SIGN = (("positive", "positive"), ("negative", "negative"))
OTHER_SIGN = (("positive", "negative"), ("negative", "positive"))
"""Signs of x and w whose product is positive, and negative; first what a nonnegative x leaves."""


class Visit:
    """One node as one forward pass met it: input x, output z, and what several rules share.

    nonnegative: whether x is known to have no negative value.
    """

    def __init__(self, node: Node, x: tf.Tensor, z: tf.Tensor, nonnegative: bool = False) -> None:
        self.node, self.x, self.z, self.nonnegative = node, x, z, nonnegative
        self._shared: dict[str, tf.Tensor] = {}

    def share(self, name: str, compute: Callable[[], tf.Tensor]) -> tf.Tensor:
        """The tensor of this name, computed by whoever asks first."""
        if name not in self._shared:
            self._shared[name] = compute()
        return self._shared[name]

    def linear(self, x: tf.Tensor, part: str) -> tf.Tensor:
        """x times a part of the node's weights, without bias."""
        return linear(self._linear_node, x, PARTS[part](self._linear_node.kernel))

    def transposed(self, s: tf.Tensor, part: str = "whole") -> tf.Tensor:
        """Values s at the outputs times the transpose of a part of the weights."""
        node = self._linear_node
        return linear_transposed(node, s, PARTS[part](node.kernel), self.x.shape)

    def bias(self, part: str) -> tf.Tensor:
        return tf.constant(PARTS[part](self._linear_node.bias), self.x.dtype)

    def scatter(self, r: tf.Tensor) -> tf.Tensor:
        """Values r at the outputs of a max-pooling, put at each window's winner."""
        node = self.node
        assert isinstance(node, MaxPool)
        winners = self.share("winners", lambda: winner_mask(node, self.x, self.z))
        return scatter_to_winner(node, winners, self.x, self.z, r)

    @property
    def _linear_node(self) -> Convolution | Dense:
        assert isinstance(self.node, Convolution | Dense)
        return self.node


Rule = Callable[[Visit, tf.Tensor, Method], tf.Tensor]
"""(visit, relevance of the node's output, method) to the relevance of its input."""


def stabilised(z: tf.Tensor, epsilon: float) -> tf.Tensor:
    """z + epsilon sgn z, with sgn 0 = +1."""
    e = tf.constant(epsilon, z.dtype)
    return z + tf.where(z < 0, -e, e)


def epsilon_rule(visit: Visit, relevance: tf.Tensor, epsilon: float) -> tf.Tensor:
    """R_i = x_i sum_j w_ij R_j / (z_j + epsilon sgn z_j); epsilon = 0 is LRP-0."""
    if epsilon:
        s = relevance / stabilised(visit.z, epsilon)
    else:
        s = tf.math.divide_no_nan(relevance, visit.z)
    return visit.x * visit.transposed(s)


def alpha_beta_rule(visit: Visit, relevance: tf.Tensor, alpha: float, beta: float) -> tf.Tensor:
    """R_i = sum_j (alpha (x_i w_ij)+ / z_j+  +  beta (x_i w_ij)- / z_j-) R_j.

    z_j+ = sum_i (x_i w_ij)+ + b_j+ and z_j- likewise. A contribution is positive where x and w have
    one sign and negative where they differ: four products, two where x is known to be nonnegative.
    """
    result = tf.zeros_like(visit.x)
    for factor, sign, products in ((alpha, "positive", SAME_SIGN), (beta, "negative", OTHER_SIGN)):
        if not factor:
            continue
        terms = [(_part(visit, x_sign), w_sign) for x_sign, w_sign in products]
        terms = terms[:1] if visit.nonnegative else terms
        z = visit.share(f"z {sign}", lambda terms=terms, sign=sign: _total(visit, terms, sign))
        s = factor * tf.math.divide_no_nan(relevance, z)
        for x, w_sign in terms:
            result += x * visit.transposed(s, w_sign)
    return result


def _total(visit: Visit, terms: Sequence[tuple[tf.Tensor, str]], bias: str) -> tf.Tensor:
    return tf.add_n([visit.linear(x, sign) for x, sign in terms]) + visit.bias(bias)


def _part(visit: Visit, sign: str) -> tf.Tensor:
    """x+ or x-; x itself where it has no negative values."""
    if visit.nonnegative:
        return visit.x
    pick = tf.maximum if sign == "positive" else tf.minimum
    return visit.share(f"x {sign}", lambda: pick(visit.x, tf.zeros((), visit.x.dtype)))


def canonical_linear(visit: Visit, relevance: tf.Tensor, method: Method) -> tf.Tensor:
    """Convolution and dense, by the family of the method."""
    if method.alpha is not None and method.beta is not None:
        return alpha_beta_rule(visit, relevance, method.alpha, method.beta)
    return epsilon_rule(visit, relevance, method.epsilon or 0.0)


def winner_takes_all(visit: Visit, relevance: tf.Tensor, method: Method) -> tf.Tensor:
    """Max-pooling: all relevance of a window to its maximum."""
    return visit.scatter(relevance)


def unchanged(visit: Visit, relevance: tf.Tensor, method: Method) -> tf.Tensor:
    """ReLU passes relevance through; flattening reshapes it."""
    return tf.reshape(relevance, tf.shape(visit.x)) if isinstance(visit.node, Flatten) else relevance


CANONICAL: dict[type, Rule] = {
    Convolution: canonical_linear,
    Dense: canonical_linear,
    MaxPool: winner_takes_all,
    ReLU: unchanged,
    Flatten: unchanged,
}
