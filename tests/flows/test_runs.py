"""The record of runs: how each outcome is told, what a killed run leaves, and what the log says."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows import run_log
from flows.counts import Counts
from flows.lake import Lake
from flows.lease import FILE, leased
from flows.processes import machine
from flows.progress import track
from flows.run_log import RunLog, logged_runs, note, read_log
from flows.runs import record_interrupted, record_run
from flows.status import log_lines
from flows.study import load_study
from reports.results import ReportError, load_results
from sql.catalog import open_lake
from sql.tables import RUNS

ATTACKED = Counts(2, 1, {"adversarials": 30}, 5_000_000)
EXPLAINED = Counts(4, 0, {"relevance": 90}, 7_000_000)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture(scope="module")
def study():
    return load_study("demo")


def rows(lake: Lake) -> list[dict]:
    with open_lake(lake.url) as database:
        return database.query("select * from runs order by started").to_dicts()


def test_a_run_is_told_by_its_steps(lake, study):
    with record_run(study, lake, "run"):
        with record_run(study, Lake(lake.url), "attack") as step:
            step.add(ATTACKED)
        with record_run(study, Lake(lake.url), "explain") as step, track("maps", 90, "maps") as advance:
            advance(90)
            step.add(EXPLAINED)
    [row] = rows(lake)
    assert (row["command"], row["study"], row["outcome"], row["error"]) == ("run", "demo", "completed", None)
    assert (row["written"], row["skipped"], row["pairs"], row["maps"]) == (6, 1, 30, 90)
    assert row["bytes"] == 12_000_000
    assert row["who"] and row["host"] and "numpy" in json.loads(row["versions"])
    assert json.loads(row["settings"])["name"] == "demo"
    steps = json.loads(row["steps"])
    assert list(steps) == ["run", "attack", "explain"]
    assert steps["attack"]["rows"] == {"adversarials": 30}
    assert 0 <= steps["attack"]["seconds"] <= row["seconds"]
    events = read_log(lake, row["run"])
    assert [event["event"] for event in events] == [
        "start", "step", "step", "step", "step", "progress", "progress", "step", "step", "end",
    ]  # fmt: skip
    assert events[0]["pid"] == os.getpid()
    assert all(datetime.fromisoformat(event["time"]) for event in events)
    told = list(log_lines(lake, row["run"]))
    assert len(told) == len(events) and "maps: 90 of 90 maps" in told[6]
    assert logged_runs(lake) == [row["run"]]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(ValueError("no good"), "failed"), (KeyboardInterrupt(), "interrupted"), (SystemExit(3), "interrupted")],
)
def test_what_ends_a_run_is_told(lake, study, error, outcome):
    def attack():
        with record_run(study, lake, "attack") as step:
            step.add(ATTACKED)
            raise error

    with pytest.raises(type(error)):
        attack()
    [row] = rows(lake)
    assert (row["outcome"], row["pairs"]) == (outcome, 30)
    assert row["error"].startswith(type(error).__name__)
    assert read_log(lake, row["run"])[-1]["outcome"] == outcome


def test_an_error_behind_a_stop_is_a_stop(lake, study):
    """As when a flow run that is cancelled cannot tell a server that is gone."""

    def stopped():
        with record_run(study, lake, "run"):
            try:
                raise KeyboardInterrupt
            finally:
                raise ConnectionError("the server is gone")

    with pytest.raises(ConnectionError):
        stopped()
    [row] = rows(lake)
    assert (row["outcome"], row["error"]) == ("interrupted", "KeyboardInterrupt")


def test_a_fault_of_a_bucket_ends_a_run(study):
    """Such an error has others behind it, and may be its own cause."""
    lake = Lake("memory://lake-without-results")
    with pytest.raises(ReportError, match="no result of"), record_run(study, lake, "report", alone=False):
        load_results(lake.url, study.name)
    error = OSError("a fault")
    error.__cause__ = error
    with pytest.raises(OSError, match="a fault"), record_run(study, lake, "run"):
        raise error
    outcomes = {lake.read(f"runs/{run}.parquet")["outcome"][0].as_py() for run in logged_runs(lake)}
    assert outcomes == {"failed"}


KILLED = """
import sys, time
from flows.counts import Counts
from flows.lake import Lake
from flows.run_log import note
from flows.runs import record_run
from flows.study import load_study

