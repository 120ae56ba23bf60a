"""Attribution methods: their ids, and the parameters that an id stands for.

An id says everything that decides the numbers: `lrp-epsilon-0.01` is the epsilon rule in the
canonical convention, `published-lrp-epsilon-0.01` the same rule as the authors' code computes it.
This module needs no TensorFlow: the command line reads it.

Rules: Bach et al. (2015), On Pixel-Wise Explanations for Non-Linear Classifier Decisions by
Layer-Wise Relevance Propagation, PLOS ONE 10(7), Eq. 56 (LRP-0), 58 (epsilon), 60 (alpha-beta).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal

NUMERICS_VERSION = {"lrp-0": 1, "lrp-epsilon": 1, "lrp-alpha-beta": 1}
"""By family: raised whenever a change of the code changes the maps."""

PAPER_RULES = (
    "lrp-0",
    "lrp-epsilon-0.0001",
    "lrp-epsilon-0.01",
    "lrp-epsilon-0.1",
    "lrp-epsilon-1",
    "lrp-alpha1-beta0",
    "lrp-alpha2-beta-1",
)
"""The seven rules of Dieter & Zisgen (2023), in the canonical convention."""

ALLOWED = (
    "allowed are lrp-0, lrp-epsilon-E with E > 0 (lrp-epsilon-0.01) and lrp-alphaA-betaB with A >= 1, "
    "B = 1 - A (lrp-alpha2-beta-1), each also with published- before it"
)

PUBLISHED_PREFIX = "published-"
NUMBER = r"(-?[0-9.]+(?:e[+-]?[0-9]+)?)"


@dataclass(frozen=True)
class Method:
    """An attribution method; parameters that its family does not have are None."""

    id: str
    family: str
    convention: str
    epsilon: float | None
    alpha: float | None
    beta: float | None
    version: int

    def as_row(self) -> dict[str, str | float | int | None]:
        """The method as a row of the lake's table `methods`."""
        return {
            "method": self.id,
            "family": self.family,
            "convention": self.convention,
            "epsilon": self.epsilon,
            "alpha": self.alpha,
            "beta": self.beta,
            "version": self.version,
        }


def parse_method(id: str) -> Method:
    """The method that an id names; ValueError with what is allowed where it names none.

    One method has one id: numbers are written in full and as short as they can be.
    """
    convention = "published" if id.startswith(PUBLISHED_PREFIX) else "canonical"
    rule = id.removeprefix(PUBLISHED_PREFIX)
    epsilon = alpha = beta = None
    if rule == "lrp-0":
        family, written = "lrp-0", rule
    elif match := re.fullmatch(f"lrp-epsilon-{NUMBER}", rule):
        family, epsilon = "lrp-epsilon", _number(match[1], id)
        if epsilon <= 0:
            raise ValueError(f"method '{id}': epsilon must be positive (0 is lrp-0); {ALLOWED}")
        written = f"lrp-epsilon-{epsilon:f}"
    elif match := re.fullmatch(f"lrp-alpha{NUMBER}-beta{NUMBER}", rule):
        family, alpha, beta = "lrp-alpha-beta", _number(match[1], id), _number(match[2], id)
        if alpha < 1:
            raise ValueError(f"method '{id}': alpha must be at least 1, not {alpha:f}; {ALLOWED}")
        if beta != 1 - alpha:
            raise ValueError(
                f"method '{id}': beta must be 1 - alpha, here {_plain(1 - alpha):f}, not {beta:f}; {ALLOWED}"
            )
        written = f"lrp-alpha{alpha:f}-beta{beta:f}"
    else:
        raise ValueError(f"unknown method '{id}': {ALLOWED}")
    prefix = PUBLISHED_PREFIX if convention == "published" else ""
    if id != prefix + written:
        raise ValueError(f"method '{id}': write it '{prefix + written}', so that one method has one id")
    return Method(
        id=id,
        family=family,
        convention=convention,
        epsilon=None if epsilon is None else float(epsilon),
        alpha=None if alpha is None else float(alpha),
        beta=None if beta is None else float(beta),
        version=NUMERICS_VERSION[family],
    )


def _number(text: str, id: str) -> Decimal:
    """The shortest decimal number of the same float64, so that two ids never mean one float."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"method '{id}': '{text}' is not a finite number; {ALLOWED}")
    return _plain(Decimal(repr(value)))


def _plain(number: Decimal) -> Decimal:
    """Without trailing zeros, and without a sign on zero."""
    return number.normalize() if number else Decimal(0)
