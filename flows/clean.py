"""Clean: which files of a lake no study refers to.

A lake knows its studies by the records of their runs; each counts as it last ran. Partitions are judged by
the ids in their folders and the parameters in their footers alone: neither datasets nor models need be at
hand, and another limit or other inputs make nothing superfluous. What a study has made that the lake does not
know stays, and whatever is no file of the lake's writer is only named.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from compute.attacks.registry import is_targeted
from compute.randomisation import NUMERICS_VERSION
from flows.errors import UserError
from flows.lake import Lake
from flows.paired_maps import SERIES_KEYS
from flows.plan import CONTROLS, ORIGINAL
from flows.runs import unrecorded
from flows.study import RANDOMISED, AttackSection, Study
from flows.whole_files import remove_empty_folders
from sql import package
from sql.files import LakeFile, inspect
from sql.footers import Footer, read_footers
from sql.storage import Storage
from sql.tables import RANDOMISATIONS, RUNS, TABLES

INPUTS = ("files", "images", "dataset", "model")
"""What a partition was made from that is no parameter: where it lies now is nobody's business here."""


MAKING = ("run", "ingest", "attack", "explain", "analyse", "import", "import-maps")
"""Commands by which a study says what it wants in a lake."""


def studies_of(lake: Lake, forget: Collection[str] = ()) -> dict[str, Study]:
    """The studies that have run in a lake, each as it last ran; UserError where one is not understood."""
    latest: dict[str, tuple[datetime, str]] = {}
    for row in _runs(lake):
        known = latest.get(row["study"])
        # some commands are of a whole lake, or of a part of a study
        of_study = row["command"] in MAKING and (row["settings"] or "{}") != "{}"
        if of_study and row["study"] not in forget and (known is None or known[0] < row["started"]):
            latest[row["study"]] = (row["started"], row["settings"])
    studies = {}
    for name, (_, settings) in sorted(latest.items()):
        try:
            studies[name] = Study.model_validate_json(settings)
        except (ValidationError, ValueError) as error:
            raise UserError(
                f"{lake.url}: this version does not understand the settings that study {name} last ran with "
                f"({str(error).partition(chr(10))[0]}), so that nobody can tell its files: run it once more, "
                f"or leave it out by --forget {name}"
            ) from None
    return studies


def _runs(lake: Lake) -> Iterator[dict[str, Any]]:
    """study, command, started, settings of each run: of its row, or where it has none, of its log."""
    names = ["study", "command", "started", "settings"]
    for name in lake.names(RUNS.name):
        yield lake.read(f"{RUNS.name}/{name}", names).to_pylist()[0]
    for _, (start, *_) in unrecorded(lake):
        facts = {name: start[name] for name in names}
        started, settings = datetime.fromisoformat(start["started"]), json.dumps(start["settings"] or {})
        yield facts | {"started": started, "settings": settings}


@dataclass
class Wanted:
    """What the partitions of some studies are called, and the parameters that they are made with."""

    studies: Sequence[Study]

    def takes(self, table: str, keys: Mapping[str, Any], made_from: Mapping[str, Any]) -> bool:
        """Whether a study refers to a partition of these keys; unless it says, made from whatever."""
        return any(_wants(study, table, keys, made_from) for study in self.studies)

    @cached_property
    def ids(self) -> dict[str, set[str]]:
        """By table without keys the rows that these studies refer to."""
        ids: dict[str, set[str]] = defaultdict(set)
        for study in self.studies:
            ids["datasets"].add(study.dataset.id)
            ids["models"].add(study.model.id)
            ids["methods"].update(study.methods)
            ids["attacks"].update(attack.id for attack in study.subjects)
            ids["imports"].update(f"{study.dataset.id}.{study.model.id}.{a.id}" for a in study.attacks)
        return ids