study, lake = load_study("demo"), Lake(sys.argv[1])
with record_run(study, lake, "run"):
    with record_run(study, lake, "ingest") as step:
        step.add(Counts(2, 0, {"images": 20}, 1000))
    with record_run(study, lake, "attack") as step:
        done = Counts(10, 0, {"adversarials": 90}, 50_000, 7.5)
        note("unit", step="attack", unit="lbfgs, shard 0", state="done", **done.as_row())
        print("at work", flush=True)
        time.sleep(600)
"""


def test_a_killed_run_becomes_a_row_at_the_next(lake, study):
    process = subprocess.Popen([sys.executable, "-c", KILLED, lake.url], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "at work\n"
        assert record_interrupted(lake) == []  # it goes on
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with record_run(study, lake, "run"):
        pass
    killed, own = rows(lake)
    assert (killed["outcome"], own["outcome"]) == ("interrupted", "completed")
    assert (killed["written"], killed["pairs"], killed["bytes"]) == (12, 90, 51_000)
    assert json.loads(killed["steps"])["attack"]["pairs_a_second"] == 12
    assert "no word of it after" in killed["error"]
    assert json.loads(killed["settings"])["name"] == "demo"
    assert record_interrupted(lake) == []  # told once


def of_elsewhere(lake: Lake, run: str, *events: dict, **facts) -> None:
    """The log of a run of another machine, which was at work a moment ago."""
    now = datetime.now(UTC).isoformat()
    start = {"event": "start", "run": run, "study": "demo", "command": "run", "started": now[:23], "pid": 1}
    start |= {"machine": "elsewhere", "host": "b", "who": "x", "versions": {}, "settings": None} | facts
    os.makedirs(f"{lake.root}/logs", exist_ok=True)
    lines = [json.dumps({"time": now} | event) for event in (start, *events)]
    with open(f"{lake.root}/logs/{run}.jsonl", "w") as file:
        file.write("\n".join(lines))


def test_a_run_that_lives_is_not_over_though_its_lease_was_taken_over(lake, study):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        with leased(lake, "run", "demo") as mine:
            asleep = replace(mine.lease, pid=living.pid, until=datetime.now(UTC))
        lake.put(FILE, asleep.as_json().encode())
        of_elsewhere(lake, asleep.run, machine=machine(), pid=living.pid)
        with record_run(None, Lake(lake.url), "clean"):
            pass
        assert [row["command"] for row in rows(lake)] == ["clean"]
        living.kill()
    assert record_interrupted(Lake(lake.url)) == [asleep.run]


def test_a_run_elsewhere_is_over_once_its_lease_was_taken_over(lake, study):
    with leased(lake, "run", "demo") as mine:
        other = replace(mine.lease, machine="elsewhere", until=datetime.now(UTC) + timedelta(seconds=0.5))
    lake.put(FILE, other.as_json().encode())
    of_elsewhere(lake, other.run)
    time.sleep(0.6)
    with record_run(None, Lake(lake.url), "clean"):
        pass
    assert [row["outcome"] for row in rows(lake)] == ["interrupted", "completed"]


def test_a_run_elsewhere_that_spoke_after_its_lease_ended_goes_on(lake, study):
    with leased(lake, "run", "demo") as mine:
        other = replace(mine.lease, machine="elsewhere", until=datetime.now(UTC))
    lake.put(FILE, other.as_json().encode())
    time.sleep(0.01)
    of_elsewhere(lake, other.run)
    with record_run(None, Lake(lake.url), "clean"):
        pass
    assert [row["command"] for row in rows(lake)] == ["clean"]


def test_a_run_whose_row_could_not_be_written_ends_as_its_log_says(lake, study):
    end = {"event": "end", "outcome": "failed", "error": "ValueError: a bug", "seconds": 3.0, "steps": {}}
    of_elsewhere(lake, "20260101-000000-aaaa", end | {"written": 7, "pairs": 1, "maps": 2, "bytes": 3})
    assert record_interrupted(lake) == ["20260101-000000-aaaa"]
    [row] = rows(lake)
    assert (row["outcome"], row["error"], row["written"]) == ("failed", "ValueError: a bug", 7)


def test_a_row_that_came_since_the_lake_was_listed_stays(lake, study):
    with record_run(study, lake, "run"):
        pass
    early = Lake(lake.url)
    assert len(early.names("runs")) == 1
    with record_run(study, Lake(lake.url), "check", alone=False):
        pass
    assert record_interrupted(early) == []
    assert [row["outcome"] for row in rows(lake)] == ["completed", "completed"]


def test_a_run_of_a_process_that_had_this_one_s_number_is_over(lake, study):
    of_elsewhere(lake, "20260101-000000-aaaa", machine=machine(), pid=os.getpid())
    assert record_interrupted(lake) == ["20260101-000000-aaaa"]


def test_a_line_that_was_cut_off_is_left_out(lake, study):
    with record_run(study, lake, "run"):
        pass
    [run] = logged_runs(lake)
    with open(f"{lake.root}/logs/{run}.jsonl", "a") as file:
        file.write('{"time": "2026-01-')
    assert [event["event"] for event in read_log(lake, run)][-1] == "end"


def test_rows_of_before_have_nulls(lake, study):
    """A lake whose runs were written without the later columns is opened, and shows them."""
    with record_run(study, lake, "run"):
        pass
    full = RUNS.arrow_schema()
    before = pa.schema([full.field(n) for n in range(len(full) - RUNS.later)])
    values = {"run": "20250101-000000-abcd", "started": datetime(2025, 1, 1), "seconds": 1.0, "written": 5}
    table = pa.table({name: [values.get(name)] for name in before.names}, schema=before)
    pq.write_table(table, f"{lake.root}/runs/20250101-000000-abcd.parquet")
    old, new = rows(lake)
    assert (old["written"], old["host"], old["bytes"]) == (5, None, None)
    assert new["host"]


def test_warnings_stand_in_the_log(lake, study):
    """As the retries of storage are told, and a lease that was lost."""
    logger = logging.getLogger("relevance_lake")
    with record_run(study, lake, "run"):
        logger.warning("%s could not be written: again in %g s", "a file", 2)
    logger.warning("afterwards")
    [run] = logged_runs(lake)
    told = [event["message"] for event in read_log(lake, run) if event["event"] == "warning"]
    assert told == ["a file could not be written: again in 2 s"]


def test_a_log_that_cannot_be_written_stops_nothing(lake, study, caplog):
    os.makedirs(lake.root)
    open(f"{lake.root}/logs", "w").close()
    with record_run(study, lake, "run"):
        note("fault", what="x")
    assert rows(lake)[0]["outcome"] == "completed"
    assert "is given up" in caplog.text


def test_on_a_bucket_the_log_is_one_object(study, monkeypatch):
    """fsspec's file system in memory appends no more than a bucket does."""
    monkeypatch.setattr(run_log, "SECONDS_BETWEEN_PUTS", 0.0)
    lake = Lake("memory://lake-of-logs")
    assert not lake.is_local
    with RunLog(lake, "a-run") as log:
        log.write("start", study="demo")
        assert [e["event"] for e in read_log(lake, "a-run")] == ["start"]
        log.write("fault", what="slow down")
    assert [e["event"] for e in read_log(lake, "a-run")] == ["start", "fault"]
    assert logged_runs(lake) == ["a-run"]


def test_logs_are_none_of_the_lake_s_tables(lake_copy):
    """A lake with logs opens without a word, and its check finds nothing foreign."""
    from flows.check import check_lake

    assert list((lake_copy / "logs").iterdir())
    assert check_lake(Lake(str(lake_copy))).faults == []
