"""Known answers from end to end: lakes of made-up methods through analyse, and what its results say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.ndimage import sobel

from compute.datasets import load_dataset
from flows.analyse import analyse_scope
from flows.lake import Lake
from sql.catalog import Scope
from sql.tables import ENTITIES, PARTITIONED
from tests.sql.lakes import Row, Rows, map_columns, write_lake

TARGETS = 3
KEYS = {"dataset": "d", "model": "m"}
SIZE = 0.3
"""L2 norm of an attack's change and of its noise control, 1 = white: of the order of the demonstration's."""

Draw = Callable[[np.ndarray, int, str, int], np.ndarray]
"""A map [h, w, c] of an image [h, w, c], its id, whose it is (original, noise, attack) and the class."""


def fixed(image: np.ndarray, image_id: int, of: str, label: int) -> np.ndarray:
    return np.random.default_rng(image_id).standard_normal(image.shape)


def template(image: np.ndarray, image_id: int, of: str, label: int) -> np.ndarray:
    """A random permutation of components for each image and class."""
    return np.random.default_rng([image_id, label]).permutation(image.size).reshape(image.shape) + 1.0


def edges(image: np.ndarray, image_id: int, of: str, label: int) -> np.ndarray:
    """Sobel's gradient magnitude, channel by channel: it knows no class."""
    return np.hypot(sobel(image, axis=0), sobel(image, axis=1))


def random_maps() -> Draw:
    rng = np.random.default_rng(3)
    return lambda image, image_id, of, label: rng.standard_normal(image.shape)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    """decision_sensitivity of the adversarial examples at 10 %, by method."""
    images = load_dataset("cifar10-samples").pixels.astype(np.float64) / 255
    methods: dict[str, Draw] = {
        "fixed": fixed, "random": random_maps(), "template": template, "edges": edges,
    }  # fmt: skip
    rows: Rows = {table.name: [] for table in PARTITIONED + ENTITIES}
    rng = np.random.default_rng(4)
    known = {"targeted": True, "epsilon": None, "fraction": None}
    rows["attacks"] = [
        known | {"attack": "a", "algorithm": "a", "control_of": None},
        known | {"attack": "noise-a", "algorithm": "noise", "control_of": "a"},
    ]
    rows["datasets"], rows["models"] = [{"dataset": "d"}], [{"model": "m"}]
    rows["methods"] = [{"method": name} for name in methods]
    height, width, channels = images.shape[1:]
    for image_id, image in enumerate(images):
        who = KEYS | {"image_id": image_id, "label": 0}
        size = {"height": height, "width": width, "channels": channels}
        rows["images"].append(who | size | {"pixels": np.rint(image * 255).astype(np.uint8).ravel()})
        subjects: list[tuple[Any, ...]] = [("original", "label", None, 0, image)]
        for target in range(1, TARGETS + 1):
            for subject, explains in (("a", "target"), ("noise-a", "label")):
                change = rng.standard_normal(image.shape)
                moved = np.clip(image + SIZE * change / np.linalg.norm(change), 0, 1)
                subjects.append((subject, explains, target, target if explains == "target" else 0, moved))
                status = "success" if subject == "a" else "kept"
                rows["adversarials"].append(_example(who, subject, target, status, moved))
        for name, draw in methods.items():
            for subject, explains, target, explained, pixels in subjects:
                values = draw(pixels, image_id, subject, explained).astype(np.float32).ravel()
                keys = {"method": name, "subject": subject, "explains": explains, "target": target}
                rows["relevance"].append(who | keys | {"explained_class": explained} | map_columns(values))
    lake = Lake(str(write_lake(tmp_path_factory.mktemp("known") / "lake", rows)))
    analyse_scope("known", Scope(), lake)
    found = pl.read_parquet(f"{lake.root}/results/decision_sensitivity/known.parquet")
    found = found.filter(band="10 %", comparison="adversarial")
    return {row["method"]: row for row in found.iter_rows(named=True)}


def _example(who: Row, attack: str, target: int, status: str, pixels: np.ndarray) -> Row:
    numbers = dict.fromkeys(("l1", "l2", "linf", "c"), np.float32(SIZE))
    calls = dict.fromkeys(("iterations", "gradient_calls", "forward_calls"), 1)
    logits = np.eye(TARGETS + 1, dtype=np.float32)[target if status == "success" else 0]
    seen = {"logits": logits, "target_probability": np.float32(0.9), "second_class": 0}
    of = {"attack": attack, "target": target, "status": status, "reason": None}
    return (
        who | of | numbers | calls | seen
        | {"second_probability": np.float32(0.05), "pixels": pixels.astype(np.float32).ravel()}
    )  # fmt: skip


def test_a_map_fixed_per_image_scores_zero_exactly(scored: dict[str, Row]) -> None:
    row = scored["fixed"]
    assert (row["score"], row["score_low"], row["score_high"], row["stability"]) == (0, 0, 0, 1)
    assert row["verdict"] == "no difference"


def test_a_random_map_has_no_score(scored: dict[str, Row]) -> None:
    assert scored["random"]["score"] is None and scored["random"]["verdict"] == "unstable"


def test_templates_of_image_and_class_score_one(scored: dict[str, Row]) -> None:
    row = scored["template"]
    assert row["score_low"] <= 1 <= row["score_high"] and row["verdict"] == "changes more"


def test_a_real_edge_detector_scores_next_to_nothing(scored: dict[str, Row]) -> None:
    row = scored["edges"]
    print(f"edges: score {row['score']:.4f}, {row['score_low']:.4f} to {row['score_high']:.4f}, "
          f"stability {row['stability']:.3f}")  # fmt: skip
    assert abs(row["score"]) < 0.05 and row["stability"] > 0.5
