"""Checking a lake: what is remembered, what is read again, and what stops a study before its report."""

import errno
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compute.ranking import finish_maps
from flows import check, storage_faults
from flows.check import check_lake, require_sound
from flows.errors import UserError
from flows.lake import Lake, Partition
from flows.pipeline import pipeline
from flows.storage_faults import StorageFault
from flows.study import load_study
from flows.vectors import table_of
from sql.footers import read_rows
from sql.tables import METHODS, RELEVANCE

METHOD = "lrp-0"


def keys(subject, target):
    explains = "label" if target is None else "target"
    of = {"dataset": "toy", "model": "net", "method": METHOD, "subject": subject, "explains": explains}
    return (*of.items(), ("target", target))


def maps(count, first=0, seed=0, components=12):
    """Rows of sound maps, explained for class 1."""
    made = finish_maps(np.random.default_rng(seed).normal(size=(count, components)).astype(np.float32))
    absorbed = {name: np.full(count, np.nan) for name in ("bias", "stabiliser", "empty")}
    columns = {
        "image_id": np.arange(first, first + count), "label": np.ones(count), "start": np.ones(count),
        "explained_class": np.ones(count), "scale": made.scale, "status": made.status,
        "relevance_sum": np.ones(count),
        **{f"absorbed_{name}": values for name, values in absorbed.items()},
        "ties_at_31": made.ties_at_31, "ties_at_307": made.ties_at_307,
        "relevance": made.relevance, "rank": made.rank,
    }  # fmt: skip
    return table_of(RELEVANCE, columns)


def method_row(**parameters):
    return {column.name: None for column in METHODS.columns} | {"method": METHOD} | parameters


@pytest.fixture
def lake(tmp_path):
    """Maps of three shards; nothing that they refer to."""
    lake = Lake(str(tmp_path / "lake"))
    lake.write_entity(METHODS, method_row(convention="canonical"))
    for shard in range(3):
        partition = Partition("relevance", keys("original", None), shard, 5, {})
        lake.write(partition, maps(5, shard * 1000, shard), {})
    return lake


def outcomes(lake, **options):
    return {one.check: one for one in check_lake(lake, **options).outcomes}


