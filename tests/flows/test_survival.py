"""Kill -9 at any moment, two runs at once, a full disk: the next run finishes, the lake is as if undisturbed.

The study is real and small. Most kills fall on children of a process that has loaded TensorFlow
(tests/flows/worker.py), some on the command line with its Prefect server.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from flows.lake import Lake
from flows.lease import FILE, current_lease
from tests.flows.stored import assert_same_lakes
from tests.flows.worker import STEPS

pytestmark = pytest.mark.slow

KILLS = 60
KILLS_A_STEP = 6
"""Of one lake; the next one takes the rest."""
PATIENCE = 900.0
"""Seconds; other work may have the cores."""


class Child:
    """A run of the study in a process group of its own."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid, self._log = pid, log
        self._start = log.stat().st_size if log.exists() else 0

    @property
    def lines(self) -> list[str]:
        if not self._log.exists():
            return []
        with self._log.open() as file:
            file.seek(self._start)
            return file.read().splitlines()

    @property
    def step(self) -> str:
        """The last step that it has begun."""
        begun = [line.removeprefix("begin ") for line in self.lines if line.startswith("begin ")]
        return begun[-1] if begun else ""

    @property
    def is_over(self) -> bool:
        lines = self.lines
        assert "failed" not in lines, "\n".join(lines[-30:])
        return "end" in lines

    def wait(self, until) -> None:
        deadline = time.monotonic() + PATIENCE
        while not (self.is_over or until()):
            assert time.monotonic() < deadline, "\n".join(self.lines[-30:])
            time.sleep(0.005)

    def kill(self) -> None:
        os.killpg(self.pid, signal.SIGKILL)
        while Path(f"/proc/{self.pid}").exists():
            time.sleep(0.005)


class Worker:
    """The process that forks the runs."""

    def __init__(self, study: Path) -> None:
        self._study = study
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.flows.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def start(self, lake: Path, log: Path, leased: bool = True) -> Child:
        assert self._process.stdin is not None and self._process.stdout is not None
        child = Child(0, log)
        asked = {"study": str(self._study), "lake": str(lake), "log": str(log), "leased": leased}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        child.pid = int(self._process.stdout.readline())
        return child

    def run(self, lake: Path, log: Path) -> Child:
        """A run to the end."""
        child = self.start(lake, log)
        child.wait(lambda: False)
        return child

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def worker(study_file):
    worker = Worker(study_file)
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def undisturbed(worker, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    worker.run(folder / "lake", folder / "log")
    return folder / "lake"


def temporary_files(lake: Path) -> list[Path]:
    return [path for path in lake.rglob(".*") if path.is_file() and path.name != ".lease.lock"]


def test_sixty_kills_lose_nothing_and_double_nothing(worker, undisturbed, tmp_path):
    random, fell, number = Random(8), Counter(), 0
    half_written = 0
    while sum(fell.values()) < KILLS:
        number += 1
        lake, log = tmp_path / f"lake-{number}", tmp_path / f"log-{number}"
        for step in (step for step in STEPS for _ in range(KILLS_A_STEP)):
            if sum(fell.values()) == KILLS:
                break
            child = worker.start(lake, log)
            steps = STEPS[STEPS.index(step) :]
            child.wait(lambda child=child, steps=steps: child.step in steps)
            # a report is over within a second, and is one file
            files, patience = (0, 0.4) if step == "report" else (random.choice((0, 0, 1, 1, 2, 3)), 2)
            if files:
                seen = child.lines.count("sync")
                child.wait(lambda child=child, to=seen + files: child.lines.count("sync") >= to)
                time.sleep(random.uniform(0, 0.03))
            else:
                time.sleep(random.uniform(0, patience))
            if child.is_over:
                continue
            fell[child.step] += 1
            child.kill()
            half_written += bool(temporary_files(lake))
            left = current_lease(Lake(str(lake)))
            assert left is not None and left.pid == child.pid and not left.is_live
        worker.run(lake, log)
        assert_same_lakes(lake, undisturbed)
        assert temporary_files(lake) == []
        assert not (lake / FILE).exists()
        written = Counter(line for line in log.read_text().splitlines() if line.startswith("wrote "))
        twice = {line for line, times in written.items() if times > 1}
        assert {line for line in twice if "checked/" not in line} <= {f"wrote {FILE}"}
    print(f"\nkills by step: {dict(fell)}, with a file half written: {half_written}, lakes: {number}")
    assert half_written > 0
    assert all(fell[step] >= KILLS // 15 for step in STEPS)


def test_two_runs_at_once_make_the_lake_of_one(worker, undisturbed, tmp_path):
    """As in a bucket, where two may take the lease in the same second."""
    lake = tmp_path / "lake"
    children = [worker.start(lake, tmp_path / f"log-{n}", leased=False) for n in range(2)]
    for child in children:
        child.wait(lambda: False)
    assert_same_lakes(lake, undisturbed)
    assert temporary_files(lake) == []


COMMAND = [sys.executable, "-c", "from flows.cli import main; main()"]


def test_a_killed_command_goes_on(undisturbed, study_file, tmp_path):
    """`relevance-lake run`, killed with all its processes once a table has its first file."""
    lake = tmp_path / "lake"
    env = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")}
    env.pop("PREFECT_API_URL", None)
    words = [*COMMAND, "run", str(study_file), "--lake", str(lake)]
    with (tmp_path / "log").open("w") as log:
        for table in ("predictions", "adversarials", "relevance", "results"):
            process = subprocess.Popen(words, env=env, stdout=log, stderr=log, start_new_session=True)
            deadline = time.monotonic() + PATIENCE
            while not any((lake / table).rglob("*.parquet")):
                assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            assert (lake / FILE).exists()
        done = subprocess.run(words, env=env, stdout=log, stderr=log, check=False)
    assert done.returncode == 0, (tmp_path / "log").read_text()
    assert "a run was interrupted" in (tmp_path / "log").read_text()
    assert_same_lakes(lake, undisturbed)
    assert (lake / "reports" / "small.html").exists()
    assert temporary_files(lake) == []


@pytest.fixture
def small_disk(tmp_path):
    """A folder with room for a part of the study, and a function that gives it more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1100k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted: {mounted.stderr.decode()}")

    def enlarge():
        subprocess.run(["mount", "-o", "remount,size=100m", str(folder)], check=True)

    yield folder, enlarge
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_and_the_run_goes_on_once_it_is_not(worker, undisturbed, small_disk, tmp_path):
    folder, enlarge = small_disk
    lake = folder / "lake"
    child = worker.start(lake, tmp_path / "log")
    deadline = time.monotonic() + PATIENCE
    while "failed" not in child.lines:
        assert time.monotonic() < deadline and "end" not in child.lines
        time.sleep(0.1)
    said = "\n".join(child.lines)
    assert "StorageFault" in said and "the disk is full" in said and "Free some space" in said
    assert list((lake / "adversarials").rglob("*.parquet"))
    for file in lake.rglob("*.parquet"):
        Lake(str(lake)).read(str(file.relative_to(lake)))
    enlarge()
    worker.run(lake, tmp_path / "log-2")
    assert_same_lakes(lake, undisturbed)
