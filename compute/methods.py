"""Attribution methods: their ids, and the parameters that an id stands for.

An id says everything that decides the numbers: `lrp-epsilon-0.01` is the epsilon rule in the
canonical convention, `published-lrp-epsilon-0.01` the same rule as the authors' code computes it,
`lrp-epsilon-0.01-plus-flat` a composite: epsilon in dense layers, z+ in convolutions, flat in the
first layer. This module needs no TensorFlow: the command line reads it.

What each computes, with its source: compute/lrp/rules.py and compute/attributions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from decimal import Decimal

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
    "allowed are lrp-RULE, with RULE 0, epsilon-E (epsilon-0.01), epsilon-rms-E (E times the layer's RMS), "
    "alphaA-betaB with A >= 1, B = 1 - A (alpha2-beta-1), gamma-G, plus, w2 or flat; "
    "lrp-DENSE-CONVOLUTION-FIRST, a rule by layer position, first also box (lrp-epsilon-0.000001-plus-flat); "
    "published-lrp-RULE, with 0, epsilon-E or alphaA-betaB; gradient, input-x-gradient, "
    "smoothgrad-nN-sigmaS (smoothgrad-n50-sigma0.1), integrated-gradients-nN, guided-backpropagation, "
    "grad-cam, occlusion-windowW-strideS (occlusion-window4-stride2), lime-nN-windowW "
    "(lime-n1000-window4), random; imported-NAME for maps computed elsewhere"
)

PUBLISHED_PREFIX = "published-"
PUBLISHED_RULES = ("lrp-0", "lrp-epsilon", "lrp-alpha-beta")
IMPORTED_PREFIX = "imported-"

NUMBER = r"(-?[0-9.]+(?:e[+-]?[0-9]+)?)"
RULE = rf"0|epsilon(?:-rms)?-{NUMBER}|alpha{NUMBER}-beta{NUMBER}|gamma-{NUMBER}|plus|w2|flat|box".replace(
    "(-?", "(?:-?"
)

NUMERICS_VERSION = {
    "lrp-0": 1,
    "lrp-epsilon": 1,
    "lrp-alpha-beta": 1,
    "lrp-gamma": 1,
    "lrp-plus": 1,
    "lrp-w2": 1,
    "lrp-flat": 1,
    "lrp-composite": 1,
    "gradient": 1,
    "input-x-gradient": 1,
    "smoothgrad": 1,
    "integrated-gradients": 1,
    "guided-backpropagation": 1,
    "grad-cam": 1,
    "occlusion": 1,
    "lime": 1,
    "random": 1,
    "imported": 1,
}
"""By family: raised whenever a change of the code changes the maps."""


@dataclass(frozen=True)
class Rule:
    """An LRP rule of linear layers; parameters that it does not have are None.

    kind: 0, epsilon, alpha-beta, gamma, plus, w2, flat or box. relative: epsilon counts in units of the root
    mean square of the layer's outputs.
    """

    kind: str
    epsilon: float | None = None
    relative: bool | None = None
    alpha: float | None = None
    beta: float | None = None
    gamma: float | None = None

    @property
    def text(self) -> str:
        """The rule as it stands in an id."""
        if self.kind == "epsilon":
            return f"epsilon{'-rms' if self.relative else ''}-{_written(self.epsilon)}"
        if self.kind == "alpha-beta":
            return f"alpha{_written(self.alpha)}-beta{_written(self.beta)}"
        return f"gamma-{_written(self.gamma)}" if self.kind == "gamma" else self.kind


@dataclass(frozen=True)
class Method:
    """An attribution method; parameters that its family does not have are None.

    LRP: `dense`, `convolution` and `first` are the rules by layer position (first: linear layers
    that no other linear layer comes before). samples: images drawn; sigma: standard deviation of
    their noise, in units of the box; baseline: value of a component that is left out; window,
    stride: pixels; seed: of every random choice.
    """

    id: str
    family: str
    convention: str | None = None
    dense: Rule | None = None
    convolution: Rule | None = None
    first: Rule | None = None
    low: float | None = None
    high: float | None = None
    samples: int | None = None
    sigma: float | None = None
    baseline: float | None = None
    window: int | None = None
    stride: int | None = None
    seed: int | None = None

    @property
    def version(self) -> int:
        return NUMERICS_VERSION[self.family]

    @property
    def is_lrp(self) -> bool:
        return self.dense is not None

    @property
    def is_imported(self) -> bool:
        """Whether its maps were computed elsewhere: nothing here can make them."""
        return self.family == "imported"

    @property
    def epsilon(self) -> float | None:
        return self._of_rules("epsilon")

    @property
    def alpha(self) -> float | None:
        return self._of_rules("alpha")

    @property
    def beta(self) -> float | None:
        return self._of_rules("beta")

    def _of_rules(self, name: str) -> float | None:
        """A parameter of the rule that has it: in dense layers, else in convolutions, else in the first."""
        values = [getattr(rule, name) for rule in (self.dense, self.convolution, self.first) if rule]
        return next((value for value in values if value is not None), None)

    def as_row(self) -> dict[str, str | float | int | bool | None]:
        """The method as a row of the lake's table `methods`."""
        row = asdict(self)
        row["method"] = row.pop("id")
        for position in ("dense", "convolution", "first"):
            rule = getattr(self, position)
            row[f"{position}_rule"] = rule.text if rule else None
            del row[position]
        for name in ("epsilon", "relative", "alpha", "beta", "gamma"):
            row["epsilon_relative" if name == "relative" else name] = self._of_rules(name)
        return {**row, "note": None, "version": self.version}


