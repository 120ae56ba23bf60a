"""Oracles of the comparisons of the maps of a pair, from sorted maps."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from lakes import Row, Rows, band_size, stable_rank

from oracles.base import Near, attacked_of, grouped, oracle, share, successes_of

SERIES = ("dataset", "model", "method", "attack")
CLASS_PAIR = (*SERIES, "label", "target")
BAND_PAIRS = [
    ("most relevant", "1 %"), ("most relevant", "10 %"), ("1 %", "1 %"), ("1 %", "10 %"), ("10 %", "10 %"),
]  # fmt: skip
SHARES = {"most relevant": 0.0, "1 %": 0.01, "10 %": 0.1}
TIES = {"most relevant": "ties_at_31", "1 %": "ties_at_31", "10 %": "ties_at_307"}
SHIFT_LEVELS = [0.1, 0.25, 0.5, 0.7, 0.9, 0.99]
CORRELATION_LEVELS = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]

Pair = Row
"""A row with the keys of a pair, and its two maps as `original` and `adversarial`."""


def paired_maps(rows: Rows) -> list[Pair]:
    """The pairs of every method and attack of which both maps are ok."""
    of_image = ("dataset", "model", "method", "image_id")
    of_pair = ("dataset", "model", "attack", "image_id", "target")
    originals = {
        tuple(row[name] for name in of_image): row
        for row in rows["relevance"]
        if row["subject"] == "original" and row["explains"] == "label" and row["status"] == "ok"
    }
    won = {tuple(row[name] for name in of_pair) for row in successes_of(attacked_of(rows))}
    pairs = []
    for row in rows["relevance"]:
        original = originals.get(tuple(row[name] for name in of_image))
        pair = row | {"attack": row["subject"], "original": original, "adversarial": row}
        is_success = tuple(pair[name] for name in of_pair) in won
        if original and row["explains"] == "target" and row["status"] == "ok" and is_success:
            pairs.append(pair)
    return pairs


def ranks_of(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Places of the components in the original and the adversarial map."""
    return stable_rank(pair["original"]["relevance"]), stable_rank(pair["adversarial"]["relevance"])


def components_of(pair: Pair) -> int:
    return len(pair["original"]["relevance"])


def bands(n: int) -> Iterator[tuple[Row, int, int]]:
    """(names, k of the original, k of the adversarial map) of each band pair."""
    for band, other in BAND_PAIRS:
        names = {"original_band": band, "adversarial_band": other}
        yield names, band_size(SHARES[band], n), band_size(SHARES[other], n)


def overlaps(rows: Rows, *names: str) -> Iterator[tuple[Row, Row, Row]]:
    """(key, sizes of the bands, figures) of each group of pairs and band pair."""
    for key, pairs in grouped(paired_maps(rows), *names):
        n = components_of(pairs[0])
        ranks = [ranks_of(pair) for pair in pairs]
        for band, k, other_k in bands(n):
            shared = [((before < k) & (after < other_k)).sum() / k for before, after in ranks]
            ties, other_ties = TIES[band["original_band"]], TIES[band["adversarial_band"]]
            tied = [
                pair["original"][ties] > 0.1 * k or pair["adversarial"][other_ties] > 0.1 * other_k
                for pair in pairs
            ]
            same = [before.argmin() == after.argmin() for before, after in ranks]
            figures = {
                "pairs": len(pairs),
                "overlap": np.mean(shared),
                "chance": other_k / n,
                "identical": share(same) if band["original_band"] == "most relevant" else None,
                "tied_pairs": sum(tied) if k > 1 else None,
            }
            yield key | band, {"original_k": k, "adversarial_k": other_k}, figures


@oracle
def topk_overlap(rows: Rows) -> list[Row]:
    return [key | sizes | figures for key, sizes, figures in overlaps(rows, *SERIES)]


@oracle
def overlap_by_class(rows: Rows) -> list[Row]:
    return [key | figures for key, _, figures in overlaps(rows, *CLASS_PAIR)]


@oracle
def overlap_curve(rows: Rows) -> list[Row]:
    expected = []
    for key, pairs in grouped(paired_maps(rows), *SERIES):
        n = components_of(pairs[0])
        ranks = [ranks_of(pair) for pair in pairs]
        for k in range(1, n + 1):
            shared = [((before < k) & (after < k)).sum() / k for before, after in ranks]
            expected.append(
                key | {"pairs": len(pairs), "k": k} | {"overlap": np.mean(shared), "chance": k / n}
            )
    return expected


