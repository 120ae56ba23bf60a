"""Oracle of decision_sensitivity: maps are sorted anew, and the bootstrap is NumPy's, with the same draws."""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
from lakes import Row, Rows, band_size, stable_rank

from oracles.base import Near, attacked_of, grouped, oracle, successes_of

REPLICATES = 1000
BANDS = (("1 %", 0.01, "ties_at_31"), ("10 %", 0.1, "ties_at_307"))
KEYS = ("dataset", "model", "method", "attack")


def weights_of(image_id: int) -> np.ndarray:
    """How often each replicate counts an image: quantiles of the Poisson distribution of mean 1."""
    digests = [hashlib.md5(f"{image_id} {replicate}".encode()).digest() for replicate in range(REPLICATES)]
    draws = (
        np.array([int.from_bytes(digest[8:], "little") for digest in digests]).astype(np.float64) / 2.0**64
    )
    bounds = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(10)])
    return (draws[:, None] >= bounds).sum(axis=1).astype(float)


def maps_of(rows: Rows) -> dict[tuple[Any, ...], Row]:
    """The ok maps that are compared, by all their keys: of originals, of examples and of controls."""
    made = {
        tuple(row[name] for name in ("dataset", "model", "attack", "image_id", "target"))
        for row in rows["adversarials"]
        if row["status"] in ("success", "kept")
    }
    drawn = {(row["model"], row["subject"]) for row in rows["randomisations"]}
    found = {}
    for row in rows["relevance"]:
        example = row["dataset"], row["model"], row["subject"], row["image_id"], row["target"]
        is_drawn = (row["model"], row["subject"]) in drawn
        if row["status"] == "ok" and (row["subject"] == "original" or is_drawn or example in made):
            names = ("dataset", "model", "method", "subject", "explains", "target", "image_id")
            found[tuple(row[name] for name in names)] = row
    return found


def next_targets(rows: Rows) -> dict[tuple, int]:
    """Of each success the next target, around in order, that the attack reached with the same image."""
    found = {}
    for key, group in grouped(successes_of(attacked_of(rows)), "dataset", "model", "attack", "image_id"):
        targets = sorted(row["target"] for row in group)
        for target, after in zip(targets, targets[1:] + targets[:1], strict=True):
            if after != target:
                found[(*key.values(), target)] = after
    return found


def held_series(rows: Rows) -> set[tuple[Any, ...]]:
    """Series of maps that are held against others: of controls and of what has some, or of both questions."""
    controls = {row["attack"]: row["control_of"] for row in rows["attacks"] if row.get("control_of")}
    return {
        (row["dataset"], row["model"], row["method"], row["subject"])
        for row in rows["relevance"]
        if row["explains"] == "label" or row["subject"] in {*controls, *controls.values()}
    }


def held_against(rows: Rows) -> list[tuple[Row, str, Row]]:
    """Every map that is compared, what it is held against, and that map."""
    maps, after = maps_of(rows), next_targets(rows)
    attacks = {row["attack"]: row for row in rows["attacks"]}
    points = defaultdict(list)
    for row in rows["attacks"]:
        if row.get("control_of") is None:
            points[row["attack"]].append((1.0, row["attack"]))
        elif row["algorithm"] == "path":
            points[row["control_of"]].append((row["fraction"], row["attack"]))
    before = {}
    for way in points.values():
        way.sort()
        before |= {name: earlier for (_, earlier), (_, name) in pairwise(way)}
    found, held = [], held_series(rows)
    for key, row in maps.items():
        dataset, model, method, subject, explains, target, image_id = key
        if (subject, explains) == ("original", "label") or key[:4] not in held:
            continue
        of = attacks.get(subject, {})
        is_example = subject in attacks and of.get("control_of") is None
        asked: list[tuple[Any, ...]] = [("original", "original", "label", None)]
        if is_example:
            asked.append(("question", "original", "target", target))
        if is_example and explains == "target":
            following = after.get((dataset, model, subject, image_id, target))
            asked += [("image", subject, "label", target)]
            asked += [("other target", subject, "target", following)] if following is not None else []
        if of.get("algorithm") in ("round", "floor"):
            asked.append(("example", of["control_of"], "target", target))
        if subject in before and (explains == "target" or not is_example):
            asked += [("step", before[subject], kind, target) for kind in ("label", "target")]
        for name, *other in asked:
            reference = maps.get((dataset, model, method, *other, image_id))
            if reference is not None:
                found.append((row, name, reference))
    return found


TURNS = re.compile(r"(published-)?lrp-(?!0-|0$|epsilon-|gamma-)")
"""Methods whose maps turn their sign with the logit that they start from."""

DESIGNS = {
    ("target", "original"): ("adversarial", False),
    ("label", "original"): ("image", True),
    ("target", "image"): ("question at the adversarial image", True),
    ("target", "question"): ("image at the target", True),
    ("label", "question"): ("crossed", True),
    ("target", "other target"): ("other target", False),
}


