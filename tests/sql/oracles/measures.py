"""Oracles of the means over pairs: measures from their definitions, and a bootstrap in NumPy."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from lakes import Row, Rows, band_size, stable_rank
from scipy.stats import ks_2samp, rankdata, wasserstein_distance

from compute.cells import cell_of
from oracles.base import Near, grouped, oracle
from oracles.sensitivity import BANDS, ends, held_against, weights_of

Values = dict[str, tuple[float | None, float | None, bool]]
"""By measure: its value, chance, and whether ties spoil it."""


def rank_biased_overlap(one: np.ndarray, two: np.ndarray, k: int) -> float:
    """Equation 7 of Webber, Moffat and Zobel 2010 to depth n, where all is common, and on from there."""
    n, p = len(one), 1 - 1 / k
    common = [len({*np.flatnonzero(one < d)} & {*np.flatnonzero(two < d)}) / d for d in range(1, n + 1)]
    return (1 - p) * sum(p ** (d - 1) * share for d, share in enumerate(common, 1)) + p**n


def structural_similarity(one: np.ndarray, two: np.ndarray) -> float:
    """Equation 13 of Wang et al. 2004 of two maps [h, w, c], window by window."""
    side = min(11, *one.shape[:2])
    side -= 1 - side % 2
    offsets = np.arange(side) - side // 2
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    weights = (weights / weights.sum())[:, :, None]
    found = []
    for row in range(one.shape[0] - side + 1):
        for column in range(one.shape[1] - side + 1):
            a, b = (m[row : row + side, column : column + side].astype(np.float64) for m in (one, two))
            mean_a, mean_b = (weights * a).sum((0, 1)), (weights * b).sum((0, 1))
            var_a, var_b = (
                (weights * (a - mean_a) ** 2).sum((0, 1)),
                (weights * (b - mean_b) ** 2).sum((0, 1)),
            )
            both = (weights * (a - mean_a) * (b - mean_b)).sum((0, 1))
            light = (2 * mean_a * mean_b + 0.02**2) / (mean_a**2 + mean_b**2 + 0.02**2)
            found.append(light * (2 * both + 0.06**2) / (var_a + var_b + 0.06**2))
    return float(np.mean(found))


def correlation(one: np.ndarray, two: np.ndarray) -> float | None:
    return float(np.corrcoef(one, two)[0, 1]) if one.std() > 0 and two.std() > 0 else None


def measures_of(row: Row, other: Row, shape: tuple[int, int, int] | None) -> Values:
    """Every measure of a map and its original's."""
    values, others = row["relevance"], other["relevance"]
    place, other_place = stable_rank(values), stable_rank(others)
    n = len(values)
    sizes = [band_size(share, n) for _, share, _ in BANDS]
    tied = [max(row[t], other[t]) > 0.1 * k for (_, _, t), k in zip(BANDS, sizes, strict=True)]
    found: Values = {}
    for (band, _, _), k, is_tied in zip(BANDS, sizes, tied, strict=True):
        shared = float(((place < k) & (other_place < k)).sum() / k)
        found[f"overlap at {band}"] = shared, k / n, is_tied
    k = sizes[1]
    top = other_place < k
    found["rank shift"] = float((place - other_place)[top].mean()), (n - k) / 2, tied[1]
    for (band, _, _), k, is_tied in zip(BANDS, sizes, tied, strict=True):
        chance = (1 / k) * sum((1 - 1 / k) ** (d - 1) * d / n for d in range(1, n + 1)) + (1 - 1 / k) ** n
        found[f"rank-biased overlap at {band}"] = rank_biased_overlap(place, other_place, k), chance, is_tied
    squares = ((place - other_place) ** 2).sum()
    found["spearman"] = (1 - 6 * squares / (n * (n**2 - 1)) if n > 1 else None), 0.0, False
    magnitudes = [rankdata(np.abs(v)) for v in (values, others)]
    found["spearman of magnitudes"] = correlation(*magnitudes), 0.0, False
    signs, other_signs = np.sign(values), np.sign(others)
    chance = sum(float((signs == s).mean() * (other_signs == s).mean()) for s in (-1, 0, 1))
    found["sign agreement"] = float((signs == other_signs).mean()), chance, False
    similar = None if shape is None else structural_similarity(values.reshape(shape), others.reshape(shape))
    found["ssim"] = similar, None, False
    found["wasserstein"] = wasserstein_distance(values, others), None, False
    return found


def shapes_of(rows: Rows) -> dict[str, tuple[int, int, int]]:
    return {row["dataset"]: (row["height"], row["width"], row["channels"]) for row in rows["images"]}


def kinds_of(rows: Rows) -> dict[str, Row]:
    """By subject: the attack, the name of the comparison, the fraction."""
    found = {}
    for row in rows["attacks"]:
        control = row.get("control_of")
        is_way = control and row["algorithm"] in ("path", "reverse")
        fraction = row["fraction"] if is_way else None
        kind = f"path {fraction}" if control and row["algorithm"] == "path" else row["algorithm"]
        found[row["attack"]] = {
            "attack": control or row["attack"],
            "kind": kind if control else None,
            "fraction": fraction,
        }
    return found