def shifts_of(pairs: list[Pair], k: int, other_k: int) -> np.ndarray:
    """Rank shifts of the components that are in both bands, over all pairs."""
    shifts = [np.empty(0, np.int64)]
    for before, after in map(ranks_of, pairs):
        stays = (before < k) & (after < other_k)
        shifts.append((after - before)[stays])
    return np.concatenate(shifts)


def band_shifts(rows: Rows, *names: str) -> Iterator[tuple[Row, int, int, int, np.ndarray]]:
    """(key, n, k, k of the adversarial map, shifts) of each group of pairs and band pair with shifts."""
    for key, pairs in grouped(paired_maps(rows), *names):
        n = components_of(pairs[0])
        for band, k, other_k in bands(n):
            shifts = shifts_of(pairs, k, other_k)
            if len(shifts):
                yield key | band, n, k, other_k, shifts


@oracle
def rank_shift_quantiles(rows: Rows) -> list[Row]:
    return [
        key
        | {"components": len(shifts), "level": level, "abs_shift": float(np.quantile(np.abs(shifts), level))}
        | {"mean_shift": shifts.mean(), "share_unmoved": (shifts == 0).mean()}
        | {"shift": float(np.quantile(shifts, level)), "mean_abs_shift": np.abs(shifts).mean()}
        | {
            "abs_shift_share": float(np.quantile(np.abs(shifts) / n, level)),
            "mean_abs_shift_share": (np.abs(shifts) / n).mean(),
        }
        for key, n, _, _, shifts in band_shifts(rows, *SERIES)
        for level in SHIFT_LEVELS
    ]


@oracle
def shift_by_class(rows: Rows) -> list[Row]:
    return [
        key
        | {"components": len(shifts)}
        | {"median_abs_shift": np.median(np.abs(shifts)), "mean_abs_shift": np.abs(shifts).mean()}
        | {"mean_shift": shifts.mean(), "share_unmoved": (shifts == 0).mean()}
        for key, _, _, _, shifts in band_shifts(rows, *CLASS_PAIR)
    ]


@oracle
def rank_shift(rows: Rows) -> list[Row]:
    expected = []
    for key, n, k, other_k, shifts in band_shifts(rows, *SERIES):
        largest = max(k, other_k) - 1
        width = next(w for w in range(1, 10_000, 2) if (2 * largest + 1) / w <= 61)
        low = -math.ceil((k - 1 - width // 2) / width) if k - 1 > width // 2 else 0
        high = math.ceil((other_k - 1 - width // 2) / width) if other_k - 1 > width // 2 else 0
        edges = (np.arange(low, high + 2) - 0.5) * width
        counts, _ = np.histogram(shifts, edges)
        assert counts.sum() == len(shifts)
        expected += [
            key
            | {"bin_low": edges[i], "bin_high": edges[i + 1]}
            | {"low_share": edges[i] / n, "high_share": edges[i + 1] / n}
            | {"components": counts[i], "share": counts[i] / len(shifts)}
            for i in range(len(counts))
        ]
    return expected


def correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """Pearson's correlation in float64; null where a side is constant."""
    if x.min() == x.max() or y.min() == y.max():
        return None
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))


@oracle
def map_correlation(rows: Rows) -> list[Row]:
    expected = []
    for key, pairs in grouped(paired_maps(rows), *SERIES):
        measures = {"pearson": [], "sign_agreement": [], "spearman": []}
        for pair in pairs:
            x, y = (pair[side]["relevance"].astype(np.float64) for side in ("original", "adversarial"))
            measures["pearson"].append(correlation(x, y))
            measures["sign_agreement"].append(float((np.sign(x) == np.sign(y)).mean()))
            measures["spearman"].append(correlation(*ranks_of(pair)))
        for measure, found in measures.items():
            known = np.array([value for value in found if value is not None], np.float64)
            expected += [
                key
                | {"measure": measure, "pairs": len(known)}
                | {"mean": Near(known.mean(), 1e-14), "std": Near(known.std(), 1e-14)}
                | {"level": level, "value": Near(float(np.quantile(known, level)), 1e-14)}
                for level in CORRELATION_LEVELS
                if len(known)
            ]
    return expected
