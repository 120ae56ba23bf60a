"""A small study computed with NumPy from images to results: the input of the report's tests.

The classifier is one hidden layer of ReLUs with random weights, the attack a few gradient steps towards the
target, the methods are LRP rules written for these two layers. The results have the columns, the bands and
the conventions of the lake's analyses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

METHODS = ("lrp-0", "lrp-epsilon-0.01", "lrp-epsilon-1", "lrp-alpha1-beta0", "lrp-alpha2-beta-1")
LEVELS = (0.001, 0.005, 0.01, 0.1, 0.5, 0.9, 0.99, 0.995, 0.999)
SHIFT_LEVELS = (0.1, 0.25, 0.5, 0.7, 0.9, 0.99)
BAND_PAIRS = (
    ("most relevant", "1 %"),
    ("most relevant", "10 %"),
    ("1 %", "1 %"),
    ("1 %", "10 %"),
    ("10 %", "10 %"),
)
KEYS = {"dataset": "noise", "model": "two-layers"}
CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass
class Study:
    """Images (n, height, width, channels) uint8, pairs and maps; maps[method] = (originals, adversarials)."""

    attack: str
    images: np.ndarray
    labels: np.ndarray
    pair_image: np.ndarray
    pair_target: np.ndarray
    adversarials: np.ndarray
    success: np.ndarray
    probability: np.ndarray
    maps: dict[str, tuple[np.ndarray, np.ndarray]]


class Network:
    """x -> W2 relu(W1 (x - 0.5) + b)."""

    def __init__(self, components: int, generator: np.random.Generator) -> None:
        self.first = generator.normal(size=(48, components)) / np.sqrt(components)
        self.bias = generator.normal(size=48) * 0.1
        self.second = generator.normal(size=(10, 48)) / 3

    def hidden(self, x):
        return np.maximum(0, (x - 0.5) @ self.first.T + self.bias)

    def logits(self, x):
        return self.hidden(x) @ self.second.T

    def gradient(self, x, weights):
        """Gradient of the logits' sum with `weights` (rows, 10)."""
        return ((self.hidden(x) > 0) * (weights @ self.second)) @ self.first

    def relevance(self, x, classes, method):
        """Map of the logit of `classes`, one row each, divided by its largest |value|."""
        hidden, inputs = self.hidden(x), x - 0.5
        one_hot = np.eye(10)[classes]
        start = one_hot * self.logits(x)
        rule = method.removeprefix("published-")
        if rule.startswith("lrp-alpha"):
            alpha = float(rule[len("lrp-alpha")])
            maps = alpha * self._by_sign(inputs, hidden, start, +1) + (1 - alpha) * self._by_sign(
                inputs, hidden, start, -1
            )
        else:
            epsilon = 1e-9 if rule == "lrp-0" else float(rule.rsplit("-", 1)[1])
            above = start / stabilised(hidden @ self.second.T, epsilon)
            between = hidden * (above @ self.second)
            pre = inputs @ self.first.T + self.bias
            maps = inputs * ((between / stabilised(pre, epsilon)) @ self.first)
        return (maps / np.abs(maps).max(axis=1, keepdims=True)).astype(np.float32)

    def _by_sign(self, inputs, hidden, start, sign):
        second, first = (np.maximum(0, sign * w) for w in (self.second, self.first))
        above = hidden * ((start / (hidden @ second.T + 1e-7)) @ second)
        return inputs * ((above / (np.abs(inputs) @ first.T + 1e-7)) @ first)


def stabilised(z, epsilon):
    return z + epsilon * np.where(z >= 0, 1, -1)