def parse_method(id: str) -> Method:
    """The method that an id names; ValueError with what is allowed where it names none.

    One method has one id: numbers are written in full and as short as they can be.
    """
    lrp = id.removeprefix(PUBLISHED_PREFIX)
    if lrp.startswith("lrp"):
        method, written = _parse_lrp(id, lrp)
    elif id.startswith(IMPORTED_PREFIX):
        if not re.fullmatch(r"[a-z0-9.-]+", id.removeprefix(IMPORTED_PREFIX)):
            raise ValueError(
                f"method '{id}': a name of a to z, 0 to 9, dot and hyphen follows {IMPORTED_PREFIX}"
            )
        method, written = Method(id, "imported"), id
    else:
        for pattern, make in OTHERS.items():
            if match := re.fullmatch(pattern, id):
                method, written = make(id, *(_number(text, id) for text in match.groups()))
                break
        else:
            raise ValueError(f"unknown method '{id}': {ALLOWED}")
    if id != written:
        raise ValueError(f"method '{id}': write it '{written}', so that one method has one id")
    return method


def _parse_lrp(id: str, lrp: str) -> tuple[Method, str]:
    match = re.fullmatch(rf"lrp-({RULE})(?:-({RULE})-({RULE}))?", lrp)
    if not match:
        raise ValueError(f"unknown method '{id}': {ALLOWED}")
    rules = [_parse_rule(text, id) for text in match.groups() if text is not None]
    positions = ("dense", "convolution", "first")
    at = dict(zip(positions, rules if len(rules) == 3 else rules * 3, strict=True))
    if "box" in (at["dense"].kind, at["convolution"].kind):
        raise ValueError(
            f"method '{id}': box is a rule for the first layer, whose inputs lie in a box; {ALLOWED}"
        )
    if len(set(rules)) == 1 and len(rules) == 3:
        raise ValueError(f"method '{id}': write it 'lrp-{rules[0].text}', so that one method has one id")
    family = f"lrp-{rules[0].kind}" if len(rules) == 1 else "lrp-composite"
    published = id.startswith(PUBLISHED_PREFIX)
    if published and (family not in PUBLISHED_RULES or at["dense"].relative):
        raise ValueError(f"method '{id}': the published convention has no such rule; {ALLOWED}")
    low, high = (0.0, 1.0) if at["first"].kind == "box" else (None, None)
    method = Method(id, family, "published" if published else "canonical", **at, low=low, high=high)
    return method, PUBLISHED_PREFIX * published + "-".join(["lrp", *(rule.text for rule in rules)])


