"""One node as one forward pass met it, and the equation by which relevance passes a linear one.

What does not reach the node's inputs is entered in a ledger, share by share as it is held back: by the
bias, by the stabiliser, or because there is no contribution to take it. It is never the difference of
two sums, so that conservation is a test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from compute.graph.nodes import Convolution, Dense, Diagonal, Linear, MaxPool, Node
from compute.graph.operators import linear, linear_transposed, scatter_to_winner, winner_mask
from compute.lrp.rules import NONE, POSITIVE, WHOLE, Part, Term


class Ledger:
    """Relevance [b] that biases, stabilisers and missing contributions absorbed, entry by entry."""

    def __init__(self) -> None:
        self.bias: list[tf.Tensor] = []
        self.stabiliser: list[tf.Tensor] = []
        self.empty: list[tf.Tensor] = []

    def totals(self, like: tf.Tensor) -> tf.Tensor:
        """Sums [3, b] of bias, stabiliser, empty; `like`: a tensor [b] for the dtype."""
        nothing = tf.zeros_like(like)
        return tf.stack([tf.add_n([nothing, *kind]) for kind in (self.bias, self.stabiliser, self.empty)])


class Visit:
    """A node's inputs and output z for one batch, and what several rules share of them.

    nonnegative: whether the inputs are known to have no negative value. rectified: z behind the ReLU
    that alone reads it; z itself where there is none.
    """

    def __init__(
        self,
        node: Node,
        inputs: Sequence[tf.Tensor],
        z: tf.Tensor,
        nonnegative: bool = False,
        rectified: tf.Tensor | None = None,
    ) -> None:
        self.node, self.inputs, self.z, self.nonnegative = node, inputs, z, nonnegative
        self.rectified = z if rectified is None else rectified
        self.x = inputs[0]
        self._shared: dict[object, tf.Tensor] = {}

    def share(self, key: object, compute: Callable[[], tf.Tensor]) -> tf.Tensor:
        """The tensor of this key, computed by whoever asks first."""
        if key not in self._shared:
            self._shared[key] = compute()
        return self._shared[key]

    def scatter(self, r: tf.Tensor) -> tf.Tensor:
        """Values r at the outputs of a max-pooling, put at each window's winner."""
        node = self.node
        assert isinstance(node, MaxPool)
        winners = self.share("winners", lambda: winner_mask(node, self.x, self.z))
        return scatter_to_winner(node, winners, self.x, self.z, r)

    def sign(self, key: object, z: tf.Tensor) -> tf.Tensor:
        """+1 or -1 like z, sgn 0 = +1; `key` names z."""
        one = tf.ones((), z.dtype)
        return self.share(("sign", key), lambda: tf.where(z < 0, -one, one))

    def zero(self, key: object, z: tf.Tensor) -> tf.Tensor:
        """1 where z is 0, else 0; `key` names z."""
        return self.share(("zero", key), lambda: tf.cast(tf.equal(z, 0), z.dtype))

    def modified(self, name: str | float) -> tf.Tensor | None:
        """x' of a term; None where it is zero everywhere."""
        if name == "x" or (name == "x+" and self.nonnegative):
            return self.x
        if name == 0.0 or (name == "x-" and self.nonnegative):
            return None
        if isinstance(name, float):
            return self.share(name, lambda: tf.fill(tf.shape(self.x), tf.constant(name, self.x.dtype)))
        pick = tf.maximum if name == "x+" else tf.minimum
        return self.share(name, lambda: pick(self.x, tf.zeros((), self.x.dtype)))

    @property
    def linear_node(self) -> Linear:
        assert isinstance(self.node, Convolution | Dense | Diagonal)
        return self.node


