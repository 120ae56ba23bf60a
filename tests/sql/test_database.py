"""catalog.duckdb: what another program finds in it is what `open_lake` answers."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest
from lakes import toy_rows, write_lake
from polars.testing import assert_frame_equal

from sql.catalog import LakeDatabase, LakeError, analyses, open_lake
from sql.database import write_catalog
from sql.package import partials, shared_views
from sql.tables import TABLES

STORAGE_OF_DUCKDB_1 = 64


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_lake(tmp_path_factory.mktemp("it's [a] 50%") / "lake*", toy_rows(image_ids=(0, 1, 2)))
    with open_lake(str(root)) as lake:
        live = lake.analyse("attack_summary")
    (root / "results" / "attack_summary").mkdir(parents=True)
    live.insert_column(0, pl.lit("demo").alias("study"))
    live.write_parquet(root / "results" / "attack_summary" / "demo.parquet")
    write_catalog(str(root))
    return root


@pytest.fixture(scope="module")
def file(root: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(root / "catalog.duckdb", read_only=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def lake(root: Path) -> Iterator[LakeDatabase]:
    with open_lake(str(root)) as opened:
        yield opened


VIEWS = "select schema_name || '.' || view_name from duckdb_views() where not internal order by all"


def test_the_same_views_are_there(file: duckdb.DuckDBPyConnection, lake: LakeDatabase) -> None:
    names = [name for (name,) in file.execute(VIEWS).fetchall()]
    assert names == lake.query(VIEWS).to_series().to_list()
    for name in (*TABLES, *analyses(), *partials(), *shared_views()):
        assert f"main.{name}" in names
    assert "results.attack_summary" in names


@pytest.mark.parametrize(
    "name",
    [*TABLES, *shared_views(), *partials(), *analyses(), "published_figures", "results.attack_summary"],
)
def test_every_view_answers_the_same(file: duckdb.DuckDBPyConnection, lake: LakeDatabase, name: str) -> None:
    question = f"select * from {name} order by all"
    found = pl.from_arrow(file.sql(question).to_arrow_table())
    assert isinstance(found, pl.DataFrame)
    # threads add up floats in any order
    assert_frame_equal(found, lake.query(question), rel_tol=1e-12)


def test_macros_are_there(file: duckdb.DuckDBPyConnection, lake: LakeDatabase) -> None:
    macros = "select function_name, parameters from duckdb_functions() where not internal order by all"
    assert file.sql(macros).fetchall() == lake.query(macros).rows()
    assert file.execute("select band_size(0.1, 3072)").fetchone() == (307,)


def test_clients_are_told_what_it_means(file: duckdb.DuckDBPyConnection) -> None:
    ((title,),) = file.execute(
        "select comment from duckdb_views() where view_name = 'relevance' and not internal"
    ).fetchall()
    assert title == "one row per relevance map"
    ((meaning,),) = file.execute(
        "select comment from duckdb_columns() where table_name = 'topk_overlap' and column_name = 'overlap'"
    ).fetchall()
    assert meaning.startswith("mean over pairs") and meaning.endswith("[share]")


def test_it_holds_no_rows_and_older_clients_open_it(root: Path, file: duckdb.DuckDBPyConnection) -> None:
    assert file.execute("select count(*) from duckdb_tables()").fetchone() == (0,)
    header = (root / "catalog.duckdb").read_bytes()[:20]
    assert struct.unpack("<Q", header[12:]) == (STORAGE_OF_DUCKDB_1,)


def test_it_opens_under_any_name(root: Path, tmp_path: Path) -> None:
    """Views are found within their own database, whatever that is called by then."""
    other = tmp_path / "renamed.duckdb"
    other.write_bytes((root / "catalog.duckdb").read_bytes())
    with duckdb.connect() as connection:
        connection.execute(f"attach '{other}' as anything (read_only)")
        [(count,)] = connection.execute("select count(*) from anything.relevance").fetchall()
        [(overlaps,)] = connection.execute("select count(*) from anything.topk_overlap").fetchall()
    assert count and overlaps


def test_the_lake_opens_and_is_sound_with_the_file_in_it(root: Path) -> None:
    with open_lake(str(root)) as lake:
        assert lake.check()["violations"].sum() == 0


def test_it_is_written_anew_as_the_lake_grows(tmp_path: Path) -> None:
    rows = toy_rows(image_ids=(0, 1))
    root = write_lake(tmp_path / "lake", rows)
    target = write_catalog(str(root), str(tmp_path / "own.duckdb"))
    other = toy_rows(dataset="other-test", image_ids=(0, 1), seed=7)
    write_lake(root, {name: other[name] for name in ("images", "predictions", "datasets")} | {
        name: [] for name in rows if name not in ("images", "predictions", "datasets")
    })  # fmt: skip
    assert write_catalog(str(root), str(target)) == target
    with duckdb.connect(target, read_only=True) as file:
        assert file.execute("select count(*) from images").fetchone() == (4,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake", "own.duckdb"]


@pytest.mark.parametrize("fault", ["truncated", "schema", "folder"])
def test_a_faulty_lake_is_refused(tmp_path: Path, fault: str) -> None:
    root = write_lake(tmp_path / "lake", toy_rows(image_ids=(0, 1)))
    victim = sorted((root / "relevance").rglob("*.parquet"))[-1]
    if fault == "truncated":
        victim.write_bytes(victim.read_bytes()[:-100])
    elif fault == "schema":
        pl.DataFrame({"a": [1]}).write_parquet(victim)
    else:
        victim.parent.rename(victim.parent.with_name("target=x"))
        victim = victim.parent.with_name("target=x") / victim.name
    with pytest.raises(LakeError) as refused:
        write_catalog(str(root))
    assert str(victim.relative_to(root)) in str(refused.value)
    assert not (root / "catalog.duckdb").exists() and not list(root.glob(".tmp*"))


def test_nothing_else_is_overwritten(root: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious.csv"
    precious.write_text("a,b\n1,2\n")
    for output, said in (
        (precious, "no DuckDB database"),
        (tmp_path, "is a folder"),
        (tmp_path / "gone" / "a.duckdb", "no folder"),
    ):
        with pytest.raises(LakeError, match=said):
            write_catalog(str(root), str(output))
    assert precious.read_text() == "a,b\n1,2\n"
    with pytest.raises(LakeError, match="no lake"):
        write_catalog(str(tmp_path / "none"))


def test_a_bucket_needs_a_place_for_the_file(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    root = write_lake(tmp_path / "lake", toy_rows(image_ids=(0, 1, 2)))
    memory.put(str(root), "/catalogued/lake", recursive=True)
    try:
        with pytest.raises(LakeError, match="--output"):
            write_catalog("memory://catalogued/lake")
        target = write_catalog("memory://catalogued/lake", str(tmp_path / "lake.duckdb"))
        with duckdb.connect(target, read_only=True) as file:
            file.register_filesystem(memory)
            assert file.execute("select count(*) from images").fetchone() == (3,)
    finally:
        memory.rm("/catalogued", recursive=True)