def make_study(side=12, images=8, methods=METHODS, published=True, attack="lbfgs", seed=0) -> Study:
    """Smooth random images, attacked towards every other class; some maps are not finite, one is zero."""
    generator = np.random.default_rng(seed)
    coarse = generator.random((images, 4, 4, 3))
    pixels = np.clip(coarse.repeat(side // 4, 1).repeat(side // 4, 2) * 255, 0, 255).astype(np.uint8)
    network = Network(side * side * 3, generator)
    flat = pixels.reshape(images, -1) / 255.0
    labels = network.logits(flat).argmax(axis=1)
    pair_image, pair_target = np.array([(i, t) for i in range(images) for t in range(10) if t != labels[i]]).T
    x = flat[pair_image].copy()
    wanted = np.eye(10)[pair_target]
    for _ in range(60):
        scores = np.exp(network.logits(x))
        probability = scores / scores.sum(axis=1, keepdims=True)
        step = network.gradient(x, (wanted - probability) * (probability.argmax(1) != pair_target)[:, None])
        x = np.clip(x + 0.05 * step, 0, 1)
    success = probability.argmax(axis=1) == pair_target
    names = (*methods, *(f"published-{m}" for m in methods)) if published else methods
    maps = {m: (network.relevance(flat, labels, m), network.relevance(x, pair_target, m)) for m in names}
    originals, adversarials = maps[names[0]]
    originals[0], adversarials[3] = 0.0, np.nan
    shape = pixels.shape[1:]
    return Study(
        attack,
        pixels,
        labels,
        pair_image,
        pair_target,
        x.astype(np.float32).reshape(-1, *shape),
        success,
        probability[np.arange(len(x)), pair_target],
        maps,
    )


def results(study: Study, name: str = "small") -> dict[str, pl.DataFrame]:
    """Every analysis of the report."""
    frames = {
        "study_overview": overview(study),
        "attack_overview": attack_overview(study),
        "attack_failures": attack_failures(study),
        "attack_summary": attack_summary(study),
        **relevance_statistics(study),
        **rank_statistics(study),
        **galleries(study),
    }
    return {key: frame.select(pl.lit(name).alias("study"), pl.all()) for key, frame in frames.items()}


def status(maps: np.ndarray) -> np.ndarray:
    finite = np.isfinite(maps).all(axis=1)
    return np.where(~finite, "non_finite", np.where((maps == 0).all(axis=1), "zero", "ok"))


def used_pairs(study: Study) -> np.ndarray:
    return np.flatnonzero(study.success)


def overview(study: Study) -> pl.DataFrame:
    maps = {m: len(o) + int(study.success.sum()) for m, (o, _) in study.maps.items()}
    rows = [
        ("dataset", KEYS["dataset"], f"{len(study.images)} images", len(study.images)),
        ("model", KEYS["model"], "all images classified correctly", len(study.images)),
        ("attack", study.attack, f"{study.success.sum()} pairs succeeded", len(study.pair_image)),
        *(("method", m, f"{n} maps", n) for m, n in maps.items()),
        ("table", "relevance", "one row per relevance map", sum(maps.values())),
    ]
    return pl.DataFrame(rows, schema=["kind", "id", "detail", "rows"], orient="row")


def norms(study: Study) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    change = study.adversarials - study.images[study.pair_image] / 255.0
    change = change.reshape(len(change), -1)
    return np.abs(change).sum(1), np.sqrt((change**2).sum(1)), np.abs(change).max(1)


def attack_overview(study: Study) -> pl.DataFrame:
    good = study.success
    _, l2, linf = norms(study)
    quantiles = np.quantile(study.probability[good], [0.001, 0.005, 0.5]) if good.any() else [None] * 3
    row = {
        **KEYS,
        "attack": study.attack,
        "algorithm": "lbfgs",
        "targeted": True,
        "images": len(study.images),
        "pairs": len(good),
        "successes": int(good.sum()),
        "failed": int((~good).sum()),
        "already_target": 0,
        "success_rate": float(good.mean()),
        "second_is_label": 0.75 if good.any() else None,
        **{f"target_probability_{n}": q for n, q in zip(("q001", "q005", "q500"), quantiles, strict=True)},
        "median_second_probability": 0.0625 if good.any() else None,
        "median_l2": float(np.median(l2[good])) if good.any() else None,
        "median_linf": float(np.median(linf[good])) if good.any() else None,
        "mean_gradient_calls": 60.0,
        "mean_forward_calls": 60.0,
    }
    text = {"dataset", "model", "attack", "algorithm"}
    return pl.DataFrame(
        [row], schema_overrides={k: pl.Float64 for k, v in row.items() if v is None and k not in text}
    )


def attack_failures(study: Study) -> pl.DataFrame:
    failed = int((~study.success).sum())
    columns = {"attack": pl.String, "reason": pl.String, "pairs": pl.Int64, "share": pl.Float64}
    rows = [(study.attack, "budget spent", failed, failed / len(study.success), 0.125)] if failed else []
    return pl.DataFrame(rows, schema=columns | {"median_target_probability": pl.Float64}, orient="row")


def attack_summary(study: Study) -> pl.DataFrame:
    l1, l2, linf = norms(study)
    label = study.labels[study.pair_image]
    rows = []
    for key in sorted({(int(a), int(b)) for a, b in zip(label, study.pair_target, strict=True)}):
        here = (label == key[0]) & (study.pair_target == key[1])
        good = here & study.success
        medians = [
            float(np.median(v[good])) if good.any() else None for v in (study.probability, l1, l2, linf)
        ]
        rows.append(
            (
                *KEYS.values(),
                study.attack,
                True,
                *key,
                int(here.sum()),
                int(good.sum()),
                good.sum() / here.sum(),
                *medians,
            )
        )
    columns: str = (
        "dataset model attack targeted label target pairs successes success_rate median_target_probability "
        "median_l1 median_l2 median_linf"
    )
    floats: dict[str, Any] = dict.fromkeys(columns.split()[8:], pl.Float64)
    return pl.DataFrame(rows, schema=columns.split(), schema_overrides=floats, orient="row")


def relevance_statistics(study: Study) -> dict[str, pl.DataFrame]:
    quantiles, moments, histogram = [], [], []
    used = used_pairs(study)
    for method, (originals, adversarials) in study.maps.items():
        for subject, explains, maps in (
            ("original", "label", originals),
            (study.attack, "target", adversarials[used]),
        ):
            key = {**KEYS, "method": method, "subject": subject, "explains": explains}
            state = status(maps)
            values = maps[state == "ok"].astype(np.float64).ravel()
            n = int((state == "ok").sum())
            if n:
                for level, value in zip(LEVELS, np.quantile(values, LEVELS), strict=True):
                    quantiles.append(key | {"maps": n, "level": level, "value": float(value)})
                counts, edges = np.histogram(values, bins=80, range=(-1, 1))
                for low, high, c in zip(edges[:-1], edges[1:], counts, strict=True):
                    histogram.append(
                        key | {"bin_low": low, "bin_high": high, "values": int(c), "share": c / len(values)}
                    )
            of = (lambda f, v=values: float(f(v))) if n else (lambda f: None)
            moments.append(
                key
                | {"maps": n, "zero_maps": int((state == "zero").sum()), "values": len(values)}
                | {"non_finite_maps": int((state == "non_finite").sum())}
                | {"mean": of(np.mean), "std": of(np.std), "share_zero": of(lambda v: np.mean(v == 0))}
                | {"share_near_zero": of(lambda v: np.mean(np.abs(v) <= 0.001))}
                | {
                    "share_negative": of(lambda v: np.mean(v < 0)),
                    "minimum": of(np.min),
                    "maximum": of(np.max),
                }
            )
    text = dict.fromkeys(("dataset", "model", "method", "subject", "explains"), pl.String)
    floats = ("mean", "std", "share_zero", "share_near_zero", "share_negative", "minimum", "maximum")
    return {
        "relevance_quantiles": pl.DataFrame(
            quantiles, schema=text | {"maps": pl.Int64, "level": pl.Float64, "value": pl.Float64}
        ),
        "relevance_moments": pl.DataFrame(moments, schema_overrides=dict.fromkeys(floats, pl.Float64)),
        "relevance_histogram": pl.DataFrame(
            histogram,
            schema=text
            | {"bin_low": pl.Float64, "bin_high": pl.Float64, "values": pl.Int64, "share": pl.Float64},
        ),
    }


def rank_statistics(study: Study) -> dict[str, pl.DataFrame]:
    overlap, quantiles, histogram = [], [], []
    used = used_pairs(study)
    for method, (originals, adversarials) in study.maps.items():
        first, second = originals[study.pair_image[used]], adversarials[used]
        fine = (status(first) == "ok") & (status(second) == "ok")
        if not fine.any():
            continue
        first, second = rank(first[fine]), rank(second[fine])
        pairs, n = first.shape
        size = {"most relevant": 1, "1 %": max(1, round(n * 0.01)), "10 %": round(n * 0.1)}
        same = float((first.argmin(1) == second.argmin(1)).mean())
        for original, adversarial in BAND_PAIRS:
            k, k2 = size[original], size[adversarial]
            both = (first < k) & (second < k2)
            shift = (second - first)[both]
            key = {
                **KEYS,
                "method": method,
                "attack": study.attack,
                "original_band": original,
                "adversarial_band": adversarial,
            }
            overlap.append(
                key
                | {
                    "original_k": k,
                    "adversarial_k": k2,
                    "pairs": pairs,
                    "overlap": both.sum() / (pairs * k),
                    "chance": k2 / n,
                }
                | {"identical": same if k == 1 else None, "tied_pairs": None if k == 1 else 0}
            )
            if len(shift):
                for level, value in zip(SHIFT_LEVELS, np.quantile(np.abs(shift), SHIFT_LEVELS), strict=True):
                    quantiles.append(
                        key
                        | {"components": len(shift), "level": level, "abs_shift": float(value)}
                        | {"mean_shift": float(shift.mean()), "share_unmoved": float((shift == 0).mean())}
                    )
                edges = np.linspace(-k2 - 0.5, k2 + 0.5, 42)
                for low, high, c in zip(edges[:-1], edges[1:], np.histogram(shift, edges)[0], strict=True):
                    histogram.append(
                        key
                        | {"bin_low": low, "bin_high": high, "components": int(c), "share": c / len(shift)}
                    )
    text = dict.fromkeys(
        ("dataset", "model", "method", "attack", "original_band", "adversarial_band"), pl.String
    )
    whole = dict.fromkeys(("original_k", "adversarial_k", "pairs"), pl.Int64)
    return {
        "topk_overlap": pl.DataFrame(
            overlap,
            schema=text
            | whole
            | dict.fromkeys(("overlap", "chance", "identical"), pl.Float64)
            | {"tied_pairs": pl.Int64},
        ),
        "rank_shift_quantiles": pl.DataFrame(
            quantiles,
            schema=text
            | {"components": pl.Int64}
            | dict.fromkeys(("level", "abs_shift", "mean_shift", "share_unmoved"), pl.Float64),
        ),
        "rank_shift": pl.DataFrame(
            histogram,
            schema=text
            | {"bin_low": pl.Float64, "bin_high": pl.Float64, "components": pl.Int64, "share": pl.Float64},
        ),
    }


def rank(maps: np.ndarray) -> np.ndarray:
    order = np.argsort(-maps, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(maps.shape[1])[None, :].repeat(len(maps), 0), axis=1)
    return ranks


def galleries(study: Study) -> dict[str, pl.DataFrame]:
    used = used_pairs(study)
    label = study.labels[study.pair_image]
    sample = [int(used[label[used] == c][0]) for c in sorted(set(label[used]))][:10]
    height, width, channels = study.images.shape[1:]
    shape = {"height": height, "width": width, "channels": channels}
    _, l2, linf = norms(study)
    pairs, maps = [], []
    for place, p in enumerate(sample):
        image = int(study.pair_image[p])
        key = {
            **KEYS,
            "attack": study.attack,
            "image_id": image,
            "label": int(label[p]),
            "target": int(study.pair_target[p]),
        }
        pairs.append(
            key
            | {"predicted_original": int(label[p]), "original_pixels": study.images[image].ravel().tolist()}
            | {
                "adversarial_pixels": study.adversarials[p].ravel().tolist(),
                "target_probability": float(study.probability[p]),
            }
            | {"l2": float(l2[p]), "linf": float(linf[p])}
            | shape
        )
        if place >= 5:
            continue
        for method, (originals, adversarials) in study.maps.items():
            for subject, map_, explained in (
                ("original", originals[image], key["label"]),
                (study.attack, adversarials[p], key["target"]),
            ):
                maps.append(
                    key
                    | {"method": method, "subject": subject, "explained_class": explained, "start": 1.0}
                    | {"status": str(status(map_[None])[0]), "relevance": map_.tolist()}
                    | shape
                )
    text = dict.fromkeys(("dataset", "model", "attack"), pl.String)
    ids = dict.fromkeys(("image_id", "label", "target"), pl.Int32)
    sizes = dict.fromkeys(("height", "width", "channels"), pl.Int32)
    return {
        "pair_gallery": pl.DataFrame(
            pairs,
            schema=text
            | ids
            | {"predicted_original": pl.Int32, "original_pixels": pl.List(pl.UInt8)}
            | {
                "adversarial_pixels": pl.List(pl.Float32),
                "target_probability": pl.Float32,
                "l2": pl.Float32,
                "linf": pl.Float32,
            }
            | sizes,
        ),
        "map_gallery": pl.DataFrame(
            maps,
            schema=text
            | ids
            | {"method": pl.String, "subject": pl.String, "explained_class": pl.Int32, "start": pl.Float32}
            | {"status": pl.String, "relevance": pl.List(pl.Float32)}
            | sizes,
        ),
    }
