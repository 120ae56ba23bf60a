"""A part of a lake as a lake of its own: copied bytes, and everything that a reader does works there."""

from pathlib import Path

import pytest

from flows.errors import UserError
from flows.export import export, narrowed
from flows.lake import Lake
from flows.plan import Plan
from flows.study import load_study
from sql.catalog import open_lake
from tests.flows.stored import assert_same_lakes

pytestmark = pytest.mark.prefect


def partitions(lake: Path) -> dict[str, bytes]:
    tables = ("images", "predictions", "adversarials", "relevance")
    return {str(p.relative_to(lake)): p.read_bytes() for t in tables for p in (lake / t).rglob("*.parquet")}


def test_a_whole_study_is_the_same_bytes_and_the_same_results(typed, study_file, finished_lake, tmp_path):
    copy = tmp_path / "copy"
    code, out, _ = typed("export", study_file, "--lake", finished_lake, "--output", copy)
    assert code == 0 and "files written" in out
    assert partitions(copy) == partitions(finished_lake)
    assert_same_lakes(copy, finished_lake)
    with open_lake(str(copy)) as lake:
        maps, size = lake.query("select maps, bytes from runs").row(0)
    assert maps == 60 and size >= sum(map(len, partitions(copy).values()))
    assert Plan(load_study(str(study_file)), Lake(str(copy))).is_complete()
    assert typed("check", "--lake", copy)[0] == 0
    code, out, _ = typed("report", study_file, "--lake", copy)
    assert code == 0 and (copy / "reports" / "small.html").stat().st_size > 500_000
    query = "select count(*) as maps from relevance"
    assert typed("sql", query, "--lake", copy, "--format", "csv")[1] == "maps\n60\n"
    code, out, _ = typed("export", study_file, "--lake", finished_lake, "--output", copy)
    assert code == 0 and "export: 0 files written" in out


def test_a_part_is_a_lake_of_its_own(typed, study_file, finished_lake, tmp_path):
    part = tmp_path / "part"
    words = ("export", study_file, "--lake", finished_lake, "--output", part)
    code, _, err = typed(*words, "--limit", 1, "--method", "lrp-epsilon-0.01", "--target", 1, "--target", 5)
    assert code == 0, err
    with open_lake(str(part)) as new, open_lake(str(finished_lake)) as old:
        counts = new.query("select subject, target, count(*) as n from relevance group by all order by all")
        assert counts.rows() == [("lbfgs", 1, 1), ("lbfgs", 5, 1), ("original", None, 1)]
        first = new.query("select min(image_id) from relevance").item()
        question = (
            f"select * from relevance where method = 'lrp-epsilon-0.01' and image_id = {first} "
            "and (target in (1, 5) or target is null) order by subject, target"
        )
        assert new.query(question).equals(old.query(question))
        assert new.query("select method from methods")["method"].to_list() == ["lrp-epsilon-0.01"]
        assert new.query("select command, outcome from runs").rows() == [("export", "completed")]
        assert new.query("select distinct pairs from results.topk_overlap")["pairs"].to_list() == [2]
        assert new.query("select count(*) from images").item() == 20
    assert typed("check", "--lake", part)[0] == 0
    assert typed("report", study_file, "--lake", part)[0] == 0
    path = next(path for path in Lake(str(part)).paths("relevance") if "subject=lbfgs" in path)
    source = next(path for path in Lake(str(finished_lake)).paths(path.rpartition("/")[0]))
    assert Lake(str(part)).footer(path) == Lake(str(finished_lake)).footer(source)
    assert typed(*words)[0] == 0  # all of it, over the part
    assert partitions(part) == partitions(finished_lake)
    assert typed("check", "--lake", part)[0] == 0


def test_a_study_goes_on_from_its_part(study_file, finished_lake, tmp_path):
    study = load_study(str(study_file))
    part = Lake(str(tmp_path / "part"))
    export(narrowed(study, methods=["lrp-alpha1-beta0"]), Lake(str(finished_lake)), part)
    missing = [p for p in Plan(study, Lake(part.url)).known() if part.find(p) is None]
    assert {dict(p.keys)["method"] for p in missing} == {"lrp-epsilon-0.01", "published-lrp-0"}


def test_what_cannot_be_exported_is_refused(typed, study_file, finished_lake, lake_copy):
    words = ("export", study_file, "--lake", lake_copy, "--output")
    for more, said in (
        ((lake_copy,), "is the lake itself"),
        (("x", "--method", "gradient"), "has no method gradient: there are lrp-epsilon-0.01"),
        (("x", "--attack", "pgd"), "has no attack pgd"),
    ):
        code, _, err = typed(*words, *more)
        assert code == 2 and said in " ".join(err.split())
    next((lake_copy / "relevance").rglob("*target=3/*.parquet")).unlink()
    with pytest.raises(UserError, match="lacks 1 of"):
        export(load_study(str(study_file)), Lake(str(lake_copy)), Lake("memory://x"))
