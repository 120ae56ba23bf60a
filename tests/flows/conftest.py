"""A real study, run once through Prefect: two images, three methods, the shipped network."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("DO_NOT_TRACK", "1")

STUDY = """
name = "small"
limit = 2
batch_size = 16
methods = ["lrp-epsilon-0.01", "lrp-alpha1-beta0", "published-lrp-0"]

[[attacks]]
id = "lbfgs"
history = 8
"""


@pytest.fixture(scope="session")
def study_file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("study") / "small.toml"
    file.write_text(STUDY)
    return file


@pytest.fixture(scope="session")
def prefect_server():
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(scope="session")
def finished_lake(study_file, prefect_server, tmp_path_factory) -> Path:
    """The lake of the study after one run. Tests only read it; those that write take `lake_copy`."""
    from flows.pipeline import pipeline

    lake = tmp_path_factory.mktemp("finished") / "lake"
    report = pipeline(study=str(study_file), lake=str(lake))
    assert Path(report).is_file()
    return lake


@pytest.fixture
def lake_copy(finished_lake, tmp_path) -> Path:
    import shutil

    return Path(shutil.copytree(finished_lake, tmp_path / "lake"))


@pytest.fixture
def typed(monkeypatch, capsys, tmp_path):
    """Run a command in this process, in an empty folder: (exit code, standard output, standard error)."""
    from flows.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["relevance-lake", *map(str, words)])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run
