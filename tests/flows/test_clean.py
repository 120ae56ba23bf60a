"""What `clean` deletes of a lake, and above all what it does not."""

import json
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from compute.methods import Method
from flows.clean import look, studies_of
from flows.errors import UserError
from flows.lake import Lake
from flows.runs import record_run
from flows.study import load_study
from sql.tables import RUNS
from tests.flows.test_runs import of_elsewhere

pytestmark = pytest.mark.prefect

LATER = datetime(2099, 1, 1)


def files(lake: Path) -> set[str]:
    return {str(path.relative_to(lake)) for path in lake.rglob("*") if path.is_file()}


def ran(lake: Path, study) -> None:
    """Note that a study ran in the lake."""
    with record_run(study, Lake(str(lake)), "run"):
        pass


def superfluous(lake: Path, **options) -> set[str]:
    return {one.path for one in look(Lake(str(lake)), **options).superfluous}


@pytest.fixture
def study(study_file):
    return load_study(str(study_file))


def test_the_settings_of_a_run_are_the_study(study, finished_lake):
    assert studies_of(Lake(str(finished_lake))) == {"small": study}
    for name in ("demo", "paper", "paper-attack"):
        built_in = load_study(name)
        assert type(built_in).model_validate_json(built_in.model_dump_json()) == built_in


def test_of_a_finished_study_nothing_goes(typed, finished_lake):
    before = files(finished_lake)
    code, out, _ = typed("clean", "--lake", finished_lake, "--dry-run")
    assert code == 0
    assert "studies that count: small" in out and "nothing is to be deleted" in out
    assert files(finished_lake) == before


def test_a_method_that_the_study_has_no_more_goes(typed, study, study_file, lake_copy):
    before = files(lake_copy)
    ran(lake_copy, study.model_copy(update={"methods": study.methods[:2]}))
    code, out, _ = typed("clean", "--lake", lake_copy, "--dry-run")
    assert code == 0 and "published-lrp-0" in out and "in no study" in out
    assert files(lake_copy) >= before
    code, _, err = typed("clean", "--lake", lake_copy)
    assert code == 2 and "--yes" in err
    assert files(lake_copy) >= before
    code, out, _ = typed("clean", "--lake", lake_copy, "--yes")
    gone = before - files(lake_copy)
    assert code == 0 and f"{len(gone)} files deleted" in out
    assert all("published-lrp-0" in path for path in gone)
    assert {path.partition("/")[0] for path in gone} == {"relevance", "methods", "partials"}
    assert sum(path.startswith("relevance/") for path in gone) == 11
    assert not list(lake_copy.rglob("method=published-lrp-0"))
    assert typed("check", "--lake", lake_copy)[0] == 0
    assert superfluous(lake_copy) == set()


def test_what_a_killed_run_wanted_counts_though_it_has_no_row(typed, study, lake_copy):
    """A study got its third method back, and the run that made its maps was killed on another host."""
    ran(lake_copy, study.model_copy(update={"methods": study.methods[:2]}))
    assert superfluous(lake_copy)
    settings = study.model_dump(mode="json")
    of_elsewhere(Lake(str(lake_copy)), "20990101-000000-aaaa", study=study.name, settings=settings)
    assert superfluous(lake_copy) == set()
    assert "nothing is to be deleted" in typed("clean", "--lake", lake_copy, "--yes")[1]
    assert superfluous(lake_copy, forget=[study.name], given=[study]) == set()


def test_a_study_that_is_named_keeps_its_files(study, study_file, lake_copy):
    ran(lake_copy, study.model_copy(update={"methods": study.methods[:2]}))
    assert superfluous(lake_copy, given=[study]) == set()
    ran(lake_copy, study.model_copy(update={"limit": 1}))
    assert superfluous(lake_copy) == set()


