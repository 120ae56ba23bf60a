"""Schedules that fire by themselves, on a real server: through `serve`, and through a worker."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.lake import Lake
from sql.catalog import open_lake
from tests.flows.servers import prefect_server

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with prefect_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def lake_copy(finished_lake, tmp_path) -> Path:
    lake = Path(shutil.copytree(finished_lake, tmp_path / "lake"))
    shutil.rmtree(lake / "runs")
    shutil.rmtree(lake / "logs")
    return lake


def completed(lake: Path, command: str = "run") -> list[str]:
    """Runs of a command that the lake says are completed."""
    if not (lake / "runs").is_dir():
        return []
    with open_lake(str(lake)) as database:
        rows = database.query("select run from runs where command = $1 and outcome = 'completed'", [command])
    return rows["run"].to_list()


def test_serve_fires_twice(server, study_file, lake_copy):
    serve = ["serve", str(study_file), "--cron", "* * * * *", "--lake", str(lake_copy)]
    process = server.start("relevance-lake", *serve)
    server.wait(lambda: len(completed(lake_copy)) >= 2)
    process.terminate()
    first, second = server.flow_runs("small")[:2]
    assert (first["state_name"], second["state_name"]) == ("Completed", "Completed")
    assert first["auto_scheduled"] and second["auto_scheduled"]
    assert first["expected_start_time"] < second["expected_start_time"]
    deployment = server.deployment("small")
    assert {"relevance-lake", "small"} == set(deployment["tags"])
    form = deployment["parameter_openapi_schema"]["properties"]
    types = {name: field.get("type") or field["anyOf"][0]["type"] for name, field in form.items()}
    assert (types["study"], types["lake"], types["limit"]) == ("string", "string", "integer")
    assert all(field["description"] for field in form.values())
    assert deployment["parameters"]["lake"] == str(lake_copy)
    artifacts = server.ask("artifacts/filter", sort="CREATED_DESC", limit=200)
    shown = {artifact["key"]: artifact["data"] for artifact in reversed(artifacts)}
    assert "| adversarials | 10 | 18 |" in shown["small-summary"]
    assert "### lbfgs: success in %" in shown["small-success"]
    assert (lake_copy / "reports" / "small.html").as_uri() in shown["small-report"]
    assert float(shown["small-run"]) == 100


def test_prefect_yaml_and_a_worker_fire_twice(server, study_file, lake_copy, tmp_path):
    """The file as it is, but for where study and lake are, and how often."""
    text = (REPOSITORY / "prefect.yaml").read_text()
    for there, here in {
        "study: demo": f"study: {study_file}",
        "lake: ./lake": f"lake: {lake_copy}",
        'cron: "0 2 * * *"\n        timezone: UTC': "interval: 10",
        'cron: "0 6 * * 1"\n        timezone: UTC': "interval: 60",
    }.items():
        assert there in text
        text = text.replace(there, here)
    (tmp_path / "prefect.yaml").write_text(text)
    server.run("prefect", "work-pool", "create", "relevance-lake", "--type", "process")
    said = server.run("prefect", "--no-prompt", "deploy", "--all", cwd=tmp_path)
    assert "pipeline/nightly-study" in said and "report/weekly-report" in said
    deployment = server.deployment("nightly-study")
    assert deployment["global_concurrency_limit"]["limit"] == 1
    assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert all(f["description"] for f in deployment["parameter_openapi_schema"]["properties"].values())
    server.start("prefect", "worker", "start", "--pool", "relevance-lake", cwd=tmp_path)
    server.wait(lambda: len(completed(lake_copy)) >= 2 and completed(lake_copy, "report"))

    def ended(state: str) -> list[dict]:
        return [run for run in server.flow_runs("nightly-study") if run["state_type"] == state]

    server.wait(lambda: len(ended("COMPLETED")) >= 2)
    # a run takes longer than its interval: what comes meanwhile is cancelled and says why
    [cancelled, *_] = server.wait(lambda: ended("CANCELLED"))
    assert cancelled["state"]["message"] == "Deployment concurrency limit reached."
    assert all(run["auto_scheduled"] for run in server.flow_runs("nightly-study"))
    assert Lake(str(lake_copy)).names("runs")