def comparisons(rows: Rows) -> list[Row]:
    """Both maps of every comparison, the attack that it is held to, what it is, and whose signs it turns."""
    attacks = {row["attack"]: row for row in rows["attacks"]}
    won = defaultdict(list)
    for row in successes_of(attacked_of(rows)):
        won[row["dataset"], row["model"], row["image_id"], row["target"]].append(row["attack"])
    found = []
    for row, name, other in held_against(rows):
        pair = row | {"other": other, "fraction": None, "signed": False}
        if row["subject"] == "original":
            named = [
                (attack, "question", True)
                for attack in won[row["dataset"], row["model"], row["image_id"], row["target"]]
            ]
        elif row["subject"] not in attacks:
            continue
        elif attacks[row["subject"]].get("control_of"):
            of = attacks[row["subject"]]
            is_rounding = of["algorithm"] in ("round", "floor")
            if name != ("example" if is_rounding else "original"):
                continue
            kind = f"path {of['fraction']}" if of["algorithm"] == "path" else of["algorithm"]
            pair["fraction"] = of["fraction"] if of["algorithm"] in ("path", "reverse") else None
            named = [(of["control_of"], kind, False)]
        elif (row["explains"], name) in DESIGNS:
            named = [(row["subject"], *DESIGNS[row["explains"], name])]
        else:
            continue
        for attack, comparison, is_of_design in named:
            is_signed = is_of_design and bool(TURNS.match(row["method"]))
            found.append(pair | {"attack": attack, "comparison": comparison, "signed": is_signed})
            if is_of_design:
                found.append(pair | {"attack": attack, "comparison": f"{comparison} as stored"})
    controlled = {row["control_of"] for row in rows["attacks"]} | {
        row["subject"] for row in rows["relevance"] if row["explains"] == "label"
    }
    originals = [
        row for row in maps_of(rows).values() if (row["subject"], row["explains"]) == ("original", "label")
    ]
    found += other_images(rows, originals, controlled)
    return [pair for pair in found if pair["attack"] in controlled]


def other_images(rows: Rows, originals: list[Row], controlled: set[str]) -> list[Row]:
    """Each original of a success beside the next one, in order of the digests of their ids."""
    found = []
    images = {
        (row["dataset"], row["model"], row["attack"], row["image_id"])
        for row in successes_of(attacked_of(rows))
        if row["attack"] in controlled
    }
    drawn_from = {(dataset, model, image_id) for dataset, model, _, image_id in images}
    originals = [row for row in originals if (row["dataset"], row["model"], row["image_id"]) in drawn_from]
    for kind, names in (("other image of the class", ("label",)), ("other image", ())):
        for _, group in grouped(originals, "dataset", "model", "method", *names):
            group = sorted(group, key=lambda row: hashlib.md5(str(row["image_id"]).encode()).hexdigest())
            for row, other in zip(group, group[1:] + group[:1], strict=True):
                for dataset, model, attack, image_id in sorted(images):
                    if (dataset, model, image_id) == (row["dataset"], row["model"], row["image_id"]):
                        beside = {"attack": attack, "comparison": kind, "fraction": None, "signed": False}
                        if other is not row:
                            mine = {"image_id": image_id, "target": None, "other": row}
                            found.append(other | mine | beside)
    return found


def places_of(row: Row, signed: bool) -> np.ndarray:
    """Ranks of a map, or of the map multiplied by the sign of its start logit."""
    places = stable_rank(row["relevance"])
    return len(places) - 1 - places if signed and row["start"] < 0 else places


def overlap_of(pair: Row, share: float) -> tuple[float, float]:
    """The share of the top components of one map among the other's, and chance."""
    places = [places_of(row, pair["signed"]) for row in (pair["other"], pair)]
    n = len(places[0])
    k = band_size(share, n)
    return float(((places[0] < k) & (places[1] < k)).sum() / k), k / n


@oracle
def decision_sensitivity(rows: Rows) -> list[Row]:
    found = comparisons(rows)
    expected = []
    for key, of_attack in grouped(found, *KEYS):
        for band, share, ties in BANDS:
            noise = {
                (pair["image_id"], pair["target"]): overlap_of(pair, share)[0]
                for pair in of_attack
                if pair["comparison"] == "noise"
            }
            kinds = {(pair["fraction"], pair["comparison"]) for pair in of_attack}
            for fraction, comparison in sorted(kinds, key=lambda k: (k[0] is not None, k[0] or 0, k[1])):
                pairs = [pair for pair in of_attack if pair["comparison"] == comparison]
                names = {"band": band, "comparison": comparison, "fraction": fraction}
                expected.append(key | names | figures(pairs, noise, share, ties))
    adjust(expected)
    return [row | {"verdict": verdict(row)} for row in expected]


