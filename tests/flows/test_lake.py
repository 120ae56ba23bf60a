"""The writer of the lake: whole files or none, short ones replaced, others' work refused."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.errors import LakeMismatch, UserError
from flows.lake import Lake, Partition
from flows.vectors import matrix, table_of
from sql.errors import LakeError
from sql.tables import ATTACKS, IMAGES, METHODS, RELEVANCE

KEYS = (("dataset", "toy"),)


def images(count, first=0):
    rng = np.random.default_rng(count)
    return table_of(
        IMAGES,
        {
            "image_id": np.arange(first, first + count),
            "label": np.zeros(count),
            "height": np.full(count, 2),
            "width": np.full(count, 2),
            "channels": np.full(count, 1),
            "pixels": rng.integers(0, 256, (count, 4), dtype=np.uint8),
        },
    )


def partition(rows, made_from=None, shard=0, keys=KEYS):
    return Partition("images", keys, shard, rows, made_from or {"dataset": {"files": "abc"}})


def test_written_rows_come_back(tmp_path):
    lake = Lake(str(tmp_path))
    path = lake.write(partition(5), images(5), {"note": "x"})
    assert path == "images/dataset=toy/ids-0-999-rows-5.parquet"
    assert lake.read(path).equals(images(5).replace_schema_metadata(lake.read(path).schema.metadata))
    made_from = {"dataset": {"files": "abc"}}
    footer = {"made_from": made_from, "recorded": {"note": "x"}, "keys": {"dataset": "toy"}}
    assert lake.footer(path) == footer
    assert Lake(str(tmp_path)).find(partition(5)) == path
    assert lake.paths("images") == [path]
    assert lake.size() == (tmp_path / path).stat().st_size


def test_relevance_is_byte_stream_split_in_groups_of_2048(tmp_path):
    rng = np.random.default_rng(0)
    n = 3000
    columns: dict[str, np.ndarray] = {c.name: np.zeros(n) for c in RELEVANCE.columns}
    columns["status"] = np.full(n, "ok")
    columns["relevance"] = rng.normal(size=(n, 300)).astype(np.float32)
    columns["rank"] = np.tile(np.arange(300, dtype=np.uint16), (n, 1))
    missing = np.arange(n) % 7 == 0
    table = table_of(RELEVANCE, columns, {"rank": missing})
    assert table["rank"].null_count == missing.sum()
    keys = tuple((key.name, None if key.name == "target" else "a") for key in RELEVANCE.keys)
    lake = Lake(str(tmp_path))
    path = lake.write(Partition("relevance", keys, 0, n, {}), table, {})
    assert "target=__HIVE_DEFAULT_PARTITION__" in path
    metadata = pq.read_metadata(tmp_path / path)
    assert [metadata.row_group(i).num_rows for i in range(2)] == [2048, 952]
    chunks = {
        metadata.row_group(0).column(i).path_in_schema: metadata.row_group(0).column(i)
        for i in range(metadata.num_columns)
    }
    for name in ("relevance.list.element", "rank.list.element"):
        assert "BYTE_STREAM_SPLIT" in chunks[name].encodings
        assert chunks[name].compression == "ZSTD"
    np.testing.assert_array_equal(matrix(lake.read(path)["relevance"]), columns["relevance"])


def test_a_longer_file_serves_a_shorter_wish_and_replaces_a_shorter_file(tmp_path):
    lake = Lake(str(tmp_path))
    lake.write(partition(3), images(3), {})
    assert lake.find(partition(5)) is None
    long = lake.write(partition(5), images(5), {})
    assert lake.paths("images") == [long]
    assert lake.find(partition(3)) == lake.find(partition(5)) == long
    assert lake.find(partition(5, shard=1)) is None


def test_a_copy_counts_the_rows_that_it_holds(tmp_path):
    """The file of an untargeted attack is named by the images that were tried."""
    tried = replace(partition(9), parts=10)
    lake, copy = Lake(str(tmp_path / "lake")), Lake(str(tmp_path / "copy"))
    path = lake.write(tried, images(2), {})
    copy.write_copy(tried, lake.bytes(path))
    assert (copy.counts.written, copy.counts.bytes) == (1, lake.counts.bytes)
    assert copy.counts.rows == {"images": 2}


@pytest.mark.parametrize("rows", [2, 5, 9])
def test_other_inputs_are_refused_whatever_the_size(tmp_path, rows):
    lake = Lake(str(tmp_path))
    lake.write(partition(5), images(5), {})
    with pytest.raises(LakeMismatch) as caught:
        lake.find(partition(rows, {"dataset": {"files": "xyz"}}))
    assert "ids-0-999-rows-5.parquet" in str(caught.value)
    assert "dataset.files was 'abc', the study has 'xyz'" in str(caught.value)


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    import os

    lake = Lake(str(tmp_path))

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        lake.write(partition(5), images(5), {})
    monkeypatch.undo()
    assert Lake(str(tmp_path)).find(partition(5)) is None
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_temporary_files_are_not_seen(tmp_path):
    lake = Lake(str(tmp_path))
    path = lake.write(partition(5), images(5), {})
    file = tmp_path / path
    file.rename(file.with_name(f".tmp-1-{file.name}"))
    assert Lake(str(tmp_path)).find(partition(5)) is None
    assert Lake(str(tmp_path)).paths() == []


def test_a_corrupt_file_is_named(tmp_path):
    lake = Lake(str(tmp_path))
    path = lake.write(partition(5), images(5), {})
    (tmp_path / path).write_bytes(b"PAR1 broken PAR1")
    for action in (lambda: lake.find(partition(5)), lambda: lake.read(path)):
        with pytest.raises(UserError, match=r"ids-0-999-rows-5.parquet is not a readable Parquet file"):
            action()


@given(st.text(min_size=1, max_size=12))
def test_only_plain_ids_become_paths(text):
    import re

    wanted = partition(1, keys=(("dataset", text),))
    if re.fullmatch("[a-z0-9.-]+", text):
        assert wanted.folder == f"images/dataset={text}"
    else:
        with pytest.raises(UserError, match="cannot be part of a path"):
            _ = wanted.folder


def test_rows_that_fall_over_several_files_as_the_work_tells(tmp_path):
    """An untargeted attack on 5 images: here 3 came to the first of two classes, none to the second."""
    lake = Lake(str(tmp_path))
    some, none = (
        Partition("images", (("dataset", name),), 0, 5, {"dataset": {"files": "abc"}}, parts=2)
        for name in ("some", "none")
    )
    path = lake.write(some, images(3), {})
    assert path == "images/dataset=some/ids-0-999-images-5.parquet"
    empty = lake.write(none, images(0), {})
    assert lake.find(none) == empty
    assert lake.read(empty).num_rows == 0
    assert lake.read(empty).schema.equals(lake.read(path).schema)
    assert Lake(str(tmp_path)).find(some) == path
    assert some.expected_rows == 2.5
    longer = Partition("images", some.keys, 0, 8, some.made_from, parts=2)
    assert lake.find(longer) is None
    lake.write(longer, images(4), {})
    assert lake.paths("images/dataset=some") == ["images/dataset=some/ids-0-999-images-8.parquet"]
    assert lake.find(some) == lake.find(longer)
    with pytest.raises(ValueError, match="6 rows given, 5 planned"):
        lake.write(none, images(6), {})


def test_wrong_row_count_is_a_bug(tmp_path):
    with pytest.raises(ValueError, match="4 rows given, 5 planned"):
        Lake(str(tmp_path)).write(partition(5), images(4), {})


def test_entities_are_one_row_files(tmp_path):
    from compute.attacks.lbfgs import LBFGS
    from compute.methods import parse_method

    lake = Lake(str(tmp_path))
    for method in ("lrp-0", "published-lrp-alpha2-beta-1"):
        lake.write_entity(METHODS, parse_method(method).as_row())
    path = lake.write_entity(ATTACKS, {"attack": "lbfgs", **LBFGS().as_row()})
    row = lake.read(path).to_pylist()[0]
    assert {k: v for k, v in row.items() if v is not None} == {"attack": "lbfgs", **LBFGS().as_row()}
    assert lake.read("methods/published-lrp-alpha2-beta-1.parquet")["beta"].to_pylist() == [-1.0]
    before = (tmp_path / path).stat().st_mtime_ns
    lake.write_entity(ATTACKS, row)
    assert (tmp_path / path).stat().st_mtime_ns == before
    with pytest.raises(LakeMismatch, match=r"confidence was 0.99, the study has 0.5"):
        lake.write_entity(ATTACKS, {**row, "confidence": 0.5})
    with pytest.raises(UserError, match="attack 'Big One' cannot be part of a path"):
        lake.write_entity(ATTACKS, {**row, "attack": "Big One"})


def test_a_lake_in_memory_works_through_fsspec():
    lake = Lake("memory://toy-lake")
    lake.write(partition(3), images(3), {})
    path = lake.write(partition(5), images(5), {})
    again = Lake("memory://toy-lake")
    assert again.paths("images") == [path]
    assert again.read(path).num_rows == 5


def test_missing_lake_names_the_remedy(tmp_path):
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(LakeError, match=r"lake.*relevance-lake run demo --lake"):
            Lake(str(place)).must_exist()


def test_a_stop_while_a_longer_file_replaces_a_shorter_one_doubles_no_row(tmp_path, monkeypatch):
    lake = Lake(str(tmp_path))
    lake.write(partition(3), images(3), {})
    monkeypatch.setattr(lake, "_put", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        lake.write(partition(5), images(5), {})
    again = Lake(str(tmp_path))
    assert again.find(partition(5)) is None
    assert sum(again.read(path).num_rows for path in again.paths("images")) <= 3
