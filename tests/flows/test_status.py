"""`status` and `log`: what is missing, who is at work, how runs ended, what is to come."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from flows.lake import Lake
from flows.plan import Plan
from flows.run_log import RunLog
from flows.runs import _start
from flows.status import status_of
from flows.study import load_study

pytestmark = pytest.mark.prefect


def lose(lake, target: int) -> int:
    """Delete what a target has; how many files."""
    lost = list(lake.glob(f"**/target={target}/*.parquet"))
    for file in lost:
        file.unlink()
    return len(lost)


def test_status_as_json(typed, study_file, lake_copy):
    assert lose(lake_copy, 3) == 4
    code, out, _ = typed("status", study_file, "--lake", lake_copy, "--format", "json")
    found = json.loads(out)
    assert code == 0 and found["study"] == "small" and not found["complete"]
    missing = {p["what"]: p["wanted"] - p["present"] for p in found["parts"] if p["wanted"] != p["present"]}
    assert missing == {"lbfgs": 1}  # its maps are planned once it is there
    [left] = [part for part in found["left"] if part["table"] == "adversarials"]
    assert left["partitions"] == 1 and left["rows"] in (1, 2) and left["seconds"] > 0
    [run] = found["runs"]
    assert (run["command"], run["outcome"], run["study"]) == ("run", "completed", "small")
    assert run["steps"]["attack"]["rows"] == {"adversarials": 18}
    assert run["pairs"] == 18 and run["maps"] == 60 and found["working"] == []


def test_what_is_to_come_takes_the_rate_of_the_last_run(study_file, lake_copy, monkeypatch):
    monkeypatch.setattr("flows.status.ENOUGH_SECONDS", 0.0)
    lose(lake_copy, 3)
    found = status_of(Plan(load_study(str(study_file)), Lake(str(lake_copy))))
    done = found.runs[0]["steps"]["attack"]
    [left] = [part for part in found.left if part.table == "adversarials"]
    assert left.measured
    assert left.seconds == pytest.approx(left.rows * done["seconds"] / done["rows"]["adversarials"])


@pytest.fixture
def living():
    """Number of a process that lives until the test ends."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def test_a_terminal_shows_who_is_at_work_and_what_was_killed(typed, study_file, lake_copy, living):
    lake, study = Lake(str(lake_copy)), load_study(str(study_file))
    for run, pid in (("29990101-000000-live", living), ("29990101-000000-dead", 2**22 + 1)):
        with RunLog(lake, run) as log:
            log.write("start", **_start(study, "attack", run) | {"pid": pid})
            log.write(
                "progress",
                what="lbfgs, shard 7",
                done=5,
                total=10,
                unit="pairs",
                a_second=2.0,
                seconds_left=2.5,
            )
    code, out, _ = typed("status", study_file, "--lake", lake_copy)
    words = " ".join(out.split())
    assert code == 0 and "lbfgs, shard 7: 5 of 10 pairs, 2 pairs/s, 0:00:02 left" in words
    assert "at work: attack of small (29990101-000000-live)" in words
    assert "29990101-000000-dead" in words and "interrupted" in words and "completed" in words
    assert len(list((lake_copy / "runs").iterdir())) == 1  # status writes nothing


def test_log_prints_the_last_run(typed, lake_copy):
    code, out, _ = typed("log", "--lake", lake_copy)
    assert code == 0 and "attack, lbfgs, shard 0 done: " in out and "completed after" in out
    lines = typed("log", "--lake", lake_copy, "--format", "json")[1].splitlines()
    units = [event for event in map(json.loads, lines) if event["event"] == "unit"]
    assert {unit["unit"] for unit in units if unit["step"] == "explain"} == {
        "original, shard 0", "lbfgs, shard 0",
    }  # fmt: skip
    assert sum(unit["rows"].get("relevance", 0) for unit in units) == 60
    code, _, err = typed("log", "no-such-run", "--lake", lake_copy)
    assert code == 2 and "no log of a run no-such-run" in err


@pytest.mark.parametrize("words", [["check"], ["report", "STUDY"], ["analyse", "STUDY"], ["run", "STUDY"]])
def test_every_command_that_writes_leaves_a_row(typed, study_file, lake_copy, words):
    before = Lake(str(lake_copy)).names("runs")
    code, _, err = typed(*(study_file if word == "STUDY" else word for word in words), "--lake", lake_copy)
    assert code == 0, err
    lake = Lake(str(lake_copy))
    [added] = set(lake.names("runs")) - set(before)
    row = lake.read(f"runs/{added}").to_pylist()[0]
    assert (row["command"], row["outcome"]) == (words[0], "completed")