def figures(pairs: list[Row], noise: dict[tuple[int, int], float], share: float, ties: str) -> Row:
    """All columns of one comparison but p_holm and verdict."""
    k = band_size(share, len(pairs[0]["relevance"]))
    images = sorted({pair["image_id"] for pair in pairs})
    sums = np.zeros((len(images), 6))  # pairs, overlap, noise pairs, noise, difference, tied
    chance = 0.0
    for pair in pairs:
        overlap, chance = overlap_of(pair, share)
        held = noise.get((pair["image_id"], pair["target"]))
        tied = max(pair[ties], pair["other"][ties]) > 0.1 * k
        paired = (0, 0, 0) if held is None else (1, held, held - overlap)
        sums[images.index(pair["image_id"])] += (1, overlap, *paired, tied)
    whole = estimates(sums[None].sum(axis=1), sums, np.ones((1, len(images))), chance)
    weights = np.stack([weights_of(image) for image in images], axis=1)
    drawn = estimates(weights @ sums, sums, weights, chance)
    with np.errstate(all="ignore"):
        mean = sums[:, 4] / sums[:, 2]
    mean = mean[np.isfinite(mean)]
    deviation = mean.std(ddof=1) if len(mean) > 1 else 0.0
    difference, error = whole["difference"][0], whole["standard_error"][0]
    p_value = None
    if not math.isnan(difference) and pairs[0]["comparison"] != "noise":
        if error > 0:
            spread = drawn["standard_error"]
            with np.errstate(all="ignore"):
                far = np.abs(drawn["difference"] - difference) / spread >= abs(difference) / error * (
                    1 - 1e-9
                )
            p_value = (1 + int((far | (spread == 0)).sum())) / (1 + int(np.isfinite(spread).sum()))
        elif abs(difference) <= 1e-12:
            p_value = 1.0
    lowest = ends(drawn["stability"])[0]
    stable = lowest is not None and lowest > chance
    score, (score_low, score_high) = (
        (plain(whole["score"][0]), ends(drawn["score"])) if stable else (None, (None, None))
    )
    row: Row = {
        "pairs": len(pairs),
        "images": len(images),
        "tied_pairs": int(sums[:, 5].sum()),
        "target_share": float(np.mean([pair["explains"] == "target" for pair in pairs])),
        "chance": chance,
    }
    row |= with_ends("overlap", whole, drawn)
    row["noise_pairs"] = int(sums[:, 2].sum())
    row |= with_ends("stability", whole, drawn) | with_ends("difference", whole, drawn)
    row["standard_error"] = near(plain(error))
    row["effect_size"] = None if deviation < 1e-9 else near(float(mean.mean() / deviation))
    row |= {"p_value": p_value, "p_holm": None}
    deviations = error * math.sqrt(np.count_nonzero(sums[:, 2]))
    images_needed = math.ceil((2.8015852 * deviations / 0.01) ** 2) if error > 0 else None
    row["images_for_a_point"] = images_needed
    return (
        row
        | {"score": near(score), "score_low": near(score_low), "score_high": near(score_high)}
        | {"stable": stable}
    )


def estimates(
    totals: np.ndarray, sums: np.ndarray, weights: np.ndarray, chance: float
) -> dict[str, np.ndarray]:
    """Estimates of each replicate; totals: [r, 6], sums: [i, 6], weights: [r, i]."""
    pairs, overlap, noise_pairs, noise, difference, _ = totals.T
    above = noise - chance * noise_pairs
    with np.errstate(all="ignore"):
        mean = difference / noise_pairs
        residuals = (sums[:, 4] - mean[:, None] * sums[:, 2]) ** 2
        error = np.sqrt((weights * residuals).sum(axis=1)) / noise_pairs
        return {
            "overlap": overlap / pairs,
            "stability": noise / noise_pairs,
            "difference": mean,
            "score": np.where(above != 0, difference / above, np.nan),
            "standard_error": np.where(error > 1e-7, error, 0 * error),
        }


def with_ends(name: str, whole: dict[str, np.ndarray], drawn: dict[str, np.ndarray]) -> Row:
    low, high = ends(drawn[name])
    return {name: near(plain(whole[name][0])), f"{name}_low": near(low), f"{name}_high": near(high)}


def ends(values: np.ndarray) -> tuple[float | None, float | None]:
    """Percentiles of the replicates that have a value."""
    values = values[np.isfinite(values)]
    if not len(values):
        return None, None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def near(value: float | None) -> Near | None:
    return None if value is None else Near(value, 1e-12)


def adjust(expected: list[Row]) -> None:
    """Holm's adjustment over the methods of each attack, band and comparison."""
    families = defaultdict(list)
    for row in expected:
        if row["p_value"] is not None:
            names = ("dataset", "model", "attack", "band", "comparison")
            families[tuple(row[name] for name in names)].append(row)
    for family in families.values():
        family.sort(key=lambda row: (row["p_value"], row["method"]))
        largest = 0.0
        for i, row in enumerate(family):
            largest = max(largest, (len(family) - i) * row["p_value"])
            row["p_holm"] = min(1.0, largest)


def verdict(row: Row) -> str | None:
    stable = row.pop("stable")
    if not row["noise_pairs"] or row["comparison"] == "noise":
        return None
    if row["tied_pairs"] > 0.1 * row["pairs"]:
        return "ties"
    if not stable:
        return "unstable"
    if row["p_value"] is None:
        return "no test"
    if row["p_holm"] <= 0.05:
        return "changes more" if row["difference"].value > 0 else "changes less"
    return "no difference"
