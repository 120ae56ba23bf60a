"""Oracles of the analyses of attacks."""

from __future__ import annotations

import numpy as np
from lakes import Row, Rows

from oracles.base import as_double, attacked_of, grouped, oracle, quantile, share, successes_of

ATTACK = ("dataset", "model", "attack")
PROBABILITY_LEVELS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]

CHANGE_LEVELS = [0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0]


@oracle
def attack_summary(rows: Rows) -> list[Row]:
    targeted = {row["attack"]: row["targeted"] for row in rows["attacks"]}
    expected = []
    for key, group in grouped(attacked_of(rows), *ATTACK, "label", "target"):
        won, tried = successes_of(group), group
        if not targeted[key["attack"]]:
            of_label = (*ATTACK, "label")
            tried = [row for row in attacked_of(rows) if all(row[name] == key[name] for name in of_label)]
        expected.append(
            {name: key[name] for name in ATTACK}
            | {"targeted": targeted[key["attack"]], "label": key["label"], "target": key["target"]}
            | {"pairs": len(tried), "successes": len(won), "success_rate": len(won) / len(tried)}
            | {
                f"median_{name}": quantile(won, name, 0.5)
                for name in ("target_probability", "l1", "l2", "linf")
            }
        )
    return expected


@oracle
def attack_overview(rows: Rows) -> list[Row]:
    attacks = {row["attack"]: row for row in rows["attacks"]}
    expected = []
    for key, group in grouped(attacked_of(rows), *ATTACK):
        won = successes_of(group)
        status = [row["status"] for row in group]
        expected.append(
            key
            | {name: attacks[key["attack"]][name] for name in ("algorithm", "targeted")}
            | {
                "images": len({row["image_id"] for row in group}),
                "pairs": len(group),
                "successes": len(won),
                "failed": status.count("failed"),
                "already_target": status.count("already_target"),
                "success_rate": len(won) / len(group),
                "second_is_label": share([row["second_class"] == row["label"] for row in won]),
                "target_probability_q001": quantile(won, "target_probability", 0.001),
                "target_probability_q005": quantile(won, "target_probability", 0.005),
                "target_probability_q500": quantile(won, "target_probability", 0.5),
                "median_second_probability": quantile(won, "second_probability", 0.5),
                "median_l2": quantile(won, "l2", 0.5),
                "median_linf": quantile(won, "linf", 0.5),
                "mean_gradient_calls": float(as_double(group, "gradient_calls").mean()),
                "mean_forward_calls": float(as_double(group, "forward_calls").mean()),
            }
        )
    return expected


@oracle
def attack_failures(rows: Rows) -> list[Row]:
    expected = []
    for key, pairs in grouped(attacked_of(rows), *ATTACK):
        failed = [row for row in pairs if row["status"] == "failed"]
        for reason, group in sorted(grouped(failed, "reason"), key=lambda item: -len(item[1])):
            expected.append(
                key
                | reason
                | {"pairs": len(group), "share": len(group) / len(pairs)}
                | {"median_target_probability": quantile(group, "target_probability", 0.5)}
            )
    return expected


@oracle
def target_probability_quantiles(rows: Rows) -> list[Row]:
    return [
        key | {"successes": len(won), "level": level} | {"value": quantile(won, "target_probability", level)}
        for key, won in grouped(successes_of(attacked_of(rows)), *ATTACK)
        for level in PROBABILITY_LEVELS
    ]


@oracle
def change_quantiles(rows: Rows) -> list[Row]:
    return [
        key | {"successes": len(won), "norm": norm, "level": level} | {"value": quantile(won, norm, level)}
        for key, won in grouped(successes_of(attacked_of(rows)), *ATTACK)
        for norm in ("l1", "l2", "linf")
        for level in CHANGE_LEVELS
    ]


@oracle
def low_probability_examples(rows: Rows) -> list[Row]:
    expected = []
    for key, won in grouped(successes_of(attacked_of(rows)), *ATTACK):
        thresholds = {"paper": 0.5482, "study": quantile(won, "target_probability", 0.005)}
        for threshold_of, threshold in thresholds.items():
            for pair, group in grouped(won, "label", "target"):
                below = (as_double(group, "target_probability") < threshold).sum()
                expected.append(
                    key
                    | {"threshold_of": threshold_of, "threshold": threshold}
                    | pair
                    | {"successes": len(group), "examples": below, "share": below / len(group)}
                )
    return expected


@oracle
def runner_up_classes(rows: Rows) -> list[Row]:
    expected = []
    for key, won in grouped(successes_of(attacked_of(rows)), *ATTACK):
        seconds, thirds, second_shares, third_shares = [], [], [], []
        for row in won:
            logits = np.asarray(row["logits"], np.float64)
            others = np.delete(logits, row["target"])
            left = np.sort(np.exp(others - others.max()) / np.exp(others - others.max()).sum())[::-1]
            seconds.append(row["second_class"] == row["label"])
            larger = (others > logits[row["label"]]).sum()
            thirds.append(row["second_class"] != row["label"] and larger <= 1)
            second_shares.append(left[0])
            third_shares += list(left[1:2])
        expected.append(
            key
            | {"successes": len(won), "second_is_label": share(seconds), "third_is_label": share(thirds)}
            | {"mean_second_share": np.mean(second_shares), "median_second_share": np.median(second_shares)}
            | {
                "mean_third_share": np.mean(third_shares) if third_shares else None,
                "median_third_share": np.median(third_shares) if third_shares else None,
            }
        )
    return expected
