"""Import: a network and adversarial examples of others into the lake, and a study file to go on with."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compute.attacks.imported import find_examples
from compute.classifier import model_files
from compute.datasets import guess_source
from compute.methods import PAPER_RULES
from flows import attack as attacking
from flows import ingest as ingesting
from flows.errors import UserError
from flows.lake import Lake
from flows.lease import leased
from flows.plan import Plan
from flows.runs import record_run
from flows.study import Study, parse_study


@dataclass(frozen=True)
class Artefacts:
    """What others made, as paths: a model, a folder of examples, the dataset that these were made from."""

    model: str
    weights: str | None
    images: str
    dataset: str
    split: str


def study_text(name: str, given: Artefacts, folder: Path) -> str:
    """The study file, to stand in `folder`: the paper's rules in the convention of its released code."""
    source, path = guess_source(given.dataset)
    dataset = {"source": source, "split": given.split} | ({"path": _from(folder, path)} if path else {})
    model = {"file": given.model if given.model == "shipped" else _from(folder, given.model)}
    if given.weights:
        model["weights"] = _from(folder, given.weights)
    attack = {"id": name, "algorithm": "imported", "path": _from(folder, given.images)}
    lines = [
        "# Written by `relevance-lake import`: adversarial examples of others, by others' network.",
        "",
        f"name = {_quoted(name)}",
        f"title = {_quoted(f'Imported adversarial examples: {name}')}",
        "batch_size = 128",
        "",
        "# other methods: see the comments of the file that `relevance-lake init` writes",
        "methods = [",
        *(f"    {_quoted('published-' + rule)}," for rule in PAPER_RULES),
        "]",
    ]
    for heading, table in (("[dataset]", dataset), ("[model]", model), ("[[attacks]]", attack)):
        lines += ["", heading, *(f"{key} = {_quoted(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def import_artefacts(name: str, given: Artefacts, lake_url: str, file: Path) -> Study:
    """Check the artefacts, bring them into the lake, write the study file; the study.

    Raises what is wrong with them before work starts. The file is written once everything is in the
    lake; one of the same text may be there already.
    """
    model_files(given.model, given.weights)
    find_examples(given.images)
    text = study_text(name, given, file.parent)
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise UserError(f"{file} is already there with other content: give another --name, or delete it")
    study, lake = parse_study(text, str(file), file.parent), Lake(lake_url)
    Plan(study, lake).check_inputs()
    with leased(lake, "import", study.name), record_run(study, lake, "import"):
        ingesting.predict(study, lake, ingesting.ingest_images(study, lake))
        for attack, shard in attacking.missing_shards(study, lake):
            attacking.attack_shard(study, lake, attack, shard)
    file.write_text(text, encoding="utf-8")
    return study


def reached(study: Study, lake: Lake) -> tuple[int, int, int]:
    """(images, examples of them, examples that the network takes for their target) of an import."""
    plan = Plan(study, lake)
    chosen, statuses = plan.chosen(), []
    for attack in study.attacks:
        for shard in chosen.shards():
            for partition in plan.adversarials(attack, shard, chosen):
                statuses.append(np.asarray(lake.read(lake.find(partition) or "", ["status"])["status"]))
    together = np.concatenate(statuses)
    return len(chosen.image_id), len(together), int((together == "success").sum())


def _from(folder: Path, path: str) -> str:
    """A path as the study file names it: from the file's folder, unless it is absolute."""
    return path if os.path.isabs(path) else os.path.relpath(path, folder)


def _quoted(text: str) -> str:
    """A TOML string; JSON's are of the same form."""
    return json.dumps(text, ensure_ascii=False)
