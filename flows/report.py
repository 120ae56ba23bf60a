"""Report: one HTML page from a study's results."""

from __future__ import annotations

from pathlib import Path

from compute.attacks.imported import Imported
from flows.lake import Lake
from flows.plan import Plan
from flows.study import Study
from flows.versions import versions
from reports.page import StudyFacts, load_results, write_report


def report_path(study: Study, lake: Lake) -> Path:
    """Where a study's report stands: in a lake on this machine, else in the working directory."""
    local = lake.root if lake.is_local else "."
    return Path(local) / "reports" / f"{study.name}.html"


def report(study: Study, lake: Lake, output: str | None = None) -> str:
    """Write the report from the results in the lake; its path."""
    results = load_results(lake.url, study.name)
    facts = StudyFacts(
        name=study.name,
        title=study.title or study.name,
        lake=lake.url,
        class_names=Plan(study, lake).class_names(),
        settings=_settings(study, lake),
        versions=versions(),
        attacks=tuple(attack.id for attack in study.attacks),
    )
    target = Path(output) if output else report_path(study, lake)
    return str(write_report(results, facts, target).resolve())


def _limit(study: Study, lake: Lake) -> int | None:
    """How many images the results are of, as they say themselves."""
    return lake.footer(f"results/attack_overview/{study.name}.parquet").get("made_from", {}).get("limit")


def _entity(lake: Lake, table: str, name: str, column: str) -> str:
    return str(lake.read(f"{table}/{name}.parquet", [column])[column][0].as_py())


def _settings(study: Study, lake: Lake) -> dict[str, str]:
    """What decides the figures, in the order of the study file, with the fingerprints that the lake holds."""
    limit = _limit(study, lake)
    dataset = f"{study.dataset.id} (source {study.dataset.source}, split {study.dataset.split})"
    settings = {
        "dataset": dataset,
        "fingerprint of the dataset": _entity(lake, "datasets", study.dataset.id, "fingerprint"),
        "classifier": f"{study.model.id} ({Path(study.model.file).name})",
        "SHA-256 of the classifier": _entity(lake, "models", study.model.id, "sha256"),
    }
    for attack in study.attacks:
        parameters = ", ".join(f"{name} {value}" for name, value in attack.parameters.as_row().items())
        settings[f"attack {attack.id}"] = parameters
    settings["methods"] = ", ".join(study.methods)
    images = f"the first {limit} correctly classified" if limit else "all correctly classified"
    if any(isinstance(attack.parameters, Imported) for attack in study.attacks):
        images += " with an imported example"
    settings["images"] = images
    settings["batch size"] = str(study.batch_size)
    return settings
