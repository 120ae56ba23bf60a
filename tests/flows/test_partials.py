"""Partial results: the figures of the analyses over everything, and only what changed is computed anew."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from flows.analyse import analyse, make_units, merge, scope_of, stages
from flows.errors import UserError
from flows.lake import FOOTER_KEY, Lake
from flows.partials import Partials, Unit, _definition, keep_current
from flows.study import Study, load_study
from sql import package
from sql.catalog import Scope, analyses, open_lake
from tests.lake_generator import Specification, generate
from tests.sql.lakes import toy_rows, with_other_designs, write_lake

SPECIFICATION = Specification(
    1150,
    ("lrp-0", "lrp-alpha1-beta0"),
    ("lbfgs", "other"),
    classes=3,
    shape=(4, 4, 3),
    seed=5,
    controlled=True,
)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    made = generate(tmp_path_factory.mktemp("generated") / "lake", SPECIFICATION)
    return Path(made.lake), made.study


@pytest.fixture
def fresh(generated: tuple[Path, str], tmp_path: Path) -> tuple[Lake, Study]:
    """A lake without partial results, in two shards, and its study."""
    root = shutil.copytree(generated[0], tmp_path / "lake")
    return Lake(str(root)), load_study(generated[1])


@pytest.fixture(scope="module")
def analysed_once(generated: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = shutil.copytree(generated[0], tmp_path_factory.mktemp("analysed") / "lake")
    assert analyse(load_study(generated[1]), Lake(str(root))) == len(analyses())
    return root


@pytest.fixture
def analysed(analysed_once: Path, generated: tuple[Path, str], tmp_path: Path) -> tuple[Lake, Study]:
    """A copy of the lake with partial results and results, and its study."""
    root = shutil.copytree(analysed_once, tmp_path / "lake")
    return Lake(str(root)), load_study(generated[1])


def results_of(lake: Lake, study: Study) -> dict[str, pl.DataFrame]:
    return {
        name: pl.read_parquet(f"{lake.root}/results/{name}/{study.name}.parquet").drop("study")
        for name in analyses()
    }


def assert_same_as_without_partials(lake: Lake, study: Study) -> None:
    with open_lake(lake.url, scope=scope_of(study, lake)) as database:
        for name, kept in results_of(lake, study).items():
            assert_frame_equal(kept, database.analyse(name), rel_tol=1e-12, abs_tol=1e-15)


def written_since(lake: Lake, before: dict[str, int]) -> set[str]:
    return {path for path, when in times(lake).items() if before.get(path) != when}


def times(lake: Lake) -> dict[str, int]:
    root = Path(lake.root)
    return {str(p.relative_to(root)): p.stat().st_mtime_ns for p in (root / "partials").rglob("*.parquet")}


def keys_of(paths: set[str]) -> set[tuple[str, ...]]:
    """(partial, method, subject, file) of partial files."""
    return {(p.split("/")[1], *p.split("/")[4:6], p.split("/")[-1]) for p in paths}


def shift_ranks(path: Path) -> None:
    """Give every map of a file the ranks of the next one: another sound file of the same size."""
    table = pq.read_table(path)
    ok = [row["rank"] is not None for row in table.select(["rank"]).to_pylist()]
    moved = ("relevance", "rank", "ties_at_31", "ties_at_307")
    kept = table.filter(pa.array(ok))
    order = pa.array([*range(1, kept.num_rows), 0])
    for name in moved:
        kept = kept.set_column(
            kept.schema.get_field_index(name), kept.schema.field(name), kept[name].take(order)
        )
    pq.write_table(kept, path.with_name(f"{path.stem.rpartition('-')[0]}-{kept.num_rows}.parquet"))
    if kept.num_rows != table.num_rows:
        path.unlink()


def test_results_are_those_of_the_analyses_over_the_whole_lake(analysed: tuple[Lake, Study]) -> None:
    lake, study = analysed
    assert {key[0] for key in keys_of(set(times(lake)))} == set(package.partials())
    assert_same_as_without_partials(lake, study)


def test_nothing_is_computed_twice(analysed: tuple[Lake, Study]) -> None:
    lake, study = analysed
    before = times(lake)
    assert analyse(study, lake) == 0
    assert not written_since(lake, before)
    shutil.rmtree(Path(lake.root) / "results")
    assert analyse(study, lake) == len(analyses())
    assert not written_since(lake, before)


def test_a_changed_partition_costs_its_unit_and_its_quantiles(
    analysed: tuple[Lake, Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, study = analysed
    before = times(lake)
    folder = "relevance/dataset={}/model={}/method=lrp-0/subject=lbfgs/explains=target/target=1"
    [path] = Path(lake.root).glob(folder.format("*", "*") + "/ids-1000-*.parquet")
    shift_ranks(path)
    computed: list[tuple[str, list[str]]] = []
    write = Unit.write
    monkeypatch.setattr(
        Unit, "write", lambda u, *rest: (computed.append((u.partial, u.outdated)), write(u, *rest))
    )
    assert analyse(study, lake) == len(analyses())
    of_shards = {name for name, partial in package.partials().items() if partial.is_of_shard}
    # an example's map is held against that of the next target, too
    among_targets = {name for name in of_shards if package.partials()[name].compares_everything}
    assert {partial for partial, targets in computed if targets == ["1"]} == of_shards - among_targets
    assert {partial for partial, targets in computed if targets == ["0", "1", "2"]} == among_targets
    assert len(computed) == len(package.partials())
    written = keys_of(written_since(lake, before))
    assert {key[1:3] for key in written} == {("lrp-0", "lbfgs")}
    assert {key[0] for key in written if key[3].startswith("ids-1000-")} == of_shards
    assert_same_as_without_partials(lake, study)


def test_comparisons_follow_their_originals(analysed: tuple[Lake, Study]) -> None:
    lake, study = analysed
    before = times(lake)
    folder = "relevance/*/*/method=lrp-0/subject=original/explains=label/target=*"
    [path] = Path(lake.root).glob(folder + "/ids-0-*.parquet")
    shift_ranks(path)
    analyse(study, lake)
    written = keys_of(written_since(lake, before))
    compared = {name for name, partial in package.partials().items() if partial.compares}
    assert {(key[0], key[2]) for key in written if key[3].startswith("ids-0-")} == {
        *((name, attack) for name in compared for attack in ("lbfgs", "other")),
        ("value_counts", "original"),
    }
    assert_same_as_without_partials(lake, study)


def test_comparisons_follow_what_became_of_the_attack(analysed: tuple[Lake, Study]) -> None:
    lake, study = analysed
    before = times(lake)
    [path] = Path(lake.root).glob("adversarials/*/*/attack=other/target=2/ids-0-*.parquet")
    table = pq.read_table(path)
    first = table["status"].to_pylist().index("success")
    status = ["failed" if row == first else text for row, text in enumerate(table["status"].to_pylist())]
    reason = ["test" if row == first else text for row, text in enumerate(table["reason"].to_pylist())]
    for name, values in (("status", status), ("reason", reason)):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values, pa.string()))
    pq.write_table(table, path)
    analyse(study, lake)
    written = keys_of(written_since(lake, before))
    assert {key[1:] for key in written} == {
        (method, "other", key[3]) for method in study.methods for key in written
    }
    assert {key[0] for key in written} == {n for n, partial in package.partials().items() if partial.compares}
    assert_same_as_without_partials(lake, study)


@pytest.mark.parametrize("limit", [40, 1040])
def test_studies_of_fewer_images_have_partial_results_of_their_own(
    analysed: tuple[Lake, Study], limit: int
) -> None:
    lake, study = analysed
    before = times(lake)
    fewer = study.model_copy(update={"limit": limit, "name": "fewer"})
    assert analyse(fewer, lake) == len(analyses())
    assert set(before) == set(times(lake)) - written_since(lake, before)
    assert_same_as_without_partials(lake, fewer)
    assert_same_as_without_partials(lake, study)


def test_other_sql_makes_partial_results_anew(
    analysed: tuple[Lake, Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, study = analysed
    before = times(lake)
    partials = package.partials()
    changed = replace(partials["shift_counts"], sql=partials["shift_counts"].sql + " having count(*) > 0")
    monkeypatch.setattr(package, "partials", lambda: partials | {"shift_counts": changed})
    monkeypatch.setattr("flows.partials._definition", _definition.__wrapped__)
    scope = scope_of(study, lake)
    outdated = [unit for unit in Partials(scope, lake).of_shards() if not unit.is_current]
    assert {unit.partial for unit in outdated} == {"shift_counts"}
    assert not written_since(lake, before)


def test_a_file_that_is_no_partial_result_is_made_anew(analysed: tuple[Lake, Study]) -> None:
    lake, study = analysed
    [path] = Path(lake.root).glob("partials/pair_ranks/*/*/lrp-0/lbfgs/target/ids-0-999.parquet")
    pq.write_table(pa.table({"a": [1]}), path)
    assert FOOTER_KEY not in (pq.read_metadata(path).metadata or {})
    shutil.rmtree(Path(lake.root) / "results")
    analyse(study, lake)
    assert_same_as_without_partials(lake, study)


def test_pieces_of_work_can_be_done_one_by_one_elsewhere(fresh: tuple[Lake, Study]) -> None:
    lake, study = fresh

    def work() -> Iterator[int]:
        for stage in stages(study, lake):
            for units in stage:
                make_units(Lake(lake.url), units)
            yield len(stage)

    series = 2 * (1 + 2)
    assert list(work()) == [series * 2, series]
    assert merge(study, lake) == len(analyses())
    assert_same_as_without_partials(lake, study)
    assert list(work()) == []


def test_queries_read_what_is_current(analysed: tuple[Lake, Study]) -> None:
    lake, _ = analysed
    with open_lake(lake.url) as direct, open_lake(lake.url) as kept:
        keep_current(kept, Scope())
        views = kept.query("select sql from duckdb_views() where view_name = 'pair_ranks'").item()
        assert "partials/pair_ranks" in views
        for name in ("topk_overlap", "relevance_quantiles", "overlap_curve"):
            assert_frame_equal(kept.analyse(name), direct.analyse(name), rel_tol=1e-12)
    [path] = Path(lake.root).glob("relevance/*/*/method=lrp-0/subject=lbfgs/*/target=1/ids-1000-*.parquet")
    shift_ranks(path)
    with open_lake(lake.url, verify=False) as direct, open_lake(lake.url, verify=False) as kept:
        keep_current(kept, Scope())
        assert_frame_equal(kept.analyse("topk_overlap"), direct.analyse("topk_overlap"), rel_tol=1e-12)


def test_relevance_beyond_its_range_is_named(fresh: tuple[Lake, Study]) -> None:
    lake, study = fresh
    [path] = Path(lake.root).glob("relevance/*/*/method=lrp-0/subject=lbfgs/*/target=1/ids-1000-*.parquet")
    table = pq.read_table(path)
    doubled = [
        None if row is None else [2 * value for value in row] for row in table["relevance"].to_pylist()
    ]
    place = table.schema.get_field_index("relevance")
    pq.write_table(
        table.set_column(place, "relevance", pa.array(doubled, table.schema.field(place).type)), path
    )
    with pytest.raises(UserError, match=r"lrp-0 lbfgs target, shard 1: a relevance of -?[12].*; .* check"):
        analyse(study, lake)


@pytest.fixture
def designed(tmp_path: Path) -> Path:
    """A lake of one method and attack with the 2 x 2 design and controls, without partial results."""
    rows = toy_rows(image_ids=tuple(range(9)), methods=("lrp-0",), attacks=("lbfgs",), seed=1)
    return write_lake(tmp_path / "designed", with_other_designs(rows))


def assert_compared_as_by_sql(root: Path, scope: Scope) -> None:
    """Bring what compares the ranks of maps up to date, and hold it against the SQL that defines it."""
    lake = Lake(str(root))
    make_units(lake, [unit for unit in Partials(scope, lake).of_shards() if unit.partial == "compared_ranks"])
    units = [
        unit for unit in Partials(scope, Lake(str(root))).of_shards() if unit.partial == "compared_ranks"
    ]
    assert all(unit.is_current for unit in units)
    query, keys = "select * from compared_ranks", ["subject", "explains", "target", "image_id", "reference"]
    with open_lake(lake.url, scope=scope) as direct, open_lake(lake.url, scope=scope) as kept:
        kept.keep("compared_ranks", [unit.path for unit in units])
        assert_frame_equal(kept.query(query).sort(keys), direct.query(query).sort(keys), rel_tol=1e-11)


def test_maps_of_one_target_that_come_later_leave_the_next_target_what_it_was(designed: Path) -> None:
    [path] = designed.glob("relevance/*/*/*/subject=original/explains=target/target=0/*.parquet")
    held_back = path.rename(designed.parent / path.name)
    assert_compared_as_by_sql(designed, Scope())
    held_back.rename(path)
    assert_compared_as_by_sql(designed, Scope())


def test_points_of_the_way_that_are_none_of_the_study_are_passed_over(designed: Path) -> None:
    assert_compared_as_by_sql(designed, Scope(attacks=("lbfgs", "path-0.25-lbfgs")))
    assert_compared_as_by_sql(designed, Scope())


def test_examples_that_have_no_maps_yet_are_the_next_ones_all_the_same(designed: Path) -> None:
    for path in designed.glob("relevance/*/*/*/subject=lbfgs/*/target=0/*.parquet"):
        path.unlink()
    [path] = designed.glob("adversarials/*/*/attack=lbfgs/target=0/*.parquet")
    held_back = path.rename(designed.parent / path.name)
    assert_compared_as_by_sql(designed, Scope())
    held_back.rename(path)
    assert_compared_as_by_sql(designed, Scope())
