"""How methods, conventions and numbers are written on the page, and in which order they stand."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

MINUS = "\N{MINUS SIGN}"
DAGGER = "\N{DAGGER}"
"""Mark of a figure that ties at the edge of a band leave without meaning."""
NO_BREAK = "\N{NO-BREAK SPACE}"
ORIGINAL = "original"
BAND_PAIRS = (
    ("most relevant", "1 %"),
    ("most relevant", "10 %"),
    ("1 %", "1 %"),
    ("1 %", "10 %"),
    ("10 %", "10 %"),
)
"""Original band and adversarial band, in the order of the paper's Table 5."""

CONVENTIONS = {
    "published": "Published convention",
    "canonical": "Canonical convention",
    "other": "Other methods",
}
"""Convention to its title, in the order of the page; `other` holds what is not LRP."""

_ALPHA, _BETA, _GAMMA, _EPSILON, _SIGMA = "\u03b1", "\u03b2", "\u03b3", "\u03b5", "\u03c3"
_EPSILON_RULE = re.compile(r"lrp-epsilon-([0-9.e+-]+)")
_ALPHA_BETA_RULE = re.compile(r"lrp-alpha([0-9.]+)-beta(-?[0-9.]+)")
_RULE = re.compile(
    r"epsilon-(?P<rms>rms-)?(?P<epsilon>[0-9.]+)|alpha(?P<alpha>[0-9.]+)-beta(?P<beta>-?[0-9.]+)"
    r"|gamma-(?P<gamma>[0-9.]+)|(?P<plain>plus|w2|flat|box|0)"
)
_PLAIN_RULES = {"plus": "z\u207a", "w2": "w\u00b2", "flat": "flat", "box": "box", "0": "0"}
_OTHERS = {
    r"gradient": "Gradient",
    r"input-x-gradient": "Input \u00d7 gradient",
    r"smoothgrad-n([0-9]+)-sigma([0-9.]+)": rf"SmoothGrad n \1, {_SIGMA} \2",
    r"integrated-gradients-n([0-9]+)": r"Integrated gradients n \1",
    r"guided-backpropagation": "Guided backpropagation",
    r"grad-cam": "Grad-CAM",
    r"occlusion-window([0-9]+)-stride([0-9]+)": r"Occlusion \1 px, stride \2",
    r"lime-n([0-9]+)-window([0-9]+)": r"LIME n \1, \2 px",
    r"imported-(.+)": r"\1 (imported)",
    r"random": "Random map",
}
"""Ids of methods that are not LRP and their names, in the order of the page."""


def base_method(method: str) -> str:
    """Id of a method without its convention: the name under which the paper prints its figures."""
    return method.removeprefix("published-")


def convention(method: str) -> str:
    """`published`, `canonical` (LRP by the literature) or `other`, read from the method's id."""
    if method.startswith("published-"):
        return "published"
    return "canonical" if method.startswith("lrp-") else "other"


def method_name(method: str) -> str:
    """Name of a method as a reader knows it, without its convention; an unknown id stays as it is.

    A composite names its rules for dense layers, convolutions and the first layer, in this order.
    """
    base = base_method(method)
    if base.startswith("lrp-"):
        rules = [_rule_name(match) for match in _RULE.finditer(base.removeprefix("lrp-"))]
        if len(rules) == 1:
            return f"LRP-{rules[0]}"
        return f"LRP {' | '.join(rules)}" if rules else base
    for pattern, name in _OTHERS.items():
        if match := re.fullmatch(pattern, base):
            return match.expand(name)
    return base


def full_name(method: str) -> str:
    """Name of a method with its convention, for a sentence that speaks of several conventions."""
    kind = convention(method)
    return method_name(method) if kind == "other" else f"{kind} {method_name(method)}"


def _rule_name(rule: re.Match[str]) -> str:
    if rule["epsilon"]:
        return f"{_EPSILON}{' RMS' if rule['rms'] else ''} {rule['epsilon']}"
    if rule["alpha"]:
        return f"{_ALPHA}{_BETA} {rule['alpha']}/{rule['beta'].replace('-', MINUS)}"
    return f"{_GAMMA} {rule['gamma']}" if rule["gamma"] else _PLAIN_RULES[rule["plain"]]


def method_order(methods: Iterable[str]) -> list[str]:
    """Distinct methods: by convention, then LRP-0, epsilon by epsilon, alpha-beta, the rest by kind."""
    return sorted(set(methods), key=_method_key)


def epsilon(method: str) -> float | None:
    """Stabiliser of LRP-epsilon, 0 for LRP-0, None for any other method."""
    base = base_method(method)
    if base == "lrp-0":
        return 0.0
    match = _EPSILON_RULE.fullmatch(base)
    return float(match[1]) if match else None


def _method_key(method: str) -> tuple[int, int, float, str]:
    base = base_method(method)
    group = list(CONVENTIONS).index(convention(method))
    if (stabiliser := epsilon(method)) is not None:
        return group, 0, stabiliser, base
    if match := _ALPHA_BETA_RULE.fullmatch(base):
        return group, 2, float(match[1]), base
    places = [place for place, pattern in enumerate(_OTHERS) if re.fullmatch(pattern, base)]
    return group, 3, float(places[0] if places else len(_OTHERS)), base


def verdict_name(verdict: str | None) -> str:
    """A verdict as the page writes it: that nothing was found is not that there is nothing."""
    return "no difference shown" if verdict == "no difference" else verdict or "-"


def band_name(band: str) -> str:
    """A band of components as the page writes it."""
    return band if band == "most relevant" else f"top {band}".replace(" ", NO_BREAK)


def band_pair_name(original: str, adversarial: str) -> str:
    """Which components are looked for, and where."""
    return f"{band_name(original)} in {band_name(adversarial)}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 1 as per cent."""
    return "-" if share is None or math.isnan(share) else decimal(100 * share, digits) + f"{NO_BREAK}%"


def rate(share: float | None) -> str:
    """A share in a sentence: with two decimals, but none and all as they are."""
    return percent(share, 0 if share in (0, 1) else 2)


def decimal(value: float | None, digits: int = 4) -> str:
    """A number with a fixed count of decimals; a value that rounds to zero has no sign."""
    if _missing(value):
        return "-"
    text = f"{value:,.{digits}f}"
    if not any(digit in text for digit in "123456789"):
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def signed(value: float | None, digits: int = 4) -> str:
    """A difference, with its sign."""
    text = decimal(value, digits)
    return f"+{text}" if value and text[0].isdigit() and any(d in text for d in "123456789") else text


def significant(value: float | None, digits: int = 2) -> str:
    """A number with a fixed count of significant digits, as 0.00012, 1,300 or 1.5e23."""
    if _missing(value):
        return "-"
    number = float(f"{value:.{digits - 1}e}") + 0.0  # -0 is 0
    if number == 0 or 1e-4 <= abs(number) < 1e4:
        text = f"{number:,.{digits}g}" if abs(number) < 10**digits else f"{number:,.0f}"
    else:
        mantissa, power = f"{number:.{digits - 1}e}".split("e")
        text = f"{mantissa}e{int(power)}"
    return text.replace("-", MINUS)


def count(value: float | None) -> str:
    """A whole number, with commas between thousands."""
    return "-" if _missing(value) else f"{value:,.0f}".replace("-", MINUS)


def plural(number: int, one: str, many: str = "") -> str:
    """`1 map`, `2 maps`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def _missing(value: float | None) -> bool:
    return value is None or math.isnan(value)