def _wants(study: Study, table: str, keys: Mapping[str, Any], made_from: Mapping[str, Any]) -> bool:
    if keys["dataset"] != study.dataset.id or keys.get("model", study.model.id) != study.model.id:
        return False
    if table in ("images", "predictions"):
        return True
    subject = str(keys.get("attack") or keys.get("subject"))
    attack = next((one for one in study.subjects if one.id == subject), None)
    if attack is not None and not _agree(made_from, _parameters(study, attack)):
        return False
    if table == "adversarials":
        return attack is not None
    method = next((one for one in study.parsed_methods() if one.id == keys["method"]), None)
    if method is None or not _agree(made_from, {"method": method.as_row()}):
        return False
    if subject == ORIGINAL:
        return keys["explains"] == "label" or study.controls.two_by_two
    if RANDOMISED.fullmatch(subject):
        drawn = {"seed": study.sanity.seed, "version": NUMERICS_VERSION}
        return study.sanity.cascading_randomisation and _agree(made_from, {"randomisation": drawn})
    return attack is not None and (keys["explains"] == "target" or _explained_for_label(study, attack))


def _explained_for_label(study: Study, attack: AttackSection) -> bool:
    is_control = isinstance(attack.parameters, CONTROLS)
    return is_control or (study.controls.two_by_two and is_targeted(attack.parameters))


def _parameters(study: Study, attack: AttackSection) -> dict[str, Any]:
    found = {"attack": attack.parameters.as_row()}
    if isinstance(attack.parameters, CONTROLS):
        found["controlled"] = study.attack(attack.parameters.of).parameters.as_row()
    return found