def _parse_rule(text: str, id: str) -> Rule:
    if text.startswith("epsilon"):
        epsilon = _number(text.removeprefix("epsilon-").removeprefix("rms-"), id)
        if epsilon <= 0:
            raise ValueError(f"method '{id}': epsilon must be positive (0 is lrp-0); {ALLOWED}")
        return Rule("epsilon", epsilon=float(epsilon), relative=text.startswith("epsilon-rms"))
    if text.startswith("alpha"):
        first, second = re.fullmatch(f"alpha{NUMBER}-beta{NUMBER}", text).groups()  # type: ignore[union-attr]
        alpha, beta = _number(first, id), _number(second, id)
        if alpha < 1:
            raise ValueError(f"method '{id}': alpha must be at least 1, not {alpha:f}; {ALLOWED}")
        if beta != 1 - alpha:
            raise ValueError(
                f"method '{id}': beta must be 1 - alpha, here {_plain(1 - alpha):f}, not {beta:f}; {ALLOWED}"
            )
        return Rule("alpha-beta", alpha=float(alpha), beta=float(beta))
    if text.startswith("gamma"):
        gamma = _number(text.removeprefix("gamma-"), id)
        if gamma <= 0:
            raise ValueError(f"method '{id}': gamma must be positive (0 is lrp-0); {ALLOWED}")
        return Rule("gamma", gamma=float(gamma))
    return Rule(text)


def _whole(id: str, name: str, number: Decimal) -> int:
    if number < 1 or number != int(number):
        raise ValueError(f"method '{id}': {name} must be a whole number, at least 1, not {number:f}")
    return int(number)


def _smoothgrad(id: str, samples: Decimal, sigma: Decimal) -> tuple[Method, str]:
    if sigma <= 0:
        raise ValueError(f"method '{id}': sigma must be positive, not {sigma:f}")
    drawn = _whole(id, "samples", samples)
    method = Method(id, "smoothgrad", samples=drawn, sigma=float(sigma), seed=0)
    return method, f"smoothgrad-n{samples:f}-sigma{sigma:f}"


def _integrated_gradients(id: str, samples: Decimal) -> tuple[Method, str]:
    method = Method(id, "integrated-gradients", samples=_whole(id, "samples", samples), baseline=0.0)
    return method, f"integrated-gradients-n{samples:f}"


def _occlusion(id: str, window: Decimal, stride: Decimal) -> tuple[Method, str]:
    if stride > window:
        raise ValueError(f"method '{id}': a stride above the window leaves pixels out")
    wide, step = _whole(id, "window", window), _whole(id, "stride", stride)
    method = Method(id, "occlusion", window=wide, stride=step, baseline=0.5)
    return method, f"occlusion-window{window:f}-stride{stride:f}"


def _lime(id: str, samples: Decimal, window: Decimal) -> tuple[Method, str]:
    drawn, wide = _whole(id, "samples", samples), _whole(id, "window", window)
    method = Method(id, "lime", samples=drawn, window=wide, baseline=0.5, seed=0)
    return method, f"lime-n{samples:f}-window{window:f}"


OTHERS: dict[str, Callable[..., tuple[Method, str]]] = {
    "gradient": lambda id: (Method(id, "gradient"), id),
    "input-x-gradient": lambda id: (Method(id, "input-x-gradient"), id),
    "guided-backpropagation": lambda id: (Method(id, "guided-backpropagation"), id),
    "grad-cam": lambda id: (Method(id, "grad-cam"), id),
    "random": lambda id: (Method(id, "random", seed=0), id),
    f"smoothgrad-n{NUMBER}-sigma{NUMBER}": _smoothgrad,
    f"integrated-gradients-n{NUMBER}": _integrated_gradients,
    f"occlusion-window{NUMBER}-stride{NUMBER}": _occlusion,
    f"lime-n{NUMBER}-window{NUMBER}": _lime,
}
"""Methods that are not LRP: pattern of the id -> (method, the id as it is to be written)."""


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


def _written(value: float | None) -> str:
    return f"{_plain(Decimal(repr(value or 0.0))):f}"
