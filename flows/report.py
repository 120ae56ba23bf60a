"""Report: one HTML page from a study's results."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from compute.attacks.imported import Imported
from compute.startup import BATCH_SIZES
from flows.errors import UserError
from flows.lake import Lake
from flows.plan import Plan
from flows.progress import track
from flows.storage_faults import steadily
from flows.study import BUILT_IN, Study, load_study
from flows.versions import versions
from reports.exports import export, export_count
from reports.page import StudyFacts, load_results, page_content, render_page, side_by_side, write_report
from sql.remote import Bucket


def report_path(study: Study, lake: Lake) -> str:
    """Where a study's report stands: in its lake, be that a folder or a bucket."""
    return f"{lake.root if lake.is_local else lake.url}/reports/{study.name}.html"


def local_copy(report: str) -> str:
    """Path of a report on this machine, where it stands or in a temporary folder."""
    if "://" not in report:
        return report
    place, _, name = report.rpartition("/")
    copy = Path(tempfile.mkdtemp(prefix="relevance-lake-")) / name
    with Bucket(place).open(name) as file:
        copy.write_bytes(file.read())
    return str(copy)


def report(
    study: Study,
    lake: Lake,
    output: str | None = None,
    compare: Sequence[tuple[Study, Lake]] = (),
    charts: str | None = None,
) -> str:
    """Write the report from the results in the lake; its path, or its URL where it goes into a bucket.

    `output`: a path or the URL of a place in a bucket; by default in the lake's `reports`. `compare`: other
    studies that the page shows beside it. `charts`: a folder for each chart as SVG and PNG and each table as
    CSV.
    """
    target = output or report_path(study, lake)
    place, _, name = target.rpartition("/")
    bucket = Bucket(place) if "://" in target else None
    if charts and "://" in charts:
        raise UserError(f"--charts {charts}: charts and tables go into a folder of this machine")
    loaded = [(_results(one, where), _facts(one, where)) for one, where in ((study, lake), *compare)]
    (results, facts), *others = loaded
    if bucket is None:
        written = str(write_report(results, facts, target, others=others).resolve())
    else:
        page = render_page(results, facts, others=others)
        data = page.encode()
        steadily(target, "written", lambda: bucket.put(name, data, "text/html; charset=utf-8"))
        written = f"{bucket.root}/{name}"
    if charts:
        content = page_content(side_by_side(loaded))
        with track(f"charts and tables to {charts}", export_count(content), "files") as advance:
            for _ in export(content, charts):
                advance()
    return written


def compared(names: Sequence[str], study: Study, lake: Lake) -> list[tuple[Study, Lake]]:
    """What `--compare` names: another study of this lake, or this study in another lake.

    Raises UserError for what is neither.
    """
    found = []
    for name in names:
        if name in BUILT_IN or name.endswith(".toml"):
            found.append((load_study(name), lake))
        elif "://" in name or Path(name).is_dir():
            found.append((study, Lake(name)))
        else:
            raise UserError(
                f"--compare {name}: neither a study ({', '.join(BUILT_IN)}, or a TOML file) "
                "nor the folder of a lake"
            )
    return found


def _results(study: Study, lake: Lake) -> dict[str, pl.DataFrame]:
    place = f"{lake.url}/results"
    return steadily(place, "read", lambda: load_results(lake.url, study.name))


def _facts(study: Study, lake: Lake) -> StudyFacts:
    return StudyFacts(
        name=study.name,
        title=study.title or study.name,
        lake=lake.url,
        class_names=Plan(study, lake).class_names(),
        settings=_settings(study, lake),
        versions=versions(),
        attacks=tuple(attack.id for attack in study.attacks),
    )


def _limit(study: Study, lake: Lake) -> int | None:
    """How many images the results are of, as they say themselves."""
    return lake.made_from(f"results/attack_overview/{study.name}.parquet").get("limit")


def _entity(lake: Lake, table: str, name: str, column: str) -> str:
    return str(lake.read(f"{table}/{name}.parquet", [column])[column][0].as_py())


def _parameters(row: Mapping[str, Any]) -> str:
    """Parameters in words, numbers to six digits; what is not set is left out."""
    known = {name: value for name, value in row.items() if value is not None}
    return ", ".join(
        f"{name} {f'{value:g}' if isinstance(value, float) else value}" for name, value in known.items()
    )


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
        settings[f"attack {attack.id}"] = _parameters(attack.parameters.as_row())
    if study.controls.any or study.controls.two_by_two:
        settings["controls"] = _parameters(study.controls.model_dump())
    settings["methods"] = ", ".join(study.methods)
    images = f"the first {limit} correctly classified" if limit else "all correctly classified"
    if any(isinstance(attack.parameters, Imported) for attack in study.attacks):
        images += " with an imported example"
    settings["images"] = images
    of_device = ", ".join(f"{size} on a {device}" for device, size in BATCH_SIZES.items())
    settings["batch size"] = str(study.batch_size or of_device)
    return settings
