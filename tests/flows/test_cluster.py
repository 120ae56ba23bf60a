"""Work on a cluster: how it is dealt out, what keeps it from starting, and that the lake is the same."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from flows import attack, explain
from flows.lake import Lake
from flows.pieces import PIECES_A_WORKER, Piece, balanced
from flows.plan import Plan, opened
from flows.study import load_study, sent
from flows.whole_files import remove_leftovers
from tests.flows.stored import assert_same_maps
from tests.s3_server import s3_server

ROOT = Path(__file__).parents[2]

STUDY = """
name = "shared-out"
limit = 4
batch_size = 4
methods = ["lrp-epsilon-0.01", "gradient"]

[controls]
noise = true

[[attacks]]
id = "lbfgs"
history = 8
"""

ALONE = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from flows import analyse, attack, explain, ingest
from flows.plan import opened
study, lake = opened(*sys.argv[1:])
ingest.predict(study, lake, ingest.ingest_images(study, lake))
for unit in attack.missing_shards(study, lake):
    attack.attack_shard(study, lake, *unit)
for unit in explain.missing_units(study, lake):
    explain.explain_unit(study, lake, unit)
analyse.analyse(study, lake)
"""
"""All steps in one process on one core."""


@given(
    st.lists(st.dictionaries(st.integers(0, 9), st.integers(1, 1000), min_size=1), min_size=1, max_size=12),
    st.integers(1, 40),
    st.integers(1, 256),
)
def test_every_target_is_dealt_out_once_and_no_more_than_workers_need(shards, workers, batch_size):
    pieces = [Piece("lbfgs", shard, images) for shard, images in enumerate(shards)]
    tasks = balanced(pieces, workers, batch_size)
    done = sorted((shard, t) for _, shard, only in tasks for t in (shards[shard] if only is None else only))
    assert done == sorted((shard, target) for shard, images in enumerate(shards) for target in images)
    assert len(tasks) <= len(pieces) + PIECES_A_WORKER * workers
    if workers == 1:
        assert tasks == [("lbfgs", shard, None) for shard in range(len(shards))]


def test_one_shard_keeps_two_workers_equally_busy():
    tasks = balanced([Piece("lbfgs", 0, dict.fromkeys(range(10), 900))], 2, 128)
    sizes = [len(only) for _, _, only in tasks if only is not None]
    assert sum(sizes) == 10 and sizes == sorted(sizes, reverse=True)
    assert sum(sizes[::2]) - sum(sizes[1::2]) in (0, 1)


def test_targets_made_apart_are_those_made_together(study_file, lake_copy, finished_lake):
    study, lake = opened(str(study_file), str(lake_copy))
    shutil.rmtree(lake_copy / "adversarials")
    shutil.rmtree(lake_copy / "relevance")
    lake.refresh()
    for targets in ([0, 2, 4, 6, 8], [9, 7, 5, 3, 1]):
        attack.attack_shard(study, lake, "lbfgs", 0, targets)
    for subject, targets in (("original", [None]), ("lbfgs", [0, 1, 2]), ("lbfgs", range(3, 10))):
        explain.explain_unit(study, lake, (subject, 0), targets)
    assert Plan(study, Lake(str(lake_copy))).is_complete()
    for path in lake.paths("adversarials"):
        assert pq.read_table(lake_copy / path).equals(pq.read_table(finished_lake / path)), path
    for path in lake.paths("relevance"):
        assert_same_maps(pq.read_table(lake_copy / path), pq.read_table(finished_lake / path))


def test_a_study_that_was_sent_needs_neither_its_file_nor_its_images(tmp_path):
    (tmp_path / "images" / "cat").mkdir(parents=True)
    samples = next((Path(__import__("foolbox").__file__).parent / "data").glob("cifar10_*.png"))
    shutil.copy(samples, tmp_path / "images" / "cat" / "one.png")
    file = tmp_path / "own.toml"
    file.write_text('name = "own"\nmethods = ["gradient"]\n[dataset]\nsource = "folder"\npath = "images"\n')
    study, message = load_study(str(file)), sent(str(file))
    wanted = Plan(study, Lake(str(tmp_path / "lake"))).dataset_made_from
    shutil.rmtree(tmp_path / "images")
    file.unlink()
    found = load_study(message)
    assert found.model_dump() == study.model_dump() | {"dataset": found.dataset.model_dump()}
    assert found.dataset.path == str(tmp_path / "images")
    assert (
        Plan(found.model_copy(update={"limit": 3}), Lake(str(tmp_path / "lake"))).dataset_made_from == wanted
    )


def test_what_keeps_a_cluster_from_working_is_said_before_any_work(typed, monkeypatch):
    code, _, err = typed("attack", "--dask-scheduler", "tcp://127.0.0.1:1")
    assert code == 2 and "goes with --runner dask" in err
    monkeypatch.setattr("flows.cluster.SECONDS_TO_CONNECT", 1)
    for command in ("run", "attack", "explain", "analyse"):
        code, _, err = typed(
            command, "--runner", "dask", "--dask-scheduler", f"tcp://127.0.0.1:{free_port()}"
        )
        assert code == 2 and "no Dask scheduler answers at" in err and "dask scheduler" in err
    code, _, err = typed("run", "--runner", "dask", "--dask-scheduler", "nonsense://x:1")
    assert code == 2 and "no Dask scheduler answers at nonsense://x:1" in err
    monkeypatch.setattr("flows.cluster.find_spec", lambda name: None)
    code, _, err = typed("run", "--runner", "dask")
    assert code == 2 and "pip install 'relevance-lake[dask]'" in err


