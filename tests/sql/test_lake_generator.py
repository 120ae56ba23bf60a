"""Synthetic lakes are sound lakes, the same for the same seed, and as odd as real ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.errors import UserError
from flows.lake import Lake
from flows.plan import Plan
from flows.study import load_study
from sql.catalog import LakeDatabase, open_lake
from tests.lake_generator import Generated, Specification, generate

SMALL = Specification(300, ("lrp-0", "lrp-alpha1-beta0", "gradient"), ("lbfgs",), classes=4, shape=(8, 8, 3))
TINY = replace(SMALL, images=12, methods=("lrp-0",), attacks=("lbfgs", "other"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Generated:
    return generate(tmp_path_factory.mktemp("generated") / "lake", SMALL)


@pytest.fixture(scope="module")
def database(small: Generated):
    with open_lake(small.lake) as lake:
        yield lake


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_data_check_passes(database: LakeDatabase) -> None:
    checked = database.check()
    assert checked.height > 10
    assert checked.filter(pl.col("violations") > 0).to_dicts() == []


def test_study_beside_it_takes_the_lake_for_its_own(small: Generated) -> None:
    plan = Plan(load_study(small.study), Lake(small.lake))
    plan.check_inputs()
    assert plan.is_complete()
    assert len(plan.chosen().image_id) == small.originals == SMALL.images


def test_counts_are_those_of_the_files(small: Generated, database: LakeDatabase) -> None:
    counted = database.query("select count(*) from relevance").item()
    assert small.maps == counted == (SMALL.images + small.successes) * len(SMALL.methods)
    rate = database.query("select avg((status = 'success')::integer) from adversarials").item()
    assert 0.94 < rate < 0.99


def test_maps_are_of_every_status_and_some_have_ties(database: LakeDatabase) -> None:
    counts = dict(database.query("select status, count(*) from relevance group by status").iter_rows())
    assert set(counts) == {"ok", "zero", "non_finite"}
    assert counts["ok"] > 0.99 * sum(counts.values())
    assert database.query("select max(ties_at_307) from relevance").item() > 10
    reasons = database.query("select distinct reason from adversarials where status = 'failed'")
    assert reasons["reason"].null_count() == 0 and reasons.height > 1


def test_maps_are_spread_as_those_of_lrp(database: LakeDatabase) -> None:
    signs = database.query(
        "select method, bool_or(list_min(relevance) < 0) from relevance where status = 'ok' group by method"
    )
    assert dict(signs.iter_rows()) == {"lrp-0": True, "lrp-alpha1-beta0": False, "gradient": True}
    values = database.query(
        "select unnest(relevance) as value from relevance where method = 'lrp-0' and status = 'ok'"
    )["value"].to_numpy()
    level = np.quantile(np.abs(values), [0.5, 0.9, 0.99])
    assert level[1] > 6 * level[0] and level[2] > 3 * level[1]  # a normal has 2.4 and 1.6
    assert 0.003 < np.mean(values == 0) < 0.02


def test_adversarial_maps_overlap_with_their_originals_as_in_the_paper(database: LakeDatabase) -> None:
    overlaps = database.query(
        """
        select method, avg(len(list_filter(list_zip(a.rank, b.rank), lambda r: r[1] < 19 and r[2] < 19)) / 19)
        from relevance as a inner join relevance as b using (method, image_id)
        where a.explains = 'label' and b.explains = 'target' group by method
        """
    )
    found = dict(overlaps.iter_rows())
    assert 0.4 < found["lrp-0"] < found["lrp-alpha1-beta0"] < 0.75


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second, other = (
        generate(tmp_path / name, replace(TINY, seed=seed)) for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert contents(Path(first.lake)) == contents(Path(second.lake))
    assert contents(Path(first.lake)) != contents(Path(other.lake))


def test_lost_file_is_made_again_as_it_was_and_the_others_are_left_alone(tmp_path: Path) -> None:
    lake = Path(generate(tmp_path / "lake", TINY).lake)
    before = contents(lake)
    written = {path: path.stat().st_mtime_ns for path in lake.rglob("*.parquet")}
    lost = next(lake.glob("relevance/**/subject=other/**/*.parquet"))
    lost.unlink()
    generate(lake, TINY)
    assert contents(lake) == before
    assert {path for path, time in written.items() if path.stat().st_mtime_ns != time} == {lost}


def test_another_lake_is_not_extended(tmp_path: Path) -> None:
    generate(tmp_path / "lake", TINY)
    with pytest.raises(UserError, match="name another lake"):
        generate(tmp_path / "lake", replace(TINY, seed=1))