def pass_linear(
    visit: Visit, terms: Sequence[Term], relevance: tf.Tensor, ledger: Ledger, behind_relu: bool = False
) -> tf.Tensor:
    """Relevance of a linear node's input: the sum of the rule's terms (see `rules.Term`).

    behind_relu: a ReLU alone reads the node, and relevance is zero wherever that gives zero. Then its
    output serves as z, which saves what would only matter where z is not positive.
    """
    node, shares = visit.linear_node, []
    for term in terms:
        if behind_relu and term.gate == -1:
            continue
        products = [(x, part) for name, part in term.products if (x := visit.modified(name)) is not None]
        key = (tuple(part.name for _, part in products), term.products, term.bias)
        whole = visit.share(key, lambda p=products, b=term.bias: _denominator(visit, p, b))
        z = visit.rectified if behind_relu and whole is visit.z else whole
        added = _stabiliser(visit, term, key, whole, positive=z is not whole)
        r = relevance if term.factor == 1 else term.factor * relevance
        if term.gate is not None and not behind_relu:
            r = tf.where(visit.z > 0 if term.gate > 0 else visit.z < 0, r, tf.zeros((), r.dtype))
        below = z if added is None else z + added
        if added is None or term.stabiliser.relative:  # a layer of zeros has no RMS to be relative to
            s = tf.math.divide_no_nan(r, below)
            # the positive contributions are missing, or the whole is zero, only where the ReLU gives zero
            if term.gate is None and not (behind_relu and term.bias in (WHOLE, POSITIVE)):
                ledger.empty.append(inner(r, visit.zero((key, term.stabiliser), below)))
            elif term.gate == +1 and not behind_relu:
                ledger.empty.append(inner(relevance, visit.zero("z", visit.z)))
        else:
            s = r / below
        _enter(ledger, s, added, term.bias.of(node.bias))
        shares += [x * linear_transposed(node, s, part.of(node.kernel), x) for x, part in products]
    return tf.add_n(shares)


def _enter(ledger: Ledger, s: tf.Tensor, added: tf.Tensor | None, bias: np.ndarray) -> None:
    """What stabiliser and bias take of a term: their parts of the denominator, times s."""
    sums = tf.reduce_sum(s, list(range(1, len(s.shape) - 1))) if len(s.shape) > 2 else s
    if added is not None:
        of_channel = len(added.shape) == 0
        ledger.stabiliser.append(added * tf.reduce_sum(sums, 1) if of_channel else inner(s, added))
    if np.any(bias):
        ledger.bias.append(tf.linalg.matvec(sums, tf.constant(bias, s.dtype)))


def _denominator(visit: Visit, products: Sequence[tuple[tf.Tensor, Part]], bias: Part) -> tf.Tensor:
    if bias == WHOLE and [(x is visit.x, part) for x, part in products] == [(True, WHOLE)]:
        return visit.z
    node = visit.linear_node
    z = tf.add_n([linear(node, x, part.of(node.kernel)) for x, part in products])
    return z if bias == NONE else z + tf.constant(bias.of(node.bias), z.dtype)


def _stabiliser(visit: Visit, term: Term, key: object, z: tf.Tensor, positive: bool) -> tf.Tensor | None:
    """What is added to the denominator z: like z, or one number; None for nothing.

    positive: relevance is zero wherever z is not positive.
    """
    stabiliser = term.stabiliser
    if not stabiliser.epsilon:
        return None
    e = tf.constant(stabiliser.epsilon, z.dtype)
    if stabiliser.sign is not None:
        return stabiliser.sign * e
    if stabiliser.relative:
        axes = list(range(1, len(z.shape)))
        mean = visit.share(("mean square", key), lambda: tf.reduce_mean(tf.square(z), axes, keepdims=True))
        e *= tf.sqrt(mean)
    return e if positive else e * visit.sign(key, z)


def inner(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Sum over each sample of a * b [batch]; b is like a, or one number."""
    if len(b.shape) == len(a.shape):
        return tf.reduce_sum(a * b, list(range(1, len(a.shape))))
    return b * tf.reduce_sum(a, list(range(1, len(a.shape))))
