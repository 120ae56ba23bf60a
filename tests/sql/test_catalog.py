"""Opening lakes: views, scope, results, damaged and missing files, the data dictionary, the checks."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from lakes import ATTACKS, DATASET, METHODS, MODEL, Rows, map_columns, toy_rows, write_lake

from sql import package
from sql.catalog import LakeDatabase, LakeError, Scope, analyses, data_dictionary, open_lake
from sql.tables import TABLES

COMPONENTS = """
    select band_size(0.01, 3072), band_size(0.1, 3072), band_size(0, 3072), band_size(0.01, 48),
    component_y(102, 32, 3), component_x(102, 32, 3), component_channel(101, 3)
"""


@pytest.fixture
def rows() -> Rows:
    return toy_rows()


@pytest.fixture
def root(tmp_path: Path, rows: Rows) -> Path:
    return write_lake(tmp_path / "lake", rows)


def test_tables_come_back_as_they_were_written(root: Path, rows: Rows) -> None:
    with open_lake(str(root)) as lake:
        for name, table in TABLES.items():
            frame = lake.query(f"select * from {name}")
            assert frame.columns == [column.name for column in table.keys + table.columns]
            assert frame.height == len(rows[name])
        maps = lake.query("select * from relevance where subject = 'original' order by method, image_id")
        written = sorted(
            (row for row in rows["relevance"] if row["subject"] == "original"),
            key=lambda row: (row["method"], row["image_id"]),
        )
        assert maps["target"].null_count() == len(maps) and maps["target"].dtype == pl.Int32
        for found, row in zip(maps.rows(named=True), written, strict=True):
            np.testing.assert_array_equal(found["relevance"], row["relevance"])
            if row["rank"] is None:
                assert found["rank"] is None
            else:
                np.testing.assert_array_equal(found["rank"], row["rank"])


def test_a_table_without_files_is_empty_with_the_same_columns_and_types(tmp_path: Path, root: Path) -> None:
    empty = tmp_path / "empty"
    (empty / "images").mkdir(parents=True)
    with open_lake(str(root)) as full, open_lake(str(empty)) as bare:
        for name in [*TABLES, *analyses()]:
            expected = full.query(f"describe {name}")
            assert bare.query(f"describe {name}").rows() == expected.rows(), name
            assert bare.query(f"select count(*) from {name}").item() == 0 or name == "study_overview"


def test_a_view_alone_has_all_that_it_reads(root: Path) -> None:
    with open_lake(str(root)) as full:
        for name in analyses().keys() | package.partials().keys():
            with LakeDatabase(str(root), only=[name]) as alone:
                assert alone.query(f"describe {name}").rows() == full.query(f"describe {name}").rows()
                for other in package.partials():
                    alone.keep(other, [])
                assert alone.query(f"select count(*) from {name}").height == 1


def test_temporary_files_are_not_read(root: Path) -> None:
    file = next((root / "images").rglob("*.parquet"))
    file.with_name(".tmp-" + file.name).write_bytes(b"half written")
    with open_lake(str(root)) as lake:
        assert lake.query("select count(*) from images").item() == 8


def test_odd_folder_names_are_taken_as_they_are(tmp_path: Path, rows: Rows) -> None:
    root = write_lake(tmp_path / "it's [1]*, dataset=x" / "lake", rows)
    with open_lake(str(root)) as lake:
        assert lake.query("select count(*) from images where dataset = ?", [DATASET]).item() == 8


def test_scope_shows_only_its_part(tmp_path: Path, rows: Rows) -> None:
    other = toy_rows(dataset="other-test", image_ids=(0, 1), seed=7)
    control = [row | {"subject": "noise-lbfgs"} for row in rows["relevance"] if row["subject"] == "lbfgs"]
    second_model = [row | {"model": "second"} for row in rows["relevance"]]
    joined = {name: rows[name] + other[name] for name in rows}
    joined["relevance"] = joined["relevance"] + control + second_model
    root = write_lake(tmp_path / "lake", joined)
    scope = Scope(DATASET, MODEL, ("lbfgs",), (METHODS[0],))
    with open_lake(str(root), scope=scope) as lake:
        assert lake.query("select distinct dataset, model from predictions").rows() == [(DATASET, MODEL)]
        assert lake.query("select count(*) from images").item() == len(rows["images"])
        kept = [row for row in rows["relevance"] if row["subject"] in ("original", "lbfgs")]
        kept = [row for row in kept if row["method"] == METHODS[0]]
        assert lake.query("select count(*) from relevance").item() == len(kept)
        kept = [row for row in rows["adversarials"] if row["attack"] == "lbfgs"]
        assert lake.query("select count(*) from adversarials").item() == len(kept)
        assert lake.query("select attack from attacks").rows() == [("lbfgs",)]
        assert lake.query("select count(*) from imports").item() == (ATTACKS[-1] == "lbfgs")
        assert lake.query("select method from methods").rows() == [(METHODS[0],)]
        assert lake.analyse("topk_overlap")["attack"].unique().to_list() == ["lbfgs"]
    with open_lake(str(root), scope=Scope(DATASET, MODEL, (), ())) as lake:
        assert lake.query("select count(*) from adversarials").item() == 0
        assert lake.analyse("topk_overlap").height == 0
    with open_lake(str(root), scope=Scope("it's not there", MODEL, ATTACKS, METHODS)) as lake:
        assert lake.query("select count(*) from images").item() == 0
    with open_lake(str(root)) as lake:
        assert lake.query("select count(*) from images").item() == len(joined["images"])


def test_datasets_of_different_size_share_a_lake(tmp_path: Path, rows: Rows) -> None:
    """Beyond 65,536 components ranks are uint32: both datasets are read, whichever file comes first."""
    large = toy_rows(
        dataset="a-large",
        shape=(150, 150, 3),
        image_ids=(0,),
        classes=3,
        attacks=("lbfgs",),
        methods=("lrp-0",),
        seed=1,
    )
    for seed, row in enumerate(large["relevance"]):
        row |= map_columns(np.random.default_rng(seed).normal(size=67_500).astype(np.float32))
    assert {row["subject"] for row in large["relevance"]} == {"original", "lbfgs"}
    root = write_lake(tmp_path / "lake", {name: rows[name] + large[name] for name in rows})
    with open_lake(str(root)) as lake:
        largest = lake.query("select dataset, max(list_max(rank)) from relevance group by 1 order by 1")
        assert largest.rows() == [("a-large", 67_499), (DATASET, 47)]
        assert set(lake.analyse("topk_overlap")["dataset"]) == {"a-large", DATASET}


def test_stored_results_are_views_of_their_own_schema(root: Path) -> None:
    with open_lake(str(root)) as lake:
        live = lake.analyse("attack_summary")
    folder = root / "results" / "attack_summary"
    folder.mkdir(parents=True)
    for study in ("demo", "paper"):
        live.insert_column(0, pl.lit(study).alias("study")).write_parquet(folder / f"{study}.parquet")
        live = live.drop("study")
    with open_lake(str(root)) as lake:
        stored = lake.query("select * from results.attack_summary where study = 'paper'")
        assert stored.drop("study").equals(live)
        assert lake.query("select count(*) from results.attack_summary").item() == 2 * live.height


def test_published_figures_are_the_printed_ones(root: Path) -> None:
    with open_lake(str(root)) as lake:
        found = lake.query(
            "select value from published_figures where source = 'Table 4' and method = 'lrp-epsilon-0.01' "
            "and subject = 'original' and statistic = 'relevance_quantile' and level = 0.9"
        )
        assert found.item() == 0.1001
        assert lake.query("select source, count(*) from published_figures group by 1 order by 1").rows() == [
            ("Table 3", 63), ("Table 4", 63), ("Table 5", 15), ("text", 28),
        ]  # fmt: skip
        overlap = lake.query(
            "select value from published_figures where method = 'lrp-alpha1-beta0' and original_band = '1 %' "
            "and adversarial_band = '10 %' and statistic = 'overlap'"
        )
        assert overlap.item() == 0.93


def test_macros(root: Path) -> None:
    with open_lake(str(root)) as lake:
        assert lake.query(COMPONENTS).row(0) == (31, 307, 1, 1, 1, 2, 2)


@pytest.mark.parametrize("make", ["missing", "empty folder", "other folder", "file"])
def test_no_lake_there(tmp_path: Path, make: str) -> None:
    path = tmp_path / "place"
    if make == "file":
        path.write_text("text")
    elif make != "missing":
        (path / "photos" if make == "other folder" else path).mkdir(parents=True)
    with pytest.raises(LakeError) as refused:
        open_lake(str(path))
    assert str(path) in str(refused.value)
    assert "relevance-lake run demo --lake" in str(refused.value)


def test_unknown_storage_and_bad_limits(root: Path) -> None:
    with pytest.raises(LakeError, match="nosuch://bucket"):
        open_lake("nosuch://bucket/lake")
    with pytest.raises(LakeError, match="plenty"):
        open_lake(str(root), memory_limit="plenty")
    with open_lake(str(root), memory_limit="512MB", threads=1) as lake:
        assert lake.query("select current_setting('threads')").item() == 1
        with pytest.raises(LakeError, match="topk_overlap"):
            lake.analyse("topk_overlaps")


def test_a_bucket_through_fsspec(root: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(root), "/bucket/lake", recursive=True)
    try:
        with open_lake(str(root)) as local, open_lake("memory://bucket/lake") as lake:
            for name in ("topk_overlap", "study_overview"):
                assert lake.analyse(name).equals(local.analyse(name))
        with pytest.raises(LakeError, match="no lake at memory:///bucket/other"):
            open_lake("memory://bucket/other")
    finally:
        memory.rm("/bucket", recursive=True)


DAMAGE = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "text": lambda data: b"this is no Parquet file at all\n",
    "pages": lambda data: data[:40] + bytes(255 - b for b in data[40:-4000]) + data[-4000:],
}


@pytest.mark.parametrize("which", [0, -1], ids=["first file", "last file"])
@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_named_with_its_remedy(tmp_path: Path, how: str, which: int) -> None:
    root = write_lake(tmp_path / "lake", toy_rows(shape=(16, 16, 3)))
    file = sorted((root / "relevance").rglob("*.parquet"))[which]
    file.write_bytes(DAMAGE[how](file.read_bytes()))
    with pytest.raises(LakeError) as refused, open_lake(str(root)) as lake:
        lake.analyse("relevance_moments")
    assert str(file) in str(refused.value)
    assert "delete it and run the study again" in str(refused.value)


def test_a_file_of_another_kind_is_refused(root: Path) -> None:
    pl.DataFrame({"a": [1]}).write_parquet(root / "methods" / "alien.parquet")
    with pytest.raises(LakeError, match="methods"):
        open_lake(str(root))


def test_data_dictionary_names_every_column(root: Path) -> None:
    frame = data_dictionary()
    assert frame.columns == ["table", "column", "type", "unit", "meaning"]
    with open_lake(str(root)) as lake:
        for name in [*TABLES, *analyses()]:
            described = [(row[0], row[1].lower()) for row in lake.query(f"describe {name}").rows()]
            assert frame.filter(pl.col("table") == name).select("column", "type").rows() == described
    rank = frame.filter((pl.col("table") == "relevance") & (pl.col("column") == "rank"))
    assert "0 = most relevant" in rank["meaning"].item()


def test_opening_and_counting_is_quick_and_light(root: Path) -> None:
    script = (
        "import sys; from sql.catalog import open_lake\n"
        f"with open_lake({str(root)!r}) as lake: rows = lake.arrow('select count(*) as n from relevance')\n"
        "heavy = {'tensorflow', 'keras', 'prefect', 'pandas', 'pydantic', 'polars'} & set(sys.modules)\n"
        "print(rows['n'][0], sorted(heavy))"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
    assert int(done.stdout.split()[0]) > 0
    assert done.stderr == ""
    assert time.perf_counter() - started < 10
