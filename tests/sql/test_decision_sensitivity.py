"""Known answers of the score, and how often its intervals cover the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from lakes import toy_rows, write_lake
from oracles.sensitivity import weights_of

from sql.catalog import LakeDatabase, open_lake

N = 500
K = 50
IMAGES = 60
TARGETS = 3

Draw = Callable[[int, str], np.ndarray]
"""Places of the components of a map, by image and what the map is of: original, noise or adversarial."""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeDatabase]:
    root: Path = tmp_path_factory.mktemp("lake")
    with open_lake(str(write_lake(root, toy_rows(image_ids=(0, 1))))) as opened:
        yield opened


def held(lake: LakeDatabase, rows: Mapping[str, Any]) -> pl.DataFrame:
    """decision_sensitivity of these rows of the view comparisons."""
    frame = pl.DataFrame(rows)
    count = frame.height
    constant = {"dataset": "d", "model": "m", "attack": "a", "label": 0, "band": "10 %", "place": 2, "k": K}
    frame = frame.with_columns(
        *(pl.lit(value).alias(name) for name, value in constant.items()),
        pl.lit(None, pl.Float64).alias("fraction"),
        pl.lit(K / N).alias("chance"),
        pl.lit(False).alias("is_tied"),
        (pl.col("comparison") == "adversarial").alias("is_target"),
    )
    assert frame.height == count
    lake.hold("comparisons", frame.to_arrow())
    images = frame.select("dataset", "image_id").unique().sort("image_id").with_row_index("place", offset=1)
    lake.hold("bootstrap_images", images.with_columns(pl.col("place").cast(pl.Int64)).to_arrow())
    return lake.analyse("decision_sensitivity")


def scored(lake: LakeDatabase, draw: Draw) -> dict:
    """The row of the adversarial examples, of maps that are drawn."""
    rows: dict[str, list] = {name: [] for name in ("method", "target", "image_id", "comparison", "overlap")}
    for image in range(IMAGES):
        original = draw(image, "original")
        for target in range(TARGETS):
            for comparison in ("noise", "adversarial"):
                other = draw(image, comparison)
                shared = ((original < K) & (other < K)).sum() / K
                for name, value in zip(rows, ("x", target, image, comparison, shared), strict=True):
                    rows[name].append(value)
    return held(lake, rows).filter(comparison="adversarial").row(0, named=True)


def test_a_map_fixed_per_image_scores_zero_exactly(lake: LakeDatabase) -> None:
    row = scored(lake, lambda image, of: np.random.default_rng(image).permutation(N))
    assert (row["score"], row["score_low"], row["score_high"], row["difference"]) == (0, 0, 0, 0)
    assert (row["stability"], row["p_value"], row["verdict"]) == (1, 1, "no difference")


def test_one_image_allows_no_test(lake: LakeDatabase) -> None:
    shared = {"noise": 0.9, "adversarial": 0.4}
    rows = [("x", target, 0, comparison, shared[comparison]) for target in range(3) for comparison in shared]
    names = ("method", "target", "image_id", "comparison", "overlap")
    found = held(lake, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    row = found.filter(comparison="adversarial").row(0, named=True)
    assert row["difference"] == pytest.approx(0.5)
    assert (row["p_value"], row["images_for_a_point"], row["verdict"]) == (None, None, "no test")


def test_a_random_map_has_no_score(lake: LakeDatabase) -> None:
    rng = np.random.default_rng(1)
    row = scored(lake, lambda image, of: rng.permutation(N))
    assert row["score"] is None and row["verdict"] == "unstable"
    assert row["stability_low"] <= row["chance"] <= row["stability_high"]


def test_a_template_for_each_image_and_class_scores_one(lake: LakeDatabase) -> None:
    rng = np.random.default_rng(2)

    def draw(image: int, of: str) -> np.ndarray:
        return rng.permutation(N) if of == "adversarial" else np.random.default_rng(image).permutation(N)

    row = scored(lake, draw)
    assert row["score_low"] <= 1 <= row["score_high"] and row["score_high"] - row["score_low"] < 0.05
    assert row["verdict"] == "changes more" and row["stability"] == 1


def test_an_edge_detector_scores_next_to_nothing(lake: LakeDatabase) -> None:
    """Edges of an image that moved a little, by noise or by an attack, are the same but for a few."""
    rng = np.random.default_rng(3)

    def draw(image: int, of: str) -> np.ndarray:
        edges = np.random.default_rng(image).gamma(1.0, size=N)
        moved = edges if of == "original" else edges + rng.normal(scale=0.05, size=N)
        return np.argsort(np.argsort(-moved))

    row = scored(lake, draw)
    assert abs(row["score"]) < 0.05 and row["stability"] > 0.8


def test_draws_are_those_of_numpy(lake: LakeDatabase) -> None:
    weight = "poisson_weight(bootstrap_draw(image_id, replicate))"
    counted = lake.query(
        f"select image_id, list({weight} order by replicate) as weights "
        "from (select unnest([0, 7, 123456]) as image_id), (select unnest(range(1000)) as replicate) "
        "group by image_id"
    )
    for image_id, weights in counted.rows():
        np.testing.assert_array_equal(weights, weights_of(image_id))
        assert 0.9 < np.mean(weights) < 1.1


def coverage(lake: LakeDatabase, studies: int, images: int = 200) -> float:
    """Share of generated studies under a true null whose 95 % interval of the difference covers zero.

    An image's pairs share a level of overlap; noise and "adversarial" are two draws around it.
    """
    rng = np.random.default_rng(4)
    shape = (studies, images, TARGETS)
    level = rng.beta(6, 3, (studies, images, 1)) + rng.normal(scale=0.03, size=shape)
    both = [np.clip(level + rng.normal(scale=0.08, size=shape), 0, 1) for _ in range(2)]
    study, image, target = (axis.ravel() for axis in np.indices(shape))
    rows = {
        "method": [f"m{i}" for i in np.concatenate([study, study])],
        "target": np.concatenate([target, target]),
        "image_id": np.concatenate([image, image]),
        "comparison": np.repeat(["noise", "adversarial"], study.size),
        "overlap": np.concatenate([values.ravel() for values in both]),
    }
    found = held(lake, rows).filter(comparison="adversarial")
    assert found.height == studies
    covers = (found["difference_low"] <= 0) & (found["difference_high"] >= 0)
    return int(covers.sum()) / studies


def test_intervals_cover_a_true_null(lake: LakeDatabase) -> None:
    assert 0.85 <= coverage(lake, studies=60) <= 1


@pytest.mark.slow
def test_intervals_cover_a_true_null_in_two_thousand_studies(lake: LakeDatabase) -> None:
    share = coverage(lake, studies=2_000)
    print(f"{share:.2%} of 2,000 intervals cover zero")
    assert 0.925 <= share <= 0.975
