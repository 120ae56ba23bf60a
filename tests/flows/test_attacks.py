"""Several attacks in one study, targeted and not: what is stored, extended, resumed, compared, reported."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from flows import attack as attacking
from flows.lake import Lake
from flows.plan import Plan
from flows.study import load_study
from sql.catalog import open_lake
from sql.tables import ADVERSARIALS

pytestmark = pytest.mark.prefect

STUDY = """
name = "several"
limit = 3
batch_size = 16
methods = ["gradient", "published-lrp-0"]

[[attacks]]
id = "lbfgs"

[[attacks]]
algorithm = "bim-linf"
epsilon = 0.03

[[attacks]]
algorithm = "fgsm"
epsilon = 0.004
"""
ATTACKS = ["bim-linf-0.03", "fgsm-0.004", "lbfgs"]


@pytest.fixture(scope="module")
def study_file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("study") / "several.toml"
    file.write_text(STUDY)
    return file


@pytest.fixture(scope="module")
def run(study_file, prefect_server, tmp_path_factory) -> tuple[Path, str]:
    """(lake, report) of the study; tests that write copy the lake."""
    from flows.pipeline import pipeline

    lake = tmp_path_factory.mktemp("several") / "lake"
    report = pipeline(study=str(study_file), lake=str(lake))
    return lake, Path(report).read_text()


@pytest.fixture
def copied(run, tmp_path) -> Path:
    import shutil

    return Path(shutil.copytree(run[0], tmp_path / "lake"))


def rows_of(lake, attack) -> list[dict]:
    with open_lake(str(lake)) as database:
        query = f"select * from adversarials where attack = '{attack}' order by image_id, target"
        return database.arrow(query).to_pylist()


def attack_all(study_file, lake, limit=None, only=None):
    """The attack step, as its flow runs it; how many files it wrote."""
    study, place = load_study(str(study_file)), Lake(str(lake))
    changes = {"limit": limit, "attacks": only and (study.attack(only),)}
    study = study.model_copy(update={name: value for name, value in changes.items() if value})
    for unit in attacking.missing_shards(study, place):
        attacking.attack_shard(study, place, *unit)
    return place.written


def test_an_untargeted_attack_has_one_row_an_image(run):
    rows = rows_of(run[0], "fgsm-0.004")
    assert len(rows) == 3
    for row in rows:
        reached = int(np.argmax(row["logits"]))
        if reached == row["label"]:
            assert (row["status"], row["target"]) == ("failed", row["label"])
            assert row["reason"] == "the image kept its class"
        else:
            assert (row["status"], row["target"], row["reason"]) == ("success", reached, None)
        assert row["linf"] <= 0.004
        assert row["second_class"] != row["target"]
        assert (row["c"], row["iterations"], row["gradient_calls"], row["forward_calls"]) == (None, 1, 1, 2)
    assert {row["status"] for row in rows} == {"success", "failed"}


def test_its_files_are_named_by_the_images_tried(run):
    files = sorted((run[0] / "adversarials").rglob("attack=fgsm-0.004/*/*.parquet"))
    assert {file.name for file in files} == {"ids-0-999-images-3.parquet"}
    assert [file.parent.name for file in files] == [f"target={t}" for t in range(10)]
    assert sum(pq.read_metadata(file).num_rows for file in files) == 3
    (schema,) = {str(pq.read_schema(file).remove_metadata()) for file in files}
    assert "pixels: fixed_size_list<element: float>[3072]" in schema


def test_a_fixed_budget_stands_in_the_lake(run):
    with open_lake(str(run[0])) as database:
        stored = {row["attack"]: row for row in database.query("select * from attacks").to_dicts()}
    assert sorted(stored) == ATTACKS
    bim, fgsm, lbfgs = (stored[name] for name in ATTACKS)
    assert (bim["algorithm"], bim["epsilon"], bim["steps"], bim["targeted"]) == ("bim-linf", 0.03, 10, True)
    assert (fgsm["epsilon"], fgsm["steps"], fgsm["targeted"]) == (0.004, None, False)
    assert (lbfgs["epsilon"], lbfgs["confidence"], lbfgs["preset"]) == (None, 0.99, None)


def test_every_success_is_explained_and_compared(run):
    with open_lake(str(run[0])) as database:
        won = dict(
            database.query(
                "select attack, count(*) from adversarials where status = 'success' group by attack"
            ).rows()
        )
        maps = dict(
            database.query(
                "select subject, count(*) from relevance where explained_class = target group by subject"
            ).rows()
        )
        pairs = database.query("select distinct attack, pairs from results.topk_overlap").rows()
        summary = database.query(
            "select label, sum(successes), max(pairs) from results.attack_summary "
            "where not targeted group by label"
        ).rows()
        assert database.check()["violations"].sum() == 0
    assert sorted(won) == ATTACKS
    assert maps == {attack: 2 * count for attack, count in won.items()}
    assert dict(pairs) == won
    labels = [row["label"] for row in rows_of(run[0], "fgsm-0.004")]
    assert {label: tried for label, _, tried in summary} == {x: labels.count(x) for x in labels}
    assert sum(successes for _, successes, _ in summary) == won["fgsm-0.004"]


def test_the_report_tells_of_every_attack(run):
    page = run[1]
    for attack in ATTACKS:
        assert f"Attack {attack}" in page
        assert f"The attack {attack} was run on 3 correctly classified images" in page
    assert "away from their class: " in page
    assert "Classes reached" in page
    assert "the image kept its class" in page


def test_a_longer_prefix_replaces_a_shorter_one(copied, study_file):
    before = {row["image_id"]: row for row in rows_of(copied, "fgsm-0.004")}
    assert attack_all(study_file, copied, 5, "fgsm-0.004") > 0
    after = {row["image_id"]: row for row in rows_of(copied, "fgsm-0.004")}
    assert len(after) == 5
    assert {i: after[i] for i in before} == before
    names = {file.name for file in (copied / "adversarials").rglob("attack=fgsm-0.004/*/*.parquet")}
    assert names == {"ids-0-999-images-5.parquet"}
    # what is there serves a shorter study too
    assert attack_all(study_file, copied, 2, "fgsm-0.004") == 0
    assert attack_all(study_file, copied, 5, "fgsm-0.004") == 0


def test_an_extension_that_was_interrupted_goes_on(copied, study_file, tmp_path):
    """Killed between two classes: some files are of the longer prefix, some of the shorter, one is gone."""
    short = {f: f.read_bytes() for f in (copied / "adversarials").rglob("attack=fgsm-0.004/*/*.parquet")}
    attack_all(study_file, copied, 5, "fgsm-0.004")
    whole = {f: f.read_bytes() for f in (copied / "adversarials").rglob("attack=fgsm-0.004/*/*.parquet")}
    for old, content in list(short.items())[:6]:
        (old.parent / "ids-0-999-images-5.parquet").unlink()
        old.write_bytes(content)
    old.unlink()
    assert attack_all(study_file, copied, 5, "fgsm-0.004") == 6
    after = {f: f.read_bytes() for f in (copied / "adversarials").rglob("attack=fgsm-0.004/*/*.parquet")}
    assert after == whole


def test_a_lost_file_is_made_again_and_the_same(copied, study_file):
    """One that has a row, and one that has none."""
    files = sorted((copied / "adversarials").rglob("attack=fgsm-0.004/*/*.parquet"))
    rows = {file: pq.read_metadata(file).num_rows for file in files}
    some, none = max(files, key=rows.__getitem__), min(files, key=rows.__getitem__)
    assert rows[some] > 0 == rows[none]
    before = {file: file.read_bytes() for file in files}
    some.unlink()
    none.unlink()
    study = load_study(str(study_file))
    assert not Plan(study, Lake(str(copied))).has_adversarials()
    assert attack_all(study_file, copied) == 2
    for file in files:
        assert file.read_bytes() == before[file]
    assert Plan(study, Lake(str(copied))).is_complete()


def test_status_and_dry_run_count_images_of_an_untargeted_attack(run, study_file, typed):
    code, out, _ = typed("status", study_file, "--lake", run[0])
    assert code == 0
    assert re.search(r"fgsm-0.004\s+│\s+10 of 10\s+│\s+│\s+3 of 3 ", out)
    out = typed("run", study_file, "--lake", "fresh", "--dry-run", "--limit", 20)[1]
    assert re.search(rf"adversarials\s+│\s+30\s+│\s+{180 + 180 + 20} ", out)


def test_the_attack_command_takes_a_limit(copied, study_file, typed, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    code, out, err = typed("attack", study_file, "--lake", copied, "--limit", 4)
    assert code == 0
    assert "attack: " in out and "found current" in out
    assert re.search(r"fgsm-0.004, shard 0: 4 images in .* images/s, \d+\.\d% successful", err)
    assert len(rows_of(copied, "fgsm-0.004")) == 4


def test_a_killed_attack_goes_on_where_it_stopped(copied, study_file):
    """kill -9 once the first targets are written: these stay as they are, the rest is as if never stopped."""
    wanted = rows_of(copied, "bim-linf-0.03")
    folder = copied / "adversarials"
    for file in folder.rglob("attack=bim-linf-0.03/*/*.parquet"):
        file.unlink()
    script = "import sys\nfrom tests.flows.test_attacks import slow_attack\nslow_attack(*sys.argv[1:])\n"
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", script, str(study_file), str(copied)]
    process = subprocess.Popen(command, cwd=root, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"})
    try:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and process.poll() is None:
            if len(list(folder.rglob("attack=bim-linf-0.03/*/ids-*.parquet"))) >= 2:
                break
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    kept = {f: f.stat().st_mtime_ns for f in folder.rglob("attack=bim-linf-0.03/*/ids-*.parquet")}
    assert 2 <= len(kept) < 10
    assert attack_all(study_file, copied) == 10 - len(kept)
    assert {f: f.stat().st_mtime_ns for f in kept} == kept
    assert rows_of(copied, "bim-linf-0.03") == wanted


def slow_attack(study_file: str, lake: str) -> None:
    """The attack step with a pause after every file, so that it can be killed between two."""
    write = Lake.write

    def slowly(self, partition, *rest):
        path = write(self, partition, *rest)
        if partition.table == ADVERSARIALS.name:
            time.sleep(0.5)
        return path

    Lake.write = slowly  # type: ignore[method-assign]
    attack_all(study_file, lake)


def test_boundary_starts_from_the_whole_dataset_whatever_the_limit(copied, tmp_path):
    text = re.sub(r"\[\[attacks\]\].*", "", STUDY, flags=re.S)
    file = tmp_path / "boundary.toml"
    file.write_text(text + '[[attacks]]\nalgorithm = "boundary"\nsteps = 12\n')
    attack_all(file, copied, limit=1)
    first = rows_of(copied, "boundary")
    assert {row["status"] for row in first} == {"success", "failed"}
    failed = [row for row in first if row["status"] == "failed"]
    assert {row["reason"] for row in failed} == {"no correctly classified image of the target to start from"}
    attack_all(file, copied, limit=2)
    assert [row for row in rows_of(copied, "boundary") if row["image_id"] == first[0]["image_id"]] == first


def test_the_preset_is_an_attack_of_its_own(copied, tmp_path):
    text = re.sub(r"\[\[attacks\]\].*", "", STUDY, flags=re.S)
    file = tmp_path / "preset.toml"
    file.write_text(text + '[[attacks]]\npreset = "foolbox-2.4"\nmax_gradient_calls = 3\n')
    attack_all(file, copied, limit=1)
    rows = rows_of(copied, "lbfgs-foolbox-2.4")
    assert len(rows) == 9 and {row["gradient_calls"] for row in rows} == {3}
    assert {(row["status"], row["reason"]) for row in rows} >= {("failed", "budget spent")}
    with open_lake(str(copied)) as database:
        stored = database.query("select algorithm, preset from attacks where preset is not null").rows()
    assert stored == [("lbfgs", "foolbox-2.4")]


def test_weights_that_are_not_finite_stop_before_any_attack(tmp_path, typed):
    import keras

    from compute.classifier import build_table2

    model = build_table2()
    last = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    kernel, bias = last.get_weights()
    last.set_weights([np.full_like(kernel, np.nan), bias])
    model.save(tmp_path / "diverged.keras")
    (tmp_path / "s.toml").write_text('name = "x"\nmethods = ["lrp-0"]\n[model]\nfile = "diverged.keras"\n')
    code, _, err = typed("run", "s.toml", "--lake", "lake")
    assert code == 2
    assert "diverged.keras: 20480 of the 20480 numbers in" in " ".join(err.split())
    assert "Traceback" not in err
    assert not (tmp_path / "lake" / "adversarials").exists()