def _agree(made_from: Mapping[str, Any], wanted: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether what a file was made from has these parameters, as far as it tells."""
    return all(
        made_from[part].get(name, value) == value
        for part, parameters in wanted.items()
        if part in made_from
        for name, value in parameters.items()
        if name not in INPUTS
    )


@dataclass(frozen=True)
class Superfluous:
    """A file that can go: of which table and id, and why."""

    path: str
    table: str
    identity: str
    why: str
    rows: int
    size: int


@dataclass
class Findings:
    """What a look at a lake found.

    foreign: files that are none of the lake's. faulty: damaged files, which stay. unknown: how many files
    stay that a study has made which the lake does not know, by its name.
    """

    studies: dict[str, Study]
    superfluous: list[Superfluous] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    faulty: list[str] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)


def look(lake: Lake, given: Sequence[Study] = (), forget: Collection[str] = ()) -> Findings:
    """Find the files that neither the lake's studies nor those that are given refer to.

    forget: studies of the lake that count no more. Raises UserError where no study is known: everything
    would be superfluous.
    """
    lake.refresh()
    studies = studies_of(lake, forget)
    counted = [*studies.values(), *given]
    if not counted:
        raise UserError(
            f"{lake.url} knows no study: name those whose files are to be kept, "
            f"as in `relevance-lake clean my-study.toml --lake {lake.url}`"
        )
    lake.must_exist()
    storage = lake.storage
    inspection = inspect(storage)
    names = {study.name for study in counted}
    found = Findings({study.name: study for study in counted})
    found.foreign = [fault.path for fault in inspection.faults if fault.skipped]
    found.faulty = sorted(inspection.faulty)
    files = {path: file for path, file in inspection.files.items() if path not in inspection.faulty}
    kept_series, kept_ids = _judge_partitions(lake, storage, files, Wanted(counted), forget, found)
    _judge_entities(lake, files, Wanted(counted), kept_ids, found)
    _judge_partials(lake, kept_series, found)
    _judge_results(lake, names, forget, found)
    return found


def _judge_partitions(
    lake: Lake,
    storage: Storage,
    files: Mapping[str, LakeFile],
    wanted: Wanted,
    forget: Collection[str],
    found: Findings,
) -> tuple[set[tuple[str, ...]], dict[str, set[str]]]:
    """Series of maps that stay, and by table without keys the ids that partitions that stay have."""
    series: set[tuple[str, ...]] = set()
    ids: dict[str, set[str]] = defaultdict(set)
    paths = [path for path, file in files.items() if file.table is not None and file.table.keys]
    for path, footer in read_footers(storage, paths):
        file = files[path]
        assert file.table is not None and isinstance(footer, Footer)
        made_from = footer.said.get("made_from", {})
        maker = footer.said.get("recorded", {}).get("study", "")
        is_wanted = wanted.takes(file.table.name, file.keys, made_from)
        if not is_wanted and (maker in found.studies or maker in forget):
            named = wanted.takes(file.table.name, file.keys, {})
            why = "made with other parameters than now" if named else "in no study"
            identity = str(list(file.keys.values())[min(2, len(file.keys) - 1)])
            rows = footer.metadata.num_rows
            size = lake.bytes_of(path)
            found.superfluous.append(Superfluous(path, file.table.name, identity, why, rows, size))
            continue
        if not is_wanted:
            found.unknown[maker] += 1
        if file.table.name == "relevance":
            series.add(tuple(str(value) for name, value in file.keys.items() if name != "target"))
        for key, value in file.keys.items():
            ids[f"{key}s"].add(str(value))
        if "subject" in file.keys:
            ids["attacks"].add(str(file.keys["subject"]))
            ids["randomisations"].add(f"{file.keys['model']}.{file.keys['subject']}")
        if "attack" in file.keys:
            ids["imports"].add(f"{file.keys['dataset']}.{file.keys['model']}.{file.keys['attack']}")
    return series, ids


def _judge_entities(
    lake: Lake,
    files: Mapping[str, LakeFile],
    wanted: Wanted,
    kept: Mapping[str, set[str]],
    found: Findings,
) -> None:
    """Rows of tables without keys: those that are asked for, and those of partitions that stay, stay."""
    rows = {
        ("attacks", attack.id): {"attack": attack.id, **attack.parameters.as_row()}
        for study in wanted.studies
        for attack in study.subjects
    }
    rows |= {("methods", m.id): m.as_row() for study in wanted.studies for m in study.parsed_methods()}
    seeds = {study.model.id: study.sanity for study in wanted.studies if study.sanity.cascading_randomisation}
    for path, file in sorted(files.items()):
        table = file.table
        if table is None or table.keys or table is RUNS:
            continue
        name, identity = table.name, file.name.removesuffix(".parquet")
        if identity in kept[name]:
            continue
        row = lake.read(path).to_pylist()[0]
        if table is RANDOMISATIONS:
            sanity = seeds.get(row["model"])
            is_asked = sanity is not None and (row["seed"], row["version"]) == (sanity.seed, NUMERICS_VERSION)
        else:
            now = rows.get((name, identity)) or row
            is_asked = identity in wanted.ids[name] and all(
                row.get(column, value) == value for column, value in now.items() if column not in INPUTS
            )
        if not is_asked:
            why = "made with other parameters than now" if identity in wanted.ids[name] else "in no study"
            found.superfluous.append(Superfluous(path, name, identity, why, 1, lake.bytes_of(path)))


def _judge_partials(lake: Lake, series: set[tuple[str, ...]], found: Findings) -> None:
    """Partial results of maps that go, or of a partial result that there is no more."""
    for path in lake.paths("partials"):
        if path.count("/") != len(("partial", *SERIES_KEYS, "file")):
            continue  # somebody else's
        _, partial, *of, _ = path.split("/")
        if tuple(of) not in series or partial not in package.partials():
            why = "of maps that go" if partial in package.partials() else "no partial result any more"
            found.superfluous.append(Superfluous(path, "partials", partial, why, 0, lake.bytes_of(path)))


def _judge_results(lake: Lake, names: set[str], forget: Collection[str], found: Findings) -> None:
    """Results of studies that are forgotten, or of analyses that there are no more."""
    for path in [*lake.paths("results"), *lake.paths("checked/studies")]:
        if path.count("/") != 2:
            continue  # somebody else's
        table, analysis, name = path.split("/")
        study = name.removesuffix(".parquet")
        is_analysis = table != "results" or analysis in package.analyses()
        if study not in names and study not in forget:
            found.unknown[study] += 1
        elif study in forget and study not in names:
            found.superfluous.append(Superfluous(path, table, study, "in no study", 0, lake.bytes_of(path)))
        elif not is_analysis:
            found.superfluous.append(
                Superfluous(path, table, analysis, "no analysis any more", 0, lake.bytes_of(path))
            )


ORDER = ("checked", "results", "partials", *reversed(TABLES))
"""What follows from other files goes before them, so that a stop in between leaves a sound lake."""


def delete(lake: Lake, superfluous: Iterable[Superfluous]) -> Iterator[Superfluous]:
    """Delete these files, one after the other, and the folders that they leave empty."""
    for one in sorted(superfluous, key=lambda one: (ORDER.index(one.table), one.path)):
        lake.delete(one.path)
        yield one
    if lake.is_local:
        for table in ORDER:
            remove_empty_folders(os.path.join(lake.root, table))