def mean_of(pairs: list[tuple[Any, ...]]) -> Row:
    """Columns of a mean over pairs: (image, value, noise, chance, is_tied)."""
    images = sorted({image for image, *_ in pairs})
    sums = np.zeros((len(images), 4))
    for image, value, noise, _, _ in pairs:
        both = (0, 0) if noise is None else (1, noise - value)
        sums[images.index(image)] += (1, value, *both)
    whole = sums.sum(axis=0)
    drawn = np.stack([weights_of(image) for image in images], axis=1) @ sums
    with np.errstate(all="ignore"):
        mean, difference = (ends(drawn[:, b] / drawn[:, a]) for a, b in ((0, 1), (2, 3)))
    chances = [chance for *_, chance, _ in pairs if chance is not None]
    return {
        "pairs": len(pairs),
        "images": len(images),
        "tied_pairs": sum(tied for *_, tied in pairs),
        "chance": sum(chances) / len(pairs) if chances else None,
        "mean": near(whole[1] / whole[0]),
        "mean_low": near(mean[0]),
        "mean_high": near(mean[1]),
        "noise_pairs": int(whole[2]),
        "difference": near(whole[3] / whole[2]) if whole[2] else None,
        "difference_low": near(difference[0]),
        "difference_high": near(difference[1]),
    }


def near(value: Any) -> Near | None:
    """Sums of a few thousand terms of the order of 1: ranks of the order of n."""
    return None if value is None else Near(float(value), 1e-10)


@oracle
def map_similarity(rows: Rows) -> list[Row]:
    kinds, shapes = kinds_of(rows), shapes_of(rows)
    measured = []
    for row, reference, other in held_against(rows):
        if reference == "original" and row["subject"] in kinds:
            of = kinds[row["subject"]]
            name = of["kind"] or ("adversarial" if row["explains"] == "target" else "image")
            keys = {key: row[key] for key in ("dataset", "model", "method", "target", "image_id")}
            values = measures_of(row, other, shapes.get(row["dataset"]))
            measured.append(keys | of | {"comparison": name, "values": values})
    expected = []
    for key, of_attack in grouped(measured, "dataset", "model", "method", "attack"):
        noise = {(m["target"], m["image_id"]): m["values"] for m in of_attack if m["comparison"] == "noise"}
        found = {(m["fraction"], m["comparison"]) for m in of_attack}
        for fraction, comparison in sorted(found, key=lambda k: (k[0] is not None, k[0] or 0, k[1])):
            pairs = defaultdict(list)
            for m in of_attack:
                if m["comparison"] == comparison:
                    beside = noise.get((m["target"], m["image_id"]), {})
                    for measure, (value, chance, tied) in m["values"].items():
                        held = beside.get(measure, (None,))[0]
                        if value is not None:
                            pairs[measure].append((m["image_id"], value, held, chance, tied))
            for measure in m["values"]:
                if pairs[measure]:
                    names = {"comparison": comparison, "fraction": fraction, "measure": measure}
                    expected.append(key | names | mean_of(pairs[measure]))
    return expected


@oracle
def path_jump(rows: Rows) -> list[Row]:
    kinds = kinds_of(rows)
    ways = defaultdict(list)
    points = defaultdict(set)
    for subject, of in kinds.items():
        if of["kind"] is None or of["kind"].startswith("path"):
            points[of["attack"]].add(subject)
    for row, reference, other in held_against(rows):
        of = kinds.get(row["subject"])
        if of is None or row["subject"] not in points[of["attack"]] or len(points[of["attack"]]) < 2:
            continue
        if of["kind"] is None and row["explains"] == "label":
            continue
        at = of["fraction"] or 1.0
        first = min(kinds[subject]["fraction"] or 1.0 for subject in points[of["attack"]])
        if reference == ("original" if at == first else "step"):
            keys = ("dataset", "model", "method", "image_id", "target")
            ways[of["attack"], *(row[name] for name in keys)].append((at, row, other))
    found = []
    for (attack, dataset, model, method, image, _), steps in ways.items():
        steps.sort(key=lambda step: step[0])
        if len(steps) != len(points[attack]):
            continue
        for band, share, ties in BANDS:
            before, known = (0.0, "label"), []
            for at, row, other in steps:
                k = band_size(share, len(row["relevance"]))
                shared = (
                    (stable_rank(row["relevance"]) < k) & (stable_rank(other["relevance"]) < k)
                ).sum() / k
                turns = row["explains"] == "target" and before[1] == "label"
                tied = max(row[ties], other[ties]) > 0.1 * k
                known.append(((1 - shared) / (at - before[0]), turns, tied))
                before = at, row["explains"]
            first = next((i for i, step in enumerate(known) if step[1]), None)
            if first is not None:
                turn = known[first][0]
                rest = float(np.mean([step[0] for i, step in enumerate(known) if i != first]))
                keys = {"dataset": dataset, "model": model, "method": method, "attack": attack, "band": band}
                tied = any(step[2] for step in known)
                found.append(keys | {"image": image, "turn": turn, "rest": rest, "tied": tied})
    expected = []
    for key, pairs in grouped(found, "dataset", "model", "method", "attack", "band"):
        row: Row = dict(key)
        for name in ("turn", "rest", "jump"):
            values = [p["turn"] - p["rest"] if name == "jump" else p[name] for p in pairs]
            mean = mean_of(
                [(p["image"], v, None, None, p["tied"]) for p, v in zip(pairs, values, strict=True)]
            )
            if name == "turn":
                row |= {key: mean[key] for key in ("pairs", "images", "tied_pairs")}
            row |= {name: mean["mean"], f"{name}_low": mean["mean_low"], f"{name}_high": mean["mean_high"]}
        low, high = row["jump_low"].value, row["jump_high"].value
        is_tied = row["tied_pairs"] > 0.1 * row["pairs"]
        row["verdict"] = "ties" if is_tied else "jumps" if low > 1e-9 else "dips" if high < -1e-9 else "even"
        expected.append(row)
    return expected


