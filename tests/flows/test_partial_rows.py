"""Rows of partial results that NumPy counts, against the SQL that defines them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from compute.cells import cell_edges, cell_of
from flows.lake import Lake
from flows.paired_maps import MapLists, Series, Target
from flows.partial_rows import MEASURES, rows_of_shard, wanted_values
from sql import package
from sql.catalog import LakeDatabase, Scope, open_lake
from sql.schema import connect, create_contract
from tests.lake_generator import Specification, generate
from tests.sql.lakes import toy_rows, with_other_designs, write_lake

METHODS = ("lrp-0", "lrp-alpha1-beta0")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two shards; zero and non-finite maps, failed attacks and ties are among them."""
    made = generate(
        tmp_path_factory.mktemp("generated") / "lake",
        Specification(1060, METHODS, ("lbfgs",), classes=3, shape=(6, 6, 3), seed=8, controlled=True),
    )
    return Lake(made.lake)


@pytest.fixture(scope="module")
def database(lake: Lake) -> Iterator[LakeDatabase]:
    with open_lake(lake.url) as opened:
        yield opened


def series_of(lake: Lake, method: str, subject: str) -> Series:
    dataset, model = (part.partition("=")[2] for part in lake.paths("relevance")[0].split("/")[1:3])
    return dataset, model, method, subject, "label" if subject == "original" else "target"


def counted(
    lake: Lake, database: LakeDatabase, series: Series, shard: int, wanted: Mapping[str, Collection[Target]]
) -> dict[str, pa.Table]:
    schemas = {name: database.schema(name) for name in wanted}
    return rows_of_shard(lake, MapLists(database), series, shard, wanted, schemas)


def sorted_frame(rows: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame.sort([name for name, kind in frame.schema.items() if not kind.is_float()])


def test_every_partial_result_of_shards_can_be_counted() -> None:
    of_shards = {name for name, partial in package.partials().items() if partial.is_of_shard}
    assert set(MEASURES) == of_shards


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shard", [0, 1])
def test_rows_are_those_of_the_sql(
    lake: Lake, database: LakeDatabase, name: str, method: str, shard: int
) -> None:
    subjects = ["lbfgs"] if package.partials()[name].compares else ["original", "lbfgs"]
    for subject in subjects:
        series = series_of(lake, method, subject)
        of = ("original", subject) if package.partials()[name].compares else (subject,)
        database.narrow(Scope(methods=(method,), subjects=of, shard=shard))
        targets = [None] if subject == "original" else [0, 1, 2]
        found = counted(lake, database, series, shard, {name: targets})[name]
        expected = database.arrow(f"select * from {name}")
        assert found.schema.equals(expected.schema) and found.num_rows > 0
        assert_frame_equal(sorted_frame(found), sorted_frame(expected), rel_tol=1e-11, abs_tol=1e-14)
    database.narrow(None)


def test_rows_of_the_other_designs_are_those_of_the_sql(tmp_path: Path) -> None:
    rows = with_other_designs(toy_rows(image_ids=tuple(range(12)), seed=4))
    lake = Lake(str(write_lake(tmp_path, rows)))
    with open_lake(lake.url) as database:
        lists = MapLists(database)
        names = [name for name, partial in package.partials().items() if partial.compares_all]
        schemas = {name: database.schema(name) for name in names}
        found: dict[str, list[pa.Table]] = {name: [] for name in names}
        for series, targets in lists.ok.items():
            if series[3:] != ("original", "label"):
                wanted = {name: list(targets) for name in names}
                for name, table in rows_of_shard(lake, lists, series, 0, wanted, schemas).items():
                    found[name].append(table)
        for name, tables in found.items():
            counted = sorted_frame(pa.concat_tables(tables))
            expected = sorted_frame(database.arrow(f"select * from {name}"))
            assert_frame_equal(counted, expected, rel_tol=1e-11, abs_tol=1e-14)
            if package.partials()[name].compares_everything:
                kinds = {"original", "question", "image", "other target", "example", "step"}
                assert set(counted["reference"]) == kinds


def test_only_wanted_targets_are_counted(lake: Lake, database: LakeDatabase) -> None:
    series = series_of(lake, "lrp-0", "lbfgs")
    database.narrow(Scope(methods=("lrp-0",), shard=0))
    found = counted(lake, database, series, 0, {"pair_ranks": [1], "value_counts": [0, 2]})
    assert set(found["pair_ranks"]["target"].to_pylist()) == {1}
    assert set(found["value_counts"]["target"].to_pylist()) == {0, 2}
    database.narrow(None)


def test_images_beyond_the_scope_are_left_out(lake: Lake, database: LakeDatabase) -> None:
    database.narrow(Scope(methods=("lrp-0",), shard=1, last_image=1020))
    found = counted(
        lake, database, series_of(lake, "lrp-0", "lbfgs"), 1, {"pair_ranks": [0], "value_counts": [0]}
    )
    ids = found["pair_ranks"]["image_id"].to_pylist()
    assert ids and max(ids) <= 1020
    maps = "select count(*) from relevance where subject = 'lbfgs' and target = 0 and status = 'ok'"
    assert sum(found["value_counts"]["values"].to_pylist()) == database.query(maps).item() * 108
    database.narrow(None)


def test_nothing_to_count_gives_no_rows(lake: Lake, database: LakeDatabase) -> None:
    database.narrow(Scope(methods=("lrp-0",), shard=7))
    series = series_of(lake, "lrp-0", "lbfgs")
    for name, rows in counted(lake, database, series, 7, {key: [0, 1] for key in MEASURES}).items():
        assert rows.num_rows == 0 and rows.schema.equals(database.schema(name))
    assert wanted_values(lake, database, series).num_rows == 0
    database.narrow(None)


@pytest.mark.parametrize("method", METHODS)
def test_wanted_values_are_those_of_the_sql(lake: Lake, database: LakeDatabase, method: str) -> None:
    for subject in ("original", "lbfgs"):
        database.narrow(Scope(methods=(method,), subjects=(subject,)))
        found = wanted_values(lake, database, series_of(lake, method, subject))
        expected = database.arrow("select * from wanted_values")
        assert found.schema.equals(expected.schema) and found.num_rows > 0
        order = ["cell", "value"]
        frames = [pl.DataFrame(pl.from_arrow(rows)).sort(order) for rows in (found, expected)]
        assert_frame_equal(*frames)
    database.narrow(None)


def test_cells_are_those_of_the_sql() -> None:
    _, least = cell_edges()
    about = [*least.tolist(), *(-least).tolist(), *(least * 0.9999999).tolist(), 0.0, -0.0, 1e-45, 5e-9]
    with connect() as connection:
        create_contract(connection)
        connection.register("about", pa.table({"value": pa.array(about, pa.float32())}))
        rows = connection.execute("select value, relevance_cell(value::double) from about").fetchnumpy()
    assert cell_of(rows["value"]).tolist() == list(rows.values())[1].tolist()