def test_what_was_made_with_other_parameters_goes(study, lake_copy, monkeypatch):
    """As after an update that raised the numerics version of a method."""
    as_row = Method.as_row

    def newer(self):
        row = as_row(self)
        return row | {"version": int(row["version"] or 0) + 1} if self.id == "lrp-alpha1-beta0" else row

    monkeypatch.setattr(Method, "as_row", newer)
    found = look(Lake(str(lake_copy)))
    assert {one.why for one in found.superfluous if one.table == "relevance"} == {
        "made with other parameters than now"
    }
    paths = {one.path for one in found.superfluous}
    assert paths and all("lrp-alpha1-beta0" in path for path in paths)
    assert "methods/lrp-alpha1-beta0.parquet" in paths


def test_inputs_need_not_be_at_hand(study, lake_copy, tmp_path):
    """The study's dataset and model are on another machine: all that is theirs stays."""
    for file in (lake_copy / "runs").glob("*.parquet"):
        file.unlink()
    settings = json.loads(study.model_dump_json())
    settings["dataset"] |= {"source": "folder", "path": "/gone/images"}
    settings["model"] |= {"file": "/gone/network.keras"}
    row = dict.fromkeys(column.name for column in RUNS.columns) | {"run": "r", "study": "small"}
    row |= {"command": "run", "started": LATER, "settings": json.dumps(settings)}
    Lake(str(lake_copy)).write_entity(RUNS, row)
    assert superfluous(lake_copy) == set()


def test_what_an_unknown_study_has_made_stays(typed, study, lake_copy):
    for file in [*(lake_copy / "runs").glob("*.parquet"), *(lake_copy / "logs").glob("*")]:
        file.unlink()
    with pytest.raises(UserError, match="knows no study"):
        look(Lake(str(lake_copy)))
    other = study.model_copy(update={"name": "other", "methods": study.methods[:1]})
    ran(lake_copy, other)
    found = look(Lake(str(lake_copy)))
    assert found.superfluous == []
    assert found.unknown["small"] >= 22
    assert "study small, which has no run in this lake" in typed("clean", "--lake", lake_copy, "--dry-run")[1]
    gone = {one.path for one in look(Lake(str(lake_copy)), forget=["small"]).superfluous}
    assert any(path.startswith("results/") for path in gone)
    assert any("method=lrp-alpha1-beta0" in path for path in gone)
    assert not any("method=lrp-epsilon-0.01" in path for path in gone)


def test_a_forgotten_study_leaves_runs_reports_and_foreign_files(typed, study, lake_copy):
    for foreign in ("notes.parquet", "images/mine.parquet", "my notes.txt"):
        (lake_copy / foreign).write_bytes(b"mine")
    elsewhere = json.loads(study.model_dump_json()) | {"name": "other", "dataset": {"id": "elsewhere"}}
    ran(lake_copy, type(study).model_validate(elsewhere))
    code, out, _ = typed("clean", "--lake", lake_copy, "--forget", "small", "--yes")
    assert code == 0
    assert "kept: images/mine.parquet is no file of the lake" in out
    left = {path.partition("/")[0] for path in files(lake_copy)}
    assert left >= {"runs", "reports", "notes.parquet", "my notes.txt"}
    assert not left & {"predictions", "adversarials", "relevance", "results", "partials"}
    assert files(lake_copy) & {"images/mine.parquet"}


def test_settings_that_are_not_understood_stop_it(lake_copy):
    row = dict.fromkeys(column.name for column in RUNS.columns)
    Lake(str(lake_copy)).write_entity(
        RUNS,
        row
        | {
            "run": "r",
            "study": "new",
            "command": "run",
            "started": LATER,
            "settings": '{"name": "new", "x": 1}',
        },
    )
    with pytest.raises(UserError, match="does not understand the settings that study new"):
        look(Lake(str(lake_copy)))
    assert superfluous(lake_copy, forget=["new"]) == set()


def test_a_faulty_file_stays_and_is_named(lake_copy, study):
    victim = next((lake_copy / "relevance").rglob("method=published-lrp-0/**/*target=3/*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-100])
    ran(lake_copy, study.model_copy(update={"methods": study.methods[:2]}))
    found = look(Lake(str(lake_copy)))
    assert found.faulty == [str(victim.relative_to(lake_copy))]
    assert found.faulty[0] not in {one.path for one in found.superfluous}
    assert pq.read_metadata(next((lake_copy / "images").rglob("*.parquet"))).num_rows == 20
