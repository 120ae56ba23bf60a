"""Slow twins of the relevance rules: plain floats, loops over neurons and links, one image at a time.

Written from the equations alone, over the steps of `twin_steps`, so that nothing is shared with the code
under test. Sources: Bach et al. (2015), PLOS ONE 10(7), Eq. 56 (LRP-0), 58 (epsilon), 60 (alpha-beta);
Montavon et al. (2017), Pattern Recognition 65, Table 1 (w^2, z+, z^B); Montavon et al. (2019), LNCS 11700,
Section 10.2 (gamma), for contributions of either sign as in Andeol et al. (2021); Lapuschkin et al. (2019),
Nat. Commun. 10:1096 (flat); for the published convention the code released with Dieter & Zisgen (2023).

Whatever a neuron's relevance does not give to its inputs is entered as absorbed: by its bias, by its
stabiliser, or as empty, where no contribution was there to take it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import keras
import numpy as np

from compute.methods import Method, Rule
from tests.compute.twin_steps import Step, batchnorm_affine, folded, steps_of

Vector = list[float]

LINEAR = ("convolution", "dense")


@dataclass
class Account:
    """Relevance that did not arrive; sizes: sum |R| of each value on the way."""

    bias: float = 0.0
    stabiliser: float = 0.0
    empty: float = 0.0
    sizes: list[float] = field(default_factory=list)


@dataclass
class TwinMap:
    """relevance [h*w*c], absorbed (bias, stabiliser, empty), largest: of all layers' sums |R|."""

    relevance: np.ndarray
    start: float
    absorbed: tuple[float, float, float]
    largest: float


class Twin:
    """The slow twin of a network."""

    def __init__(self, model: keras.Model) -> None:
        apart = steps_of(model)
        self.steps = {"canonical": folded(apart), "published": apart}

    def values(self, convention: str, image: np.ndarray) -> list[Vector]:
        """The image, then what each step gives."""
        found: list[Vector] = [image.astype(np.float64).ravel().tolist()]
        for step in self.steps[convention]:
            found.append(forward(step, [found[source + 1] for source in step.sources]))
        return found

    def explain(self, method: Method, image: np.ndarray, explained: int) -> TwinMap:
        """The map of an image [h, w, c] for a class."""
        steps = self.steps[str(method.convention)]
        return back(steps, self.values(str(method.convention), image), method, explained)


def forward(step: Step, inputs: list[Vector]) -> Vector:
    x = inputs[0]
    match step.kind:
        case "linear":
            return [b + sum(x[i] * w for i, w in row) for row, b in zip(step.links, step.bias, strict=True)]
        case "batchnorm":
            scale, shift = batchnorm_affine(step, step.channels[-1])
            return (np.array(x) * scale + shift).tolist()
        case "activation":
            return [step.function(value, i) for i, value in enumerate(x)]
        case "max":
            return [max(x[i] for i in window) for window in step.windows]
        case "average":
            return [sum(x[i] for i in window) / len(window) for window in step.windows]
        case "sum":
            return [sum(values) for values in zip(*inputs, strict=True)]
    return [inputs[move[0]][move[1]] if move else 0.0 for move in step.moves]


def back(steps: list[Step], values: list[Vector], method: Method, explained: int) -> TwinMap:
    """Relevance from the logit of a class to the image, against the order of the steps."""
    start, account = values[-1][explained], Account()
    relevance = [[0.0] * len(value) for value in values]
    relevance[-1][explained] = start
    for index in reversed(range(len(steps))):
        step, r = steps[index], relevance[index + 1]
        account.sizes.append(sum(map(abs, r)))
        inputs, z = [values[source + 1] for source in step.sources], values[index + 1]
        if method.convention == "canonical":
            rule = rule_at(steps, index, method)
            shares = canonical(step, rule, method, inputs, z, r, account)
        else:
            shares = [published(step, method, inputs[0], z, r, account)]
        for source, share in zip(step.sources, shares, strict=True):
            relevance[source + 1] = [a + b for a, b in zip(relevance[source + 1], share, strict=True)]
    account.sizes.append(sum(map(abs, relevance[0])))
    absorbed = (account.bias, account.stabiliser, account.empty)
    return TwinMap(np.array(relevance[0]), start, absorbed, max(account.sizes))


def rule_at(steps: list[Step], index: int, method: Method) -> Rule | None:
    """The first convolutions and dense layers have the first rule; a diagonal layer that of convolutions."""
    found, waiting = set(), list(steps[index].sources)
    while waiting:
        source = waiting.pop()
        if source >= 0:
            found.add(steps[source].layer)
            waiting += steps[source].sources
    if steps[index].layer in LINEAR and not found & set(LINEAR):
        return method.first
    return method.dense if steps[index].layer == "dense" else method.convolution


def spread(
    parts: Vector, bias: float, added: float, r: float, account: Account, guarded: bool = True
) -> Vector:
    """r in proportion to parts / (sum of parts + bias + added); 0/0 = 0 where guarded."""
    total = sum(parts) + bias + added
    if guarded and total == 0:
        account.empty += r
        return [0.0] * len(parts)
    account.bias += bias / total * r
    account.stabiliser += added / total * r
    return [part / total * r for part in parts]


