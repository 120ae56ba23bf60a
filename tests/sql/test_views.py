"""The views for people: relevance_long and pairs against the rows that a lake was made from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lakes import METHODS, Rows, toy_rows, write_lake

from sql.catalog import LakeDatabase, open_lake

SHAPE = (4, 5, 3)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rows, LakeDatabase]]:
    rows = toy_rows(shape=SHAPE)
    rows["images"].pop()  # one image is not there
    rows["predictions"].pop(0)
    assert {row["status"] for row in rows["relevance"]} == {"ok", "zero", "non_finite"}
    with open_lake(str(write_lake(tmp_path_factory.mktemp("lake"), rows))) as lake:
        yield rows, lake


KEYS = ["dataset", "model", "method", "subject", "explains", "target", "image_id"]


def test_relevance_long(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    known = {row["image_id"] for row in rows["images"]}
    frame = lake.query("from relevance_long")
    size = ["height", "width", "channels"]
    named = [*KEYS, "label", "status", *size, "component", "y", "x", "channel", "relevance", "rank"]
    assert frame.columns == named
    expected = []
    for row in rows["relevance"]:
        keys = [row[name] for name in [*KEYS, "label", "status"]]
        is_known = row["image_id"] in known
        where = list(np.ndindex(SHAPE)) if is_known else [(None, None, None)] * 60
        places = [None] * 60 if row["rank"] is None else row["rank"].tolist()
        for component, value in enumerate(row["relevance"].tolist()):
            shape = SHAPE if is_known else (None, None, None)
            expected.append((*keys, *shape, component, *where[component], value, places[component]))
    assert {row["image_id"] for row in rows["relevance"]} - known
    assert sorted(map(repr, frame.rows())) == sorted(map(repr, expected))


def test_ranks_of_relevance_long_can_be_subtracted(toy: tuple[Rows, LakeDatabase]) -> None:
    lowest = toy[1].query("select min(rank - 1) from relevance_long").item()
    assert lowest == -1


def test_one_map_is_read_from_its_own_file(toy: tuple[Rows, LakeDatabase]) -> None:
    """Names of partitions and the image reach the scan through join and unnest."""
    rows, lake = toy
    row = next(row for row in rows["relevance"] if row["subject"] == "lbfgs" and row["method"] == METHODS[0])
    plan = lake.query(
        "explain analyze from relevance_long where method = $method and subject = 'lbfgs' "
        "and target = $target and image_id = $image_id",
        {name: row[name] for name in ("method", "target", "image_id")},
    )["explain_value"][0]
    [(read, of)] = re.findall(r"Scanning Files: (\d+)/(\d+)", plan)
    of_target = {
        row["image_id"] // 1000
        for row in rows["relevance"]
        if (row["method"], row["subject"]) == (METHODS[0], "lbfgs") and row["target"] is not None
    }
    assert int(read) <= len(of_target) < int(of) / 10
    assert f"Filters: image_id = {row['image_id']}" in re.sub(r"\s+", " ", plan)


def test_pairs(toy: tuple[Rows, LakeDatabase]) -> None:
    rows, lake = toy
    images = {row["image_id"]: row for row in rows["images"]}
    predictions = {row["image_id"]: row for row in rows["predictions"]}
    frame = lake.query("from pairs order by attack, target, image_id")
    attacked = sorted(rows["adversarials"], key=lambda row: (row["attack"], row["target"], row["image_id"]))
    assert {row["image_id"] for row in attacked} - images.keys()
    assert {row["image_id"] for row in attacked} - predictions.keys()
    for found, row in zip(frame.rows(named=True), attacked, strict=True):
        image = images.get(row["image_id"], dict.fromkeys(("height", "width", "channels", "pixels")))
        prediction = predictions.get(row["image_id"], dict.fromkeys(("predicted", "logits")))
        for name in ("height", "width", "channels"):
            assert found.pop(name) == image[name]
        assert found.pop("predicted") == prediction["predicted"]
        same(found.pop("original_logits"), prediction["logits"])
        same(found.pop("adversarial_logits"), row["logits"])
        same(found.pop("adversarial_pixels"), row["pixels"])
        grey = image["pixels"]
        same(
            found.pop("original_pixels"), None if grey is None else grey.astype(np.float32) / np.float32(255)
        )
        assert found == {name: row[name] for name in found}
        assert row.keys() - found.keys() == {"pixels", "logits"}


def same(found: list[float] | None, expected: np.ndarray | None) -> None:
    assert (found is None) == (expected is None)
    if expected is not None:
        np.testing.assert_array_equal(np.array(found, np.float32), expected)


def test_the_views_have_the_same_types_on_an_empty_lake(
    tmp_path: Path, toy: tuple[Rows, LakeDatabase]
) -> None:
    (tmp_path / "images").mkdir()
    with open_lake(str(tmp_path)) as bare:
        for view in ("relevance_long", "pairs"):
            assert bare.query(f"describe {view}").rows() == toy[1].query(f"describe {view}").rows()
            assert bare.query(f"from {view}").height == 0
