"""Every analysis against NumPy, all columns, on lakes with ties, zeros, NaN maps and one-row partitions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lakes import ATTACKS, DATASET, MODEL, Row, Rows, band_size, map_columns, toy_rows, write_lake

from sql.catalog import LakeDatabase, analyses, data_dictionary, open_lake

BAND_PAIRS = [
    ("most relevant", "1 %"), ("most relevant", "10 %"), ("1 %", "1 %"), ("1 %", "10 %"), ("10 %", "10 %"),
]  # fmt: skip
SHARES = {"most relevant": 0.0, "1 %": 0.01, "10 %": 0.1}
LEVELS = [0.001, 0.005, 0.01, 0.1, 0.5, 0.9, 0.99, 0.995, 0.999]

ABSORBED = ("absorbed_bias", "absorbed_stabiliser", "absorbed_empty")

LAKES: dict[str, Callable[[], Rows]] = {
    "4x4x3": lambda: toy_rows(),
    "two classes, one image": lambda: toy_rows(image_ids=(7,), classes=2, seed=3),
    "16x16x3": lambda: toy_rows(shape=(16, 16, 3), image_ids=tuple(range(12)), seed=1),
    "32x32x3": lambda: toy_rows(shape=(32, 32, 3), image_ids=tuple(range(9)), seed=2),
    "other designs": lambda: with_other_designs(toy_rows(seed=4)),
    "an untargeted attack": lambda: toy_rows(image_ids=tuple(range(30)), untargeted=ATTACKS[-1:], seed=6),
    "twelve labels": lambda: toy_rows(image_ids=tuple(range(60)), classes=12, methods=("lrp-0",), seed=5),
}


def with_other_designs(rows: Rows) -> Rows:
    """The rest of the 2 x 2 design and a control subject beside the maps that the paper compares."""
    rng = np.random.default_rng(9)
    for row in [row for row in rows["relevance"] if row["subject"] != "original"]:
        values = map_columns(rng.standard_t(2, len(row["relevance"])).astype(np.float32))
        rows["relevance"] += [
            row | values | {"subject": "original"},
            row | values | {"explains": "label", "explained_class": row["label"]},
            row | values | {"subject": "noise-lbfgs"},
        ]
    return rows


@pytest.fixture(scope="module", params=LAKES)
def toy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Rows, LakeDatabase]]:
    rows = LAKES[request.param]()
    with open_lake(str(write_lake(tmp_path_factory.mktemp("lake"), rows))) as lake:
        yield rows, lake


def assert_same(found: pl.DataFrame, expected: list[Row]) -> None:
    """Same columns, same rows in the same order; numbers to 1e-9, vectors exactly."""
    assert found.height == len(expected)
    if expected:
        assert found.columns == list(expected[0])
    for found_row, row in zip(found.rows(named=True), expected, strict=True):
        for name, value in row.items():
            where = f"{name} of { ({k: v for k, v in row.items() if isinstance(v, str | int)}) }"
            if isinstance(value, list | np.ndarray):
                np.testing.assert_array_equal(found_row[name], np.asarray(value), err_msg=where)
            elif isinstance(value, float | np.floating):
                assert found_row[name] == pytest.approx(float(value), rel=1e-9, abs=1e-12, nan_ok=True), where
            else:
                assert found_row[name] == value, where


def grouped(rows: list[Row], *names: str) -> list[tuple[tuple[Any, ...], list[Row]]]:
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row)
    return sorted(groups.items())


def as_double(rows: list[Row], name: str) -> np.ndarray:
    return np.array([row[name] for row in rows], np.float64)


def quantile(rows: list[Row], name: str, level: float) -> float | None:
    return float(np.quantile(as_double(rows, name), level)) if rows else None


def successes_of(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["status"] == "success"]


def paired_maps(rows: Rows) -> dict[tuple[str, ...], list[tuple[Row, Row]]]:
    """(dataset, model, method, attack) -> pairs of ok maps, original and adversarial."""
    originals = {
        (row["dataset"], row["model"], row["method"], row["image_id"]): row
        for row in rows["relevance"]
        if row["subject"] == "original" and row["explains"] == "label" and row["status"] == "ok"
    }
    attacks = {row["attack"] for row in rows["adversarials"]}
    pairs = defaultdict(list)
    for row in rows["relevance"]:
        original = originals.get((row["dataset"], row["model"], row["method"], row["image_id"]))
        if row["subject"] in attacks and row["explains"] == "target" and row["status"] == "ok" and original:
            pairs[row["dataset"], row["model"], row["method"], row["subject"]].append((original, row))
    return dict(sorted(pairs.items()))


def top(row: Row, k: int) -> list[int]:
    return list(np.argsort(-row["relevance"], kind="stable")[:k])


def shifts_of(pairs: list[tuple[Row, Row]], k: int, other_k: int) -> np.ndarray:
    shifts = []
    for original, adversarial in pairs:
        before, after = top(original, k), top(adversarial, other_k)
        shifts += [after.index(c) - before.index(c) for c in before if c in after]
    return np.array(shifts, np.int64)


def test_every_analysis_has_an_oracle() -> None:
    assert {f"test_{name}" for name in analyses()} <= set(globals())


def test_attack_summary(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    expected = []
    targeted = {row["attack"]: row["targeted"] for row in rows["attacks"]}
    names = ("dataset", "model", "attack", "label", "target")
    for key, group in grouped(rows["adversarials"], *names):
        won, tried = successes_of(group), group
        if not targeted[key[2]]:
            tried = [row for row in rows["adversarials"] if (row["attack"], row["label"]) == (key[2], key[3])]
        expected.append(
            dict(zip(names[:3], key, strict=False))
            | {"targeted": targeted[key[2]], "label": key[3], "target": key[4]}
            | {"pairs": len(tried), "successes": len(won), "success_rate": len(won) / len(tried)}
            | {
                f"median_{name}": quantile(won, name, 0.5)
                for name in ("target_probability", "l1", "l2", "linf")
            }
        )
    assert_same(lake.analyse("attack_summary"), expected)


def test_attack_overview(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    expected = []
    names = ("dataset", "model", "attack")
    for key, group in grouped(rows["adversarials"], *names):
        won = successes_of(group)
        expected.append(
            dict(zip(names, key, strict=True))
            | {
                "algorithm": f"algorithm of {key[2]}",
                "targeted": next(row["targeted"] for row in rows["attacks"] if row["attack"] == key[2]),
                "images": len({row["image_id"] for row in group}),
                "pairs": len(group),
                "successes": len(won),
                "failed": sum(row["status"] == "failed" for row in group),
                "already_target": sum(row["status"] == "already_target" for row in group),
                "success_rate": len(won) / len(group),
                "second_is_label": float(np.mean([row["second_class"] == row["label"] for row in won]))
                if won
                else None,
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
    assert_same(lake.analyse("attack_overview"), expected)


def test_attack_failures(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    expected = []
    names = ("dataset", "model", "attack")
    for key, pairs in grouped(rows["adversarials"], *names):
        failed = [row for row in pairs if row["status"] == "failed"]
        for (reason,), group in sorted(grouped(failed, "reason"), key=lambda item: (-len(item[1]), item[0])):
            expected.append(
                dict(zip(names, key, strict=True))
                | {"reason": reason, "pairs": len(group), "share": len(group) / len(pairs)}
                | {"median_target_probability": quantile(group, "target_probability", 0.5)}
            )
    assert_same(lake.analyse("attack_failures"), expected)


MAP_KEYS = ("dataset", "model", "method", "subject", "explains")


def pooled_maps(rows: Rows) -> Iterator[tuple[Row, list[Row], np.ndarray]]:
    for key, group in grouped(rows["relevance"], *MAP_KEYS):
        ok = [row["relevance"] for row in group if row["status"] == "ok"]
        values = np.concatenate(ok).astype(np.float64) if ok else np.empty(0)
        yield dict(zip(MAP_KEYS, key, strict=True)), group, values


def test_relevance_quantiles(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    expected = [
        key
        | {"maps": sum(row["status"] == "ok" for row in group), "level": level}
        | {"value": float(np.quantile(values, level))}
        for key, group, values in pooled_maps(rows)
        if len(values)
        for level in LEVELS
    ]
    assert_same(lake.analyse("relevance_quantiles"), expected)


def test_relevance_moments(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    expected = []
    for key, group, values in pooled_maps(rows):
        some = len(values) > 0
        statuses = [row["status"] for row in group]
        expected.append(
            key
            | {
                "maps": statuses.count("ok"),
                "zero_maps": statuses.count("zero"),
                "non_finite_maps": statuses.count("non_finite"),
                "values": len(values),
                "mean": values.mean() if some else None,
                "std": values.std() if some else None,
                "share_zero": (values == 0).mean() if some else None,
                "share_near_zero": (np.abs(values) <= 0.001).mean() if some else None,
                "share_negative": (values < 0).mean() if some else None,
                "minimum": values.min() if some else None,
                "maximum": values.max() if some else None,
            }
        )
    assert_same(lake.analyse("relevance_moments"), expected)


def test_map_diagnostics(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
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
                "negative_starts": np.mean([row["start"] < 0 for row in finite]) if finite else None,
                "sum_share": median_share("relevance_sum", finite),
                "accounted_maps": len(known),
            }
            | {name.replace("absorbed_", "") + "_share": median_share(name, known) for name in ABSORBED}
            | {"largest_gap": max(gaps, default=None)}
        )
    assert_same(lake.analyse("map_diagnostics"), expected)


def test_relevance_histogram(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    expected = []
    for key, _, values in pooled_maps(rows):
        if not len(values):
            continue
        counts, edges = np.histogram(values, 80, (-1, 1))
        expected += [
            key
            | {"bin_low": edges[i], "bin_high": edges[i + 1]}
            | {"values": counts[i], "share": counts[i] / len(values)}
            for i in range(80)
        ]
    assert_same(lake.analyse("relevance_histogram"), expected)


def test_topk_overlap(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    expected = []
    for key, pairs in paired_maps(rows).items():
        n = len(pairs[0][0]["relevance"])
        for band, other in BAND_PAIRS:
            k, other_k = band_size(SHARES[band], n), band_size(SHARES[other], n)
            ties, other_ties = (
                {"1 %": "ties_at_31", "10 %": "ties_at_307"}.get(name, "ties_at_31") for name in (band, other)
            )
            shared = [len(set(top(o, k)) & set(top(a, other_k))) / k for o, a in pairs]
            tied = [o[ties] > 0.1 * k or a[other_ties] > 0.1 * other_k for o, a in pairs]
            expected.append(
                dict(zip(("dataset", "model", "method", "attack"), key, strict=True))
                | {"original_band": band, "adversarial_band": other}
                | {"original_k": k, "adversarial_k": other_k}
                | {"pairs": len(pairs), "overlap": np.mean(shared), "chance": other_k / n}
                | {
                    "identical": np.mean([top(o, 1) == top(a, 1) for o, a in pairs])
                    if band == "most relevant"
                    else None,
                    "tied_pairs": sum(tied) if k > 1 else None,
                }
            )
    assert_same(lake.analyse("topk_overlap"), expected)


def band_shifts(rows: Rows) -> Iterator[tuple[Row, int, int, np.ndarray]]:
    for key, pairs in paired_maps(rows).items():
        n = len(pairs[0][0]["relevance"])
        for band, other in BAND_PAIRS:
            k, other_k = band_size(SHARES[band], n), band_size(SHARES[other], n)
            shifts = shifts_of(pairs, k, other_k)
            names = dict(zip(("dataset", "model", "method", "attack"), key, strict=True))
            if len(shifts):
                yield names | {"original_band": band, "adversarial_band": other}, k, other_k, shifts


def test_rank_shift_quantiles(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    expected = [
        key
        | {"components": len(shifts), "level": level, "abs_shift": float(np.quantile(np.abs(shifts), level))}
        | {"mean_shift": shifts.mean(), "share_unmoved": (shifts == 0).mean()}
        for key, _, _, shifts in band_shifts(rows)
        for level in (0.1, 0.25, 0.5, 0.7, 0.9, 0.99)
    ]
    assert_same(lake.analyse("rank_shift_quantiles"), expected)


def test_rank_shift(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    expected = []
    for key, k, other_k, shifts in band_shifts(rows):
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
            | {"components": counts[i], "share": counts[i] / len(shifts)}
            for i in range(len(counts))
        ]
    assert_same(lake.analyse("rank_shift"), expected)


def sample(rows: Rows) -> Iterator[tuple[int, Row]]:
    """(place, pair): for each attack one success a label, of the smallest image, next class first."""
    for _, group in grouped(successes_of(rows["adversarials"]), "dataset", "model", "attack"):
        for place, (_, pairs) in enumerate(grouped(group, "label")[:10], start=1):
            classes = len(pairs[0]["logits"])
            yield place, min(pairs, key=lambda r: (r["image_id"], (r["target"] - r["label"]) % classes))


def test_pair_gallery(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    images = {row["image_id"]: row for row in rows["images"]}
    predictions = {row["image_id"]: row for row in rows["predictions"]}
    copied = ("dataset", "model", "attack", "image_id", "label", "target")
    expected = [
        {name: pair[name] for name in copied}
        | {"predicted_original": predictions[pair["image_id"]]["predicted"]}
        | {"original_pixels": images[pair["image_id"]]["pixels"], "adversarial_pixels": pair["pixels"]}
        | {name: pair[name] for name in ("target_probability", "l2", "linf")}
        | {name: images[pair["image_id"]][name] for name in ("height", "width", "channels")}
        for _, pair in sample(rows)
    ]
    assert_same(lake.analyse("pair_gallery"), expected)


def test_map_gallery(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    images = {row["image_id"]: row for row in rows["images"]}
    methods = sorted({row["method"] for row in rows["relevance"]})
    wanted_by = ("method", "subject", "explains", "target", "image_id")
    of_pair = ("dataset", "model", "attack", "image_id", "label", "target")
    of_map = ("method", "subject", "explained_class", "start", "status")
    expected = []
    for place, pair in sample(rows):
        for method in methods if place <= 5 else ():
            both = (("original", "label", None), (pair["attack"], "target", pair["target"]))
            for subject, explains, target in both:
                wanted = (method, subject, explains, target, pair["image_id"])
                [row] = [row for row in rows["relevance"] if tuple(row[n] for n in wanted_by) == wanted]
                expected.append(
                    {name: pair[name] for name in of_pair}
                    | {name: row[name] for name in of_map}
                    | {name: images[pair["image_id"]][name] for name in ("height", "width", "channels")}
                    | {"relevance": row["relevance"]}
                )
    assert_same(lake.analyse("map_gallery"), expected)


def test_study_overview(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    found = {(row["kind"], row["id"]): row for row in lake.analyse("study_overview").rows(named=True)}
    for table in ("images", "predictions", "adversarials", "relevance"):
        assert found.pop(("table", table))["rows"] == len(rows[table])
    kinds = {"dataset": "images", "model": "predictions", "attack": "adversarials", "method": "relevance"}
    for kind, table in kinds.items():
        for (name,), group in grouped(rows[table], kind):
            row = found.pop((kind, name))

            def count(column: str, value: Any, group: list[Row] = group) -> int:
                return sum(row.get(column) == value for row in group)

            assert row["rows"] == len(group)
            counted = {
                "dataset": f"{len(group)} images of {len({r['label'] for r in group})} classes",
                "model": f"{count('correct', True)} of {len(group)} images classified correctly",
                "attack": f"{count('status', 'success')} of {len(group)} pairs succeeded",
                "method": f"{len(group)} maps: {count('status', 'ok')} ok, {count('status', 'zero')} zero, "
                f"{count('status', 'non_finite')} not finite",
            }
            assert row["detail"] == counted[kind]
    assert not found


@given(
    maps=st.lists(st.lists(st.integers(-3, 3), min_size=48, max_size=48).filter(any), min_size=2, max_size=4),
)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pairs_of_heavily_tied_maps(maps: list[list[int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = toy_rows(image_ids=(0,), classes=len(maps), attacks=("lbfgs",), methods=("lrp-0",))
    who = {"dataset": DATASET, "model": MODEL, "method": "lrp-0", "image_id": 0}
    label = rows["images"][0]["label"]
    targets = [target for target in range(len(maps)) if target != label]
    pairs = [row | {"status": "success"} for row in rows["adversarials"]]
    assert [row["target"] for row in pairs] == targets
    rows["adversarials"] = pairs
    keys = [{"subject": "original", "explains": "label", "target": None}]
    keys += [{"subject": "lbfgs", "explains": "target", "target": target} for target in targets]
    rows["relevance"] = [
        who | key | {"label": label, "explained_class": label} | map_columns(np.array(values, np.float32))
        for key, values in zip(keys, maps, strict=True)
    ]
    with open_lake(str(write_lake(tmp_path_factory.mktemp("tied"), rows))) as lake:
        toy = (rows, lake)
        test_topk_overlap(toy)
        test_rank_shift_quantiles(toy)
        test_rank_shift(toy)
        test_relevance_quantiles(toy)


def test_headers_describe_every_column() -> None:
    frame = data_dictionary()
    assert frame.filter(pl.col("meaning") == "").rows() == []
    for name, analysis in analyses().items():
        assert set(analysis.columns) <= set(frame.filter(pl.col("table") == name)["column"])
        assert "Grain: one row per" in analysis.text
        assert "Inputs: " in analysis.text and "Paper: " in analysis.text
