"""How relevance passes a linear layer: rules as data, and the one equation that they all are.

Notation: x a node's input, W, b its weights, z = x W + b its output, R the relevance of z; v+ and
v- the positive and negative part of v. 0/0 = 0 throughout. Sources:

- Bach et al. (2015), On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise
  Relevance Propagation, PLOS ONE 10(7): Eq. 56 (LRP-0), 58 (epsilon), 60 (alpha-beta).
- Montavon et al. (2017), Explaining nonlinear classification decisions with deep Taylor
  decomposition, Pattern Recognition 65: w^2, z+ and z^B (box) rules, Table 1.
- Montavon et al. (2019), Layer-Wise Relevance Propagation: An Overview, LNCS 11700: gamma, Section
  10.2.3; for inputs and outputs of either sign Andeol et al. (2021), Learning Domain Invariant
  Representations by Joint Wasserstein Distance Minimization, Eq. for the generalised rule.
- Lapuschkin et al. (2019), Unmasking Clever Hans predictors, Nat. Commun. 10:1096: flat.

The form, modified inputs and weights over a stabilised denominator, is that of zennit (Anders et al.
2021, Software for Dataset-wide XAI).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from compute.methods import Rule


@dataclass(frozen=True)
class Part:
    """Modified weights or bias; the name tells parts apart."""

    name: str
    of: Callable[[np.ndarray], np.ndarray] = field(compare=False)


WHOLE = Part("w", lambda v: v)
POSITIVE = Part("w+", lambda v: np.maximum(v, 0))
NEGATIVE = Part("w-", lambda v: np.minimum(v, 0))
SQUARED = Part("w^2", np.square)
ONES = Part("1", np.ones_like)
NONE = Part("0", np.zeros_like)


def more_positive(gamma: float) -> Part:
    return Part(f"w + {gamma} w+", lambda v: v + gamma * np.maximum(v, 0))


def more_negative(gamma: float) -> Part:
    return Part(f"w + {gamma} w-", lambda v: v + gamma * np.minimum(v, 0))


@dataclass(frozen=True)
class Stabiliser:
    """What is added to a denominator: epsilon with its sign (sgn 0 = +1), or with a fixed sign.

    relative: epsilon counts in units of the root mean square of the denominators of a sample.
    """

    epsilon: float = 0.0
    relative: bool = False
    sign: int | None = None


@dataclass(frozen=True)
class Term:
    """R_i += factor sum_pj x'_pi w'_pij R_j / (z'_j + stabiliser),  z'_j = sum_pi x'_pi w'_pij + b'_j.

    products: the p as (x', w'); x' is x, x+, x-, or a number everywhere. bias: b'. gate: only outputs z_j
    of this sign take part.
    """

    products: tuple[tuple[str | float, Part], ...]
    bias: Part
    factor: float = 1.0
    gate: int | None = None
    stabiliser: Stabiliser = Stabiliser()


def terms(rule: Rule, low: float = 0.0, high: float = 1.0) -> tuple[Term, ...]:
    """The rule in the canonical convention; low, high: the box that the first layer's inputs lie in."""
    match rule.kind:
        case "0":
            return (Term((("x", WHOLE),), WHOLE),)
        case "epsilon":
            stabiliser = Stabiliser(rule.epsilon or 0.0, bool(rule.relative))
            return (Term((("x", WHOLE),), WHOLE, stabiliser=stabiliser),)
        case "alpha-beta":
            return tuple(term for term in _by_sign(rule.alpha or 0.0, rule.beta or 0.0) if term.factor)
        case "plus":
            return _by_sign(1.0, 0.0)[:1]
        case "gamma":
            up, down = more_positive(rule.gamma or 0.0), more_negative(rule.gamma or 0.0)
            return (
                Term((("x+", up), ("x-", down)), up, gate=+1),
                Term((("x+", down), ("x-", up)), down, gate=-1),
            )
        case "w2":
            return (Term(((1.0, SQUARED),), NONE),)
        case "flat":
            return (Term(((1.0, ONES),), NONE),)
        case "box":
            return (Term((("x", WHOLE), (-low, POSITIVE), (-high, NEGATIVE)), NONE),)
    raise ValueError(f"no rule of kind {rule.kind!r}")


def _by_sign(alpha: float, beta: float) -> tuple[Term, Term]:
    """Positive and negative contributions: a product is positive where x and w have one sign."""
    positive = Term((("x+", POSITIVE), ("x-", NEGATIVE)), POSITIVE, alpha)
    negative = Term((("x+", NEGATIVE), ("x-", POSITIVE)), NEGATIVE, beta)
    return positive, negative