def canonical(
    step: Step,
    rule: Rule | None,
    method: Method,
    inputs: list[Vector],
    z: Vector,
    r: Vector,
    account: Account,
) -> list[Vector]:
    """Relevance of each input of a step."""
    shares, x = [[0.0] * len(values) for values in inputs], inputs[0]
    if step.kind == "linear":
        assert rule is not None
        rms = float(np.sqrt(np.mean(np.square(z))))
        for j, row in enumerate(step.links):
            given = neuron(
                rule, method, [x[i] for i, _ in row], [w for _, w in row], step.bias[j], z[j], r[j]
            )
            for factor, parts, bias in given:
                e = (rule.epsilon or 0.0) * (rms if rule.relative else 1.0)
                added = e if z[j] >= 0 else -e
                for (i, _), share in zip(
                    row, spread(parts, bias, added, factor * r[j], account), strict=True
                ):
                    shares[0][i] += share
        return shares
    for j, value in enumerate(r):
        if step.kind == "average":
            window = step.windows[j]
            parts = spread([x[i] / len(window) for i in window], 0.0, 0.0, value, account)
            for i, share in zip(window, parts, strict=True):
                shares[0][i] += share
        elif step.kind == "sum":
            for k, share in enumerate(spread([v[j] for v in inputs], 0.0, 0.0, value, account)):
                shares[k][j] += share
        elif step.kind == "max":
            shares[0][winner(x, step.windows[j])] += value
        elif step.kind == "activation":
            shares[0][j] += value
        else:
            move = step.moves[j]
            if move:
                shares[move[0]][move[1]] += value
            else:
                account.empty += value
    return shares


def neuron(
    rule: Rule, method: Method, xs: Vector, ws: Vector, b: float, z: float, r: float
) -> list[tuple[float, Vector, float]]:
    """What a neuron's relevance is shared by: (factor, a part for each input, the bias's part)."""
    products = [x * w for x, w in zip(xs, ws, strict=True)]
    above, below = [max(p, 0.0) for p in products], [min(p, 0.0) for p in products]
    match rule.kind:
        case "0" | "epsilon":
            return [(1.0, products, b)]
        case "alpha-beta":
            alpha, beta = rule.alpha or 0.0, rule.beta or 0.0
            terms = [(alpha, above, max(b, 0.0)), (beta, below, min(b, 0.0))]
            return [term for term in terms if term[0]]
        case "plus":
            return [(1.0, above, max(b, 0.0))]
        case "gamma":
            if z == 0:
                return [(1.0, [0.0] * len(xs), 0.0)]
            gamma = rule.gamma or 0.0
            favoured, of_bias = (above, max(b, 0.0)) if z > 0 else (below, min(b, 0.0))
            parts = [p + gamma * f for p, f in zip(products, favoured, strict=True)]
            return [(1.0, parts, b + gamma * of_bias)]
        case "w2":
            return [(1.0, [w * w for w in ws], 0.0)]
        case "flat":
            return [(1.0, [1.0] * len(ws), 0.0)]
        case "box":
            low, high = method.low or 0.0, 1.0 if method.high is None else method.high
            parts = [p - low * max(w, 0.0) - high * min(w, 0.0) for p, w in zip(products, ws, strict=True)]
            return [(1.0, parts, 0.0)]
    raise ValueError(rule.kind)


def published(step: Step, method: Method, x: Vector, z: Vector, r: Vector, account: Account) -> Vector:
    """Relevance of a step's input as the released code computes it."""
    e = 1e-7 if method.epsilon is None else method.epsilon
    alpha, beta = method.alpha, method.beta or 0.0
    result = [0.0] * len(x)
    if step.kind == "batchnorm":
        scale, shift = (v.tolist() for v in batchnorm_affine(step, e))
    for j, value in enumerate(r):
        if step.kind == "linear":
            xs, ws, b = [x[i] for i, _ in step.links[j]], [w for _, w in step.links[j]], step.bias[j]
            if alpha is None:
                terms = [(1.0, [a * w for a, w in zip(xs, ws, strict=True)], b, e if z[j] >= 0 else -e)]
            else:
                terms = [
                    (alpha, [a * max(w, 0.0) for a, w in zip(xs, ws, strict=True)], max(b, 0.0), 1e-7),
                    (beta, [a * min(w, 0.0) for a, w in zip(xs, ws, strict=True)], min(b, 0.0), -1e-7),
                ]
            for factor, parts, bias, added in terms:
                shares = spread(parts, bias, added, factor * value, account, guarded=False) if factor else []
                for (i, _), share in zip(step.links[j], shares, strict=bool(factor)):
                    result[i] += share
        elif step.kind == "batchnorm":
            a, b = x[j] * scale[j], shift[j]
            if alpha is None:
                terms = [(1.0, [a], b, e)]
            else:
                terms = [(alpha, [max(a, 0.0)], max(b, 0.0), 1e-7), (beta, [min(a, 0.0)], min(b, 0.0), -1e-7)]
            for factor, parts, bias, added in terms:
                if factor:
                    result[j] += spread(parts, bias, added, factor * value, account, guarded=False)[0]
        elif step.kind == "max":
            i = winner(x, step.windows[j])
            if alpha is None:
                result[i] += spread([x[i]], 0.0, e if z[j] >= 0 else -e, value, account, guarded=False)[0]
            else:  # all of x over a part of z: what that makes up is entered as negative
                for factor, part, added in ((alpha, max(z[j], 0.0), 1e-7), (beta, min(z[j], 0.0), -1e-7)):
                    s = factor * value / (part + added)
                    result[i] += x[i] * s
                    account.stabiliser += added * s
                    account.empty -= (z[j] - part) * s
        else:
            result[step.moves[j][1] if step.moves else j] += value  # type: ignore[index]
    return result


def winner(x: Vector, window: list[int]) -> int:
    """The first of the largest values, in row order."""
    best = window[0]
    for i in window:
        if x[i] > x[best]:
            best = i
    return best