def test_a_scheduler_without_workers_is_refused(typed, tmp_path):
    with processes(tmp_path, workers=0) as (address, _):
        code, _, err = typed("run", "--runner", "dask", "--dask-scheduler", address)
    assert code == 2 and "has no worker" in err and f"dask worker {address}" in " ".join(err.split())


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> tuple[Path, Path]:
    """A study file, and its lake made by one process on one core."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "shared-out.toml").write_text(STUDY)
    words = [folder / "shared-out.toml", folder / "lake"]
    subprocess.run([sys.executable, "-c", ALONE, *words], check=True, cwd=ROOT, timeout=1800)
    return folder / "shared-out.toml", folder / "lake"


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.parametrize("kill", [False, True], ids=["undisturbed", "a worker is killed"])
def test_two_workers_make_the_lake_that_one_process_makes(alone, tmp_path, kill):
    study, expected = alone
    lake = tmp_path / "lake"
    words = ["run", study, "--lake", lake, "--runner", "dask", "--dask-scheduler"]
    with processes(tmp_path, workers=2) as (address, workers):
        command = [sys.executable, "-m", "flows.cli", *words, address]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as run:
            while kill and not list(lake.glob("adversarials/**/*.parquet")):
                assert run.poll() is None, run.stderr and run.stderr.read()
                time.sleep(0.05)
            if kill:
                workers[0].send_signal(signal.SIGKILL)
            _, said = run.communicate(timeout=1800)
        assert run.returncode == 0, said
        assert threads_of_tensorflow(address) == [1] * (1 if kill else 2)
    assert re.search(r"attack on 2 workers: \d+ tasks", said), said
    assert remove_leftovers(str(lake)) <= kill  # what the dead one was writing; the next run does this
    assert_same_lake(lake, expected)


@pytest.mark.slow
@pytest.mark.prefect
def test_two_workers_make_it_in_a_bucket(alone, tmp_path, monkeypatch):
    study, expected = alone
    s3fs = pytest.importorskip("s3fs")
    with s3_server(tmp_path) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        with processes(tmp_path, workers=2) as (address, _):
            words = ["run", study, "--lake", "s3://bucket/lake", "--runner", "dask", "--dask-scheduler"]
            command = [sys.executable, "-m", "flows.cli", *words, address]
            run = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=1800)
            assert run.returncode == 0, run.stderr
            assert threads_of_tensorflow(address) == [1, 1]
        s3fs.S3FileSystem(endpoint_url=server.url).get("bucket/lake", str(tmp_path / "lake"), recursive=True)
    assert_same_lake(tmp_path / "lake", expected)


def assert_same_lake(made: Path, expected: Path) -> None:
    """All to the bit; partials in any order, and sums of floats in results to rounding, since DuckDB adds
    in any order."""
    for table in ("images", "predictions", "adversarials", "relevance", "partials", "results"):
        paths = sorted(path.relative_to(expected) for path in (expected / table).rglob("*.parquet"))
        assert paths == sorted(path.relative_to(made) for path in (made / table).rglob("*.parquet"))
        assert paths
        for path in paths:
            new, old = (pq.read_table(lake / path) for lake in (made, expected))
            if table == "results":
                assert_frame_equal(*(pl.DataFrame(rows) for rows in (new, old)), rel_tol=1e-9, abs_tol=1e-9)
            elif table == "partials":
                assert sorted(map(repr, new.to_pylist())) == sorted(map(repr, old.to_pylist())), path
            else:
                assert new.equals(old), path


def threads_of_tensorflow(address: str) -> list[int]:
    """On how many threads the TensorFlow of each worker computes."""
    from distributed import Client

    def count() -> int:
        return sys.modules["tensorflow"].config.threading.get_intra_op_parallelism_threads()

    with Client(address, set_as_default=False) as client:
        answers = client.run(count)
        assert isinstance(answers, dict)
        return list(answers.values())


@contextmanager
def processes(
    folder: Path, workers: int, a_core_each: bool = False
) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and workers of one thread as processes of their own: its address, and the workers.

    a_core_each: a worker has one core, as on a host that has no more; else all of this machine's.
    """
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    scheduler = [*DASK, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    worker = [*DASK, "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    started: list[subprocess.Popen[bytes]] = []
    with (folder / "dask.log").open("wb") as log:
        try:
            for words in (scheduler, *[worker] * workers):
                process = subprocess.Popen(
                    words, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
                )
                started.append(process)
                if a_core_each and len(started) > 1:  # before it has other threads, which do as the first
                    cores = sorted(os.sched_getaffinity(0))
                    os.sched_setaffinity(process.pid, {cores[(len(started) - 2) % len(cores)]})
            wait_for(address, workers)
            yield address, started[1:]
        finally:
            for process in reversed(started):
                process.kill()
                process.wait()


DASK = [sys.executable, "-m", "dask"]


def wait_for(address: str, workers: int) -> None:
    from distributed import Client

    with Client(address, timeout=120, set_as_default=False) as client:
        if workers:
            client.wait_for_workers(workers, timeout=120)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