def read(capsys):
    """How many files the last check has read, as it says."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("files: ")]
    return int(lines[0].split()[1]) if lines else 0


@pytest.fixture
def counted(capsys):
    from flows.progress import progress_display

    def count(lake, **options):
        with progress_display():
            found = outcomes(lake, **options)
        return read(capsys), found

    return count


def swap_two_ranks(lake, path):
    """The first map's best two components change places; the file stays the writer's."""
    file = Path(lake.root) / path
    rows = pq.ParquetFile(file).read()
    ranks = np.array(rows["rank"].to_pylist())
    ranks[0, np.argsort(ranks[0])[:2]] = [1, 0]
    index = rows.schema.get_field_index("rank")
    column = pa.array(ranks.tolist(), rows.schema.field("rank").type)
    pq.write_table(rows.set_column(index, rows.schema.field("rank"), column), file)


def test_only_new_and_changed_files_are_read_again(lake, counted):
    path = lake.paths("relevance")[1]
    assert counted(lake)[0] == 3
    assert counted(lake)[0] == 0
    lake.write(Partition("relevance", keys("original", None), 3, 4, {}), maps(4, 3000), {})
    assert counted(lake)[0] == 1
    swap_two_ranks(lake, path)
    files, found = counted(lake)
    assert files == 1
    assert found["rank_orders_relevance"].violations == 1
    assert '"image_id":1000' in found["rank_orders_relevance"].first
    assert counted(lake) == (0, found)
    assert counted(lake, again=True) == (4, found)


def test_maps_are_checked_again_where_their_method_is_another(lake, counted):
    assert counted(lake)[0] == 3
    (Path(lake.root) / f"methods/{METHOD}.parquet").unlink()
    lake.refresh()
    lake.write_entity(METHODS, method_row(convention="published"))
    assert counted(lake)[0] == 3


def test_a_damaged_memory_is_made_anew(lake, counted):
    counted(lake)
    (Path(lake.root) / "checked" / "files.parquet").write_bytes(b"PAR1")
    assert counted(lake)[0] == 3
    assert counted(lake)[0] == 0


def test_what_is_known_of_lost_files_is_forgotten(lake, counted):
    swap_two_ranks(lake, lake.paths("relevance")[0])
    assert counted(lake)[1]["rank_orders_relevance"].violations == 1
    (Path(lake.root) / lake.paths("relevance")[0]).unlink()
    assert counted(lake)[1]["rank_orders_relevance"].violations == 0
    lake.write(Partition("relevance", keys("original", None), 7, 1, {}), maps(1, 7000), {})
    counted(lake)
    remembered = Lake(lake.url).read("checked/files.parquet")["path"].to_pylist()
    assert remembered == Lake(lake.url).paths("relevance")


def test_a_file_that_cannot_be_read_is_left_out_of_every_check(lake):
    whole = outcomes(lake)
    path = lake.paths("relevance")[2]
    file = Path(lake.root) / path
    data = bytearray(file.read_bytes())
    pages = len(data) - 12 - pq.read_metadata(file).serialized_size
    data[4 : 4 + pages] = bytes(pages)
    file.write_bytes(data)
    report = check_lake(lake, again=True)
    assert [(fault.path, fault.fault) for fault in report.faults] == [(path, "pages")]
    assert not report.is_sound
    found = {one.check: one for one in report.outcomes}
    assert whole["labels_agree"].violations - found["labels_agree"].violations == 5


def test_storage_that_fails_makes_no_file_damaged(lake, monkeypatch):
    monkeypatch.setattr(storage_faults, "WAITS", (0.0,) * 5)
    faults = [OSError(errno.EBUSY, "slow down"), TimeoutError("no answer")]

    def failing(*arguments):
        with suppress(IndexError):  # several threads ask
            raise faults.pop()
        return read_rows(*arguments)

    whole = outcomes(lake, again=True)
    monkeypatch.setattr(check, "read_rows", failing)
    report = check_lake(lake, again=True)
    assert not faults and not report.faults
    assert {one.check: one for one in report.outcomes} == whole
    faults += [TimeoutError("no answer")] * 100
    with pytest.raises(StorageFault, match="could not be read"):
        check_lake(lake, again=True)


class FileExpired(OSError):
    """As s3fs raises it of a file that was replaced since it was listed."""


@pytest.mark.parametrize("error", [FileNotFoundError(), FileExpired(errno.EBUSY, "another digest")])
def test_of_a_file_that_was_replaced_meanwhile_nothing_is_said(lake, monkeypatch, error):
    path = lake.paths("relevance")[1]
    swap_two_ranks(lake, path)
    assert outcomes(lake)["rank_orders_relevance"].violations == 1
    lake.write(Partition("relevance", keys("original", None), 1, 5, {}), maps(5, 1000, 7), {})

    def gone(storage, asked, keys):
        if asked == path:
            raise error
        return read_rows(storage, asked, keys)

    monkeypatch.setattr(check, "read_rows", gone)
    report = check_lake(lake)
    assert not report.faults
    assert next(one for one in report.outcomes if one.check == "rank_orders_relevance").violations == 0
    assert path not in Lake(lake.url).read("checked/files.parquet")["path"].to_pylist()


def test_a_lake_that_may_only_be_read_is_checked_all_the_same(lake, monkeypatch, caplog):
    def refused(*_, **__):
        raise StorageFault("no right to write")

    monkeypatch.setattr(Lake, "put", refused)
    assert {one.check for one in check_lake(lake).outcomes}
    assert "what was read is not remembered: no right to write" in caplog.text


def test_a_lake_in_a_bucket_is_checked_and_remembered_too():
    lake = Lake("memory://checked-lake")
    lake.write_entity(METHODS, method_row(convention="canonical"))
    path = lake.write(Partition("relevance", keys("original", None), 0, 5, {}), maps(5), {})
    assert outcomes(lake)["rank_orders_relevance"].violations == 0
    assert Lake(lake.url).read("checked/files.parquet")["path"].to_pylist() == [path]
    assert [fault.path for fault in check_lake(Lake(lake.url)).faults] == []


@pytest.mark.prefect
def test_a_wrong_row_stops_a_study_before_its_report(study_file, lake_copy, typed):
    report = lake_copy / "reports" / "small.html"
    written = report.stat().st_mtime_ns
    lake = Lake(str(lake_copy))
    swap_two_ranks(lake, next(path for path in lake.paths("relevance") if "target=3" in path))
    with pytest.raises(UserError, match="rank_orders_relevance"):
        pipeline(study=str(study_file), lake=str(lake_copy))
    code, _, err = typed("run", study_file, "--lake", lake_copy)
    assert code == 2
    assert "rank_orders_relevance" in err and '"target":3' in err and "run the study again" in err
    assert report.stat().st_mtime_ns == written


@pytest.mark.prefect
def test_a_study_found_sound_is_not_checked_again(study_file, lake_copy, capsys):
    study, lake = load_study(str(study_file)), Lake(str(lake_copy))
    outcome = lake_copy / "checked" / "studies" / "small.parquet"
    rows = pq.read_table(outcome)
    assert sum(rows["violations"].to_pylist()) == 0 and len(rows) > 10
    written = outcome.stat().st_mtime_ns
    require_sound(study, lake)
    assert outcome.stat().st_mtime_ns == written
    lost = next(path for path in lake.paths("relevance") if "subject=original" in path)
    (lake_copy / lost).unlink()
    with pytest.raises(UserError, match="relevance_has_original"):
        require_sound(study, lake)
