"""Oracles of the analyses of relevance values and of the maps they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from lakes import Row, Rows

from oracles.base import Near, grouped, oracle, share

MAP_KEYS = ("dataset", "model", "method", "subject", "explains")
LEVELS = [0.001, 0.005, 0.01, 0.1, 0.5, 0.9, 0.99, 0.995, 0.999]
TAIL_LEVELS = {"negative": [0.01, 0.1, 0.5], "positive": [0.5, 0.9, 0.99]}
ABSORBED = ("absorbed_bias", "absorbed_stabiliser", "absorbed_empty")
EPSILON = 2.0**-52


def pooled_maps(rows: Rows) -> Iterator[tuple[Row, list[Row], np.ndarray]]:
    """(key, its maps, the values of those that are ok) of each series."""
    for key, group in grouped(rows["relevance"], *MAP_KEYS):
        ok = [row["relevance"] for row in group if row["status"] == "ok"]
        yield key, group, np.concatenate(ok).astype(np.float64) if ok else np.empty(0)


def size(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt((values**2).mean()))


def mean(values: np.ndarray) -> Near | None:
    """Terms of either sign cancel: a few rounding errors of these remain."""
    return Near(float(values.mean()), 64 * EPSILON * size(values)) if len(values) else None


def std(values: np.ndarray) -> float | None:
    """Population standard deviation."""
    if not len(values):
        return None
    return 0.0 if values.min() == values.max() else float(values.std())


def skewness(values: np.ndarray) -> Near | None:
    """Third central moment over std^3; cubes leave few digits to values that lie close together."""
    if not len(values) or values.min() == values.max():
        return None
    value = float(((values - values.mean()) ** 3).mean() / values.std() ** 3)
    return Near(value, 64 * EPSILON * (size(values) / values.std()) ** 3)


@oracle
def relevance_quantiles(rows: Rows) -> list[Row]:
    return [
        key
        | {"maps": sum(row["status"] == "ok" for row in group), "level": level}
        | {"value": float(np.quantile(values, level))}
        for key, group, values in pooled_maps(rows)
        if len(values)
        for level in LEVELS
    ]


@oracle
def relevance_tails(rows: Rows) -> list[Row]:
    expected = []
    for key, _, values in pooled_maps(rows):
        for sign, of_sign in (("negative", values[values < 0]), ("positive", values[values > 0])):
            expected += [
                key
                | {"sign": sign, "values": len(of_sign), "level": level}
                | {"value": float(np.quantile(of_sign, level))}
                for level in TAIL_LEVELS[sign]
                if len(of_sign)
            ]
    return expected


@oracle
def relevance_quantile_gaps(rows: Rows) -> list[Row]:
    pairs = {
        "adjacent": list(pairwise(LEVELS)),
        "symmetric": [(0.001, 0.999), (0.005, 0.995), (0.01, 0.99), (0.1, 0.9)],
    }
    expected, originals = [], {}
    for key, _, values in pooled_maps(rows):
        for kind, levels in pairs.items():
            for lower, upper in levels if len(values) else ():
                low, high = np.quantile(values, (lower, upper))
                gap = {"kind": kind, "lower_level": lower, "upper_level": upper, "gap": float(high - low)}
                expected.append(key | gap)
                if is_original(key):
                    originals[of_method(key), lower, upper] = float(high - low)
    for row in expected:
        original = originals.get((of_method(row), row["lower_level"], row["upper_level"]))
        row["original_gap"] = original
        row["change"] = None if original is None else Near(row["gap"] - original, EPSILON)
        row["gap"] = Near(row["gap"], EPSILON)
    return expected


@oracle
def relevance_quantile_change(rows: Rows) -> list[Row]:
    originals = {of_method(key): v for key, _, v in pooled_maps(rows) if is_original(key) and len(v)}
    expected = []
    for key, _, values in pooled_maps(rows):
        original = originals.get(of_method(key))
        if original is None or not len(values) or is_original(key):
            continue
        for level in LEVELS:
            before, after = float(np.quantile(original, level)), float(np.quantile(values, level))
            expected.append(
                key
                | {"level": level, "value": after, "original_value": before}
                | {"change": Near(after - before, EPSILON)}
            )
    return expected


def is_original(key: Row) -> bool:
    return key["subject"] == "original" and key["explains"] == "label"


def of_method(key: Row) -> tuple[str, ...]:
    return key["dataset"], key["model"], key["method"]


@oracle
def relevance_moments(rows: Rows) -> list[Row]:
    expected = []
    for key, group, values in pooled_maps(rows):
        statuses = [row["status"] for row in group]
        positive, negative = values[values > 0], values[values < 0]
        expected.append(
            key
            | {
                "maps": statuses.count("ok"),
                "zero_maps": statuses.count("zero"),
                "non_finite_maps": statuses.count("non_finite"),
                "values": len(values),
                "mean": mean(values),
                "std": std(values),
                "skewness": skewness(values),
                "share_zero": share(values == 0),
                "share_near_zero": share(np.abs(values) <= 0.001),
                "share_negative": share(values < 0),
                "share_positive": share(values > 0),
                "minimum": values.min() if len(values) else None,
                "maximum": values.max() if len(values) else None,
                "positive_mean": mean(positive),
                "positive_std": std(positive),
                "positive_near_zero": share(positive <= 0.001),
                "negative_mean": mean(negative),
                "negative_std": std(negative),
                "negative_near_zero": share(negative >= -0.001),
            }
        )
    return expected


@oracle
def relevance_near_zero(rows: Rows) -> list[Row]:
    shares = []
    for key, _, values in pooled_maps(rows):
        if len(values):
            shares.append(
                key
                | {
                    "share_zero": share(values == 0),
                    "share_near_zero": share(np.abs(values) <= 0.001),
                    "positive_near_zero": share(values[values > 0] <= 0.001),
                    "negative_near_zero": share(values[values < 0] >= -0.001),
                }
            )
    expected = []
    for key, group in grouped(shares, "dataset", "model", "subject", "explains"):
        means = {}
        for name in ("share_zero", "share_near_zero", "positive_near_zero", "negative_near_zero"):
            known = [row[name] for row in group if row[name] is not None]
            means[name] = float(np.mean(known)) if known else None
        expected.append(key | {"methods": len(group)} | means)
    return expected


@oracle
def relevance_histogram(rows: Rows) -> list[Row]:
    edges = np.arange(-40, 41) / 40
    expected = []
    for key, _, values in pooled_maps(rows):
        counts = np.histogram(values, edges)[0]
        expected += [
            key
            | {"bin_low": edges[i], "bin_high": edges[i + 1]}
            | {"values": counts[i], "share": counts[i] / len(values)}
            for i in range(80)
            if len(values)
        ]
    return expected


@oracle
def map_diagnostics(rows: Rows) -> list[Row]:
    expected = []
    for key, group, _ in pooled_maps(rows):
        finite = [row for row in group if row["status"] != "non_finite"]
        known = [row for row in finite if row["absorbed_bias"] is not None]
        gaps = []
        for row in known:
            parts = [float(row[name]) for name in ("relevance_sum", *ABSORBED)]
            largest = max(abs(part) for part in [*parts, float(row["start"])])
            gaps.append(abs(sum(parts) - float(row["start"])) / largest if largest else 0.0)

        def median_share(name: str, among: list[Row]) -> float | None:
            shares = [float(row[name]) / float(row["start"]) for row in among if row["start"] != 0]
            return float(np.median(shares)) if shares else None

        expected.append(
            key
            | {
                "maps": len(group),
                "non_finite_maps": len(group) - len(finite),
                "zero_maps": sum(row["status"] == "zero" for row in group),
                "negative_starts": share([row["start"] < 0 for row in finite]),
                "sum_share": median_share("relevance_sum", finite),
                "accounted_maps": len(known),
            }
            | {name.replace("absorbed_", "") + "_share": median_share(name, known) for name in ABSORBED}
            | {"largest_gap": max(gaps, default=None)}
        )
    return expected
