"""--force makes one step anew, in place, and nothing else."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows import attack, explain, ingest
from flows.analyse import analyse, forget
from flows.errors import LakeMismatch, UserError
from flows.force import require_same_images
from flows.lake import Lake
from flows.plan import Plan
from flows.study import load_study
from sql.package import analyses
from tests.flows.stored import assert_same_lakes

pytestmark = pytest.mark.prefect


def stamps(lake: Path) -> dict[str, int]:
    return {str(path.relative_to(lake)): path.stat().st_mtime_ns for path in lake.rglob("*.parquet")}


def changed(lake: Path, before: dict[str, int]) -> set[str]:
    after = stamps(lake)
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


@pytest.fixture
def study(study_file):
    return load_study(str(study_file))


def test_a_step_by_the_command_line(typed, study_file, lake_copy, finished_lake, prefect_server):
    before = stamps(lake_copy)
    assert "0 files written, 33 found current" in typed("explain", study_file, "--lake", lake_copy)[1]
    assert not any(path.startswith("relevance/") for path in changed(lake_copy, before))
    code, out, err = typed("explain", study_file, "--lake", lake_copy, "--force")
    assert code == 0, err
    assert "explain: 33 files written, 0 found current" in out
    made = {path for path in changed(lake_copy, before) if not path.startswith("runs/")}
    assert made == {path for path in before if path.startswith("relevance/")}
    assert_same_lakes(lake_copy, finished_lake)


def test_only_what_the_study_wants_is_made_anew(study, lake_copy):
    before = stamps(lake_copy)
    narrow = study.model_copy(update={"methods": study.methods[:1]})
    lake = Lake(str(lake_copy))
    for unit in explain.missing_units(narrow, lake, force=True):
        explain.explain_unit(narrow, lake, unit, force=True)
    wanted = {path for path in before if f"method={study.methods[0]}/" in path}
    assert len(wanted) == 11
    assert changed(lake_copy, before) == wanted


def test_attacks_that_come_out_the_same_keep_their_maps(study, lake_copy):
    before = stamps(lake_copy)
    lake = Lake(str(lake_copy))
    for unit in attack.missing_shards(study, lake, force=True):
        attack.attack_shard(study, lake, *unit, force=True)
    assert changed(lake_copy, before) == {path for path in before if path.startswith("adversarials/")}


def test_other_examples_lose_the_maps_of_those_before(study, lake_copy):
    """As if the examples in the lake had been made by other versions of the packages."""
    lake = Lake(str(lake_copy))
    path = next(path for path in lake.paths("adversarials") if "target=3/" in path)
    rows = lake.read(path)
    change_column(lake, path, "l2", pa.array([0.5] * rows.num_rows, pa.float32()))
    before = stamps(lake_copy)
    for unit in attack.missing_shards(study, lake, force=True):
        attack.attack_shard(study, lake, *unit, force=True)
    maps = {path for path in before if path.startswith("relevance/") and "subject=lbfgs/" in path}
    gone = {path for path in maps if "/target=3/" in path}
    assert len(gone) == 3
    assert before.keys() - stamps(lake_copy).keys() == gone
    assert lake.read(path).equals(rows)


def change_column(lake: Lake, path: str, name: str, values: pa.Array) -> None:
    rows = lake.read(path)
    other = rows.set_column(rows.column_names.index(name), rows.schema.field(name), values)
    pq.write_table(other.replace_schema_metadata(rows.schema.metadata), f"{lake.url}/{path}")


@pytest.mark.parametrize(("moved", "kept"), [(1e-6, True), (0.01, False)])
def test_examples_that_were_lost_lose_the_maps_of_others(study, lake_copy, finished_lake, moved, kept):
    """As if the lost examples had had other pixels, for which one method's maps started elsewhere."""
    lake = Lake(str(lake_copy))
    examples = next(path for path in lake.paths("adversarials") if "target=3/" in path)
    maps = [path for path in lake.paths("relevance") if "subject=lbfgs/" in path and "/target=3/" in path]
    assert len(maps) == 3
    start = np.asarray(lake.read(maps[1])["start"])
    change_column(lake, maps[1], "start", pa.array(start + np.float32(moved)))
    lake.delete(examples)
    for unit in attack.missing_shards(study, lake):
        attack.attack_shard(study, lake, *unit)
    assert lake.exists(examples)
    assert [lake.exists(path) for path in maps] == [kept] * 3
    if not kept:
        for unit in explain.missing_units(study, lake):
            explain.explain_unit(study, lake, unit)
        assert_same_lakes(lake_copy, finished_lake)


def test_images_predictions_and_results_are_made_anew(study, lake_copy, finished_lake):
    before = stamps(lake_copy)
    lake = Lake(str(lake_copy))
    ingest.predict(study, lake, ingest.ingest_images(study, lake, force=True), force=True)
    assert {path.partition("/")[0] for path in changed(lake_copy, before)} == {"images", "predictions"}
    before = stamps(lake_copy)
    forget(study, lake)
    assert analyse(study, Lake(str(lake_copy))) == len(analyses())
    assert {path.partition("/")[0] for path in changed(lake_copy, before)} == {"partials", "results"}
    assert_same_lakes(lake_copy, finished_lake)


def test_more_images_than_the_study_has_are_not_lost(study, lake_copy):
    few = study.model_copy(update={"limit": 1})
    for missing in (attack.missing_shards, explain.missing_units):
        with pytest.raises(UserError, match="--force would leave its 1 alone"):
            missing(few, Lake(str(lake_copy)), force=True)


def test_other_predictions_are_refused(study, lake_copy):
    lake = Lake(str(lake_copy))
    partition = Plan(study, lake).predictions(20)[0]
    correct = lake.read(partition.file)["correct"].to_numpy(zero_copy_only=False).copy()
    require_same_images(lake, partition, correct)
    correct[7] = not correct[7]
    with pytest.raises(UserError, match="1 images are classified otherwise, such as 7"):
        require_same_images(lake, partition, correct)


def test_other_parameters_are_refused_with_force_too(typed, study_file, lake_copy, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(study_file.read_text().replace("history = 8", "history = 7"))
    before = stamps(lake_copy)
    for words in (["attack"], ["attack", "--force"], ["run"]):
        code, _, err = typed(*words, other, "--lake", lake_copy)
        said = " ".join(err.split())
        assert code == 2 and "Traceback" not in said
        assert "was made from other inputs than this study's: attack.history was 8, the study has 7" in said
        assert "Use another lake, another id in the study" in said and "relevance-lake clean" in said
    assert changed(lake_copy, before) == set()
    with pytest.raises(LakeMismatch):
        Plan(load_study(str(other)), Lake(str(lake_copy))).check_inputs()


def test_versions_stand_in_every_partition(lake_copy):
    lake = Lake(str(lake_copy))
    for table in ("images", "predictions", "adversarials", "relevance"):
        for path in lake.paths(table):
            recorded = lake.footer(path)["recorded"]
            assert recorded["study"] == "small" and recorded["batch_size"] == 16
            assert {"relevance-lake", "numpy", "pyarrow", "duckdb", "keras"} <= recorded["versions"].keys()