@oracle
def sanity_checks(rows: Rows) -> list[Row]:
    networks = {(row["model"], row["subject"]): row for row in rows["randomisations"]}
    shapes = shapes_of(rows)
    measures = ("overlap at 1 %", "overlap at 10 %", "spearman", "spearman of magnitudes", "ssim")
    found = []
    for row, reference, other in held_against(rows):
        network = networks.get((row["model"], row["subject"]))
        if network is not None and reference == "original":
            values = measures_of(row, other, shapes.get(row["dataset"]))
            keys = {key: row[key] for key in ("dataset", "model", "method", "image_id", "subject")}
            known = {key: network[key] for key in ("depth", "of_depth", "layer")}
            found.append(keys | known | {"values": values})
    expected = []
    names = ("dataset", "model", "method", "depth", "subject", "of_depth", "layer")
    for key, images in grouped(found, *names):
        for measure in measures:
            measured = [(image["image_id"], *image["values"][measure]) for image in images]
            pairs = [
                (i, value, None, chance, tied) for i, value, chance, tied in measured if value is not None
            ]
            if not pairs:
                continue
            mean = mean_of(pairs)
            chance, row = mean["chance"], {name: key[name] for name in ("dataset", "model", "method")}
            row |= {name: key[name] for name in ("subject", "depth", "of_depth", "layer")}
            row |= {"measure": measure, "images": mean["images"], "tied_images": mean["tied_pairs"]}
            row |= {name: mean[name] for name in ("chance", "mean", "mean_low", "mean_high")}
            scaled = {}
            for name in ("mean", "mean_low", "mean_high"):
                undefined = chance is None or chance == 1
                scaled[name] = None if undefined else (mean[name].value - (chance or 0)) / (1 - (chance or 0))
            verdict = None
            if measure == "overlap at 10 %" and key["depth"] == key["of_depth"]:
                if mean["tied_pairs"] > 0.1 * mean["pairs"]:
                    verdict = "ties"
                elif scaled["mean"] is not None:
                    verdict = "depends in part"
                    verdict = "keeps its map" if scaled["mean_low"] > 0.5 else verdict
                    verdict = "depends on the weights" if scaled["mean_high"] < 0.1 else verdict
            expected.append(row | {"kept": near(scaled["mean"]), "verdict": verdict})
    return expected


@oracle
def distribution_distance(rows: Rows) -> list[Row]:
    pooled = defaultdict(list)
    for row in rows["relevance"]:
        if row["status"] == "ok":
            keys = ("dataset", "model", "method", "subject", "explains")
            pooled[tuple(row[name] for name in keys)].append(row["relevance"])
    expected = []
    for key in sorted(pooled):
        originals = pooled.get((*key[:3], "original", "label"))
        if key[3:] == ("original", "label") or originals is None:
            continue
        values, others = np.concatenate(pooled[key]), np.concatenate(originals)
        cells = [cell_of(v).astype(int) for v in (values, others)]
        every = np.unique(np.concatenate(cells))
        one, two = (np.searchsorted(np.sort(c), every, side="right") / len(c) for c in cells)
        before = [np.searchsorted(np.sort(c), every, side="left") / len(c) for c in cells]
        ks = float(np.abs(one - two).max())
        at_most = float(np.maximum(one - before[1], two - before[0]).max())
        assert ks - 1e-12 <= ks_2samp(values, others).statistic <= at_most + 1e-12
        names = dict(zip(("dataset", "model", "method", "subject", "explains"), key, strict=True))
        sizes = {"values": len(values), "original_values": len(others)}
        expected.append(names | sizes | {"ks": near(ks), "ks_at_most": near(at_most)})
    return expected
