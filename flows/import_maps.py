"""Import of relevance maps that were computed elsewhere: checked, scaled and ranked as our own."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import polars as pl

from compute.maps import unaccounted
from compute.methods import IMPORTED_PREFIX, Method, parse_method
from flows.errors import UserError
from flows.ingest import image_shape
from flows.lake import Lake, Partition
from flows.lease import leased
from flows.map_files import MapFile, read_maps
from flows.map_rows import map_rows
from flows.plan import ORIGINAL, Plan
from flows.progress import track
from flows.runs import record_run
from flows.study import Study
from flows.vectors import matrix
from flows.versions import recorded
from flows.wanted import targets_of
from sql.tables import METHODS, SHARD

NO_TARGET = -1
"""Stands for the target of an original's map, and for a class that the file does not name."""
NAMED = 5
"""Maps that an error names."""
MAP = ["image_id", "target"]
"""What a map of a subject is known by."""


def import_maps(
    study: Study,
    lake: Lake,
    path: Path,
    method_id: str,
    subject: str,
    note: str | None,
    **beside: Path | None,
) -> tuple[int, int]:
    """Import a file's maps of a subject as a method of the study: partitions (written, found current).

    A file may hold some targets and shards only, but of each all maps that the study wants. beside: as
    for `read_maps`. Raises UserError for whatever is wrong with the file, before anything is written.
    """
    started, plan = time.monotonic(), Plan(study, lake)
    method = _method(study, method_id)
    plan.check_inputs()
    _require_examples(plan, subject)
    file = read_maps(path, image_shape(study, lake), **beside)
    maps = _maps_of(file, plan, subject)
    partitions, wanted = _wanted(plan, method, subject, maps)
    rows = _matched(file, maps, wanted)
    missing = [n for n, partition in enumerate(partitions) if not _is_current(lake, partition, file)]
    method_row = _method_row(lake, method, note)
    with leased(lake, "import-maps", study.name), record_run(study, lake, "import-maps") as counts:
        lake.write_entity(METHODS, method_row)
        with track(f"{method.id} of {subject}", sum(partitions[n].rows for n in missing), "maps") as advance:
            for n in missing:
                _write(study, lake, file, partitions[n], rows.filter(pl.col("partition") == n))
                advance(partitions[n].rows)
        counts["import-maps"] = (len(missing), len(partitions) - len(missing), time.monotonic() - started)
    return len(missing), len(partitions) - len(missing)


def _method(study: Study, method_id: str) -> Method:
    if not method_id.startswith(IMPORTED_PREFIX):
        raise UserError(
            f"--method {method_id}: maps that are imported belong to a method {IMPORTED_PREFIX}NAME"
        )
    method = parse_method(method_id)
    if method not in study.parsed_methods():
        raise UserError(f'study {study.name} does not list {method_id}: add "{method_id}" to its `methods`')
    return method


def _require_examples(plan: Plan, subject: str) -> None:
    """What says whose maps are wanted must be in the lake."""
    study, url = plan.study, plan.lake.url
    subjects = (ORIGINAL, *(attack.id for attack in study.attacks))
    if subject not in subjects:
        raise UserError(f"study {study.name} has no subject {subject!r}: there are {', '.join(subjects)}")
    if not plan.has_predictions():
        raise UserError(
            f"{url} holds no predictions of {study.dataset.id}: run `relevance-lake ingest` first"
        )
    if subject != ORIGINAL and not plan.has_adversarials():
        raise UserError(f"{url} lacks adversarial examples of the study: run `relevance-lake attack` first")


def _maps_of(file: MapFile, plan: Plan, subject: str) -> pl.DataFrame:
    """The file's maps: row, image_id, target, explained_class; refuses what is no map of the subject."""
    if subject == ORIGINAL and file.target is not None:
        raise UserError(
            f"{file.path}: maps of originals have no target: leave it out, or give --subject ATTACK"
        )
    if subject != ORIGINAL and file.target is None:
        raise UserError(
            f"{file.path}: maps of {subject} need a target, the class that their example aims at: "
            "add a column target, or give --targets FILE.npy"
        )
    nothing = np.full(len(file), NO_TARGET)
    explained = nothing if file.explained_class is None else file.explained_class
    columns = {"row": np.arange(len(file)), "image_id": file.image_id, "explained_class": explained}
    maps = pl.DataFrame(columns | {"target": nothing if file.target is None else file.target})
    images, chosen = plan.image_count() or 0, plan.chosen()
    labels = pl.DataFrame({"image_id": chosen.image_id, "target": chosen.label})
    known, ids = pl.col("image_id").is_between(0, images - 1), f"whose ids are 0 to {images - 1}"
    _refuse(file, maps.filter(~known), f"of an image that is not in {plan.study.dataset.id}, {ids}")
    left_out = maps.join(labels, on="image_id", how="anti")
    _refuse(file, left_out, "of an image that the study leaves out: misclassified, or beyond its limit")
    _refuse(
        file, maps.filter(pl.struct(MAP).is_duplicated()), "of an image and target that another map has too"
    )
    if subject != ORIGINAL:
        last = len(plan.class_names()) - 1
        outside = maps.filter(~pl.col("target").is_between(0, last))
        _refuse(file, outside, f"whose target is no class, 0 to {last}")
        _refuse(file, maps.join(labels, on=MAP, how="semi"), "whose target is the label of their image")
    return maps


def _wanted(
    plan: Plan, method: Method, subject: str, maps: pl.DataFrame
) -> tuple[list[Partition], pl.DataFrame]:
    """The partitions that the file has a map of, and every map that the study wants of these.

    Columns: partition (index of the list), image_id, target, label, class (to explain), logit (of it).
    """
    partitions: list[Partition] = []
    frames = [
        pl.DataFrame(
            schema=dict.fromkeys(("partition", *MAP, "label", "class"), pl.Int64) | {"logit": pl.Float32}
        )
    ]
    shard_of = pl.col("image_id") // SHARD
    for shard in maps.select(shard_of).to_series().unique().sort().to_list():
        touched = maps.filter(shard_of == shard)["target"].unique().to_list()
        for target in targets_of(plan, (subject, shard), [method]):
            aimed = NO_TARGET if target.target is None else target.target
            if aimed in touched:
                path, rows = target.examples or _predictions(plan, shard)
                table = plan.lake.read(path, ["image_id", "label", "logits"]).take(rows)
                image_id, label = (np.asarray(table[name]).astype(np.int64) for name in ("image_id", "label"))
                classes = label if target.target is None else np.full(len(label), aimed)
                columns = {"image_id": image_id, "label": label, "class": classes}
                columns["partition"] = np.full(len(label), len(partitions))
                columns["target"] = np.full(len(label), aimed)
                columns["logit"] = matrix(table["logits"])[np.arange(len(label)), classes]
                frames.append(pl.DataFrame(columns).select(frames[0].columns))
                partitions.append(target.partitions[method])
    return partitions, pl.concat(frames)


def _predictions(plan: Plan, shard: int) -> tuple[str, np.ndarray]:
    """Path of a shard's predictions, and the rows of the images that are explained."""
    path = plan.lake.find(plan.predictions(plan.image_count() or 0)[shard])
    assert path is not None
    ids = np.asarray(plan.lake.read(path, ["image_id"])["image_id"])
    return path, np.flatnonzero(np.isin(ids, plan.chosen().image_id))


def _matched(file: MapFile, maps: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """The wanted maps with their row of the file, in the order of the partitions."""
    unwanted = maps.join(wanted, on=MAP, how="anti")
    _refuse(file, unwanted, "of an attack that did not succeed, so that there is no example to explain")
    rows = wanted.join(maps, on=MAP, how="left", maintain_order="left")
    if file.explained_class is not None:
        other = rows.filter(pl.col("explained_class") != pl.col("class"))
        _refuse(file, other, "explained for another class than the label of their image, or their target")
    lacking = rows.filter(pl.col("row").is_null())
    if len(lacking):
        raise UserError(
            f"{file.path} lacks {len(lacking)} of the {len(wanted)} maps that the study wants of its "
            f"targets: {_named(lacking)}. Within a thousand image ids a target is imported whole or not"
        )
    return rows


def _refuse(file: MapFile, bad: pl.DataFrame, what: str) -> None:
    if len(bad):
        count = "map" if len(bad) == 1 else "maps"
        raise UserError(f"{file.path} has {len(bad)} {count} {what}: {_named(bad)}")


def _named(maps: pl.DataFrame) -> str:
    """The first maps of a frame, in words."""
    names = []
    for image_id, target in maps.select(MAP).head(NAMED).iter_rows():
        names.append(f"image {image_id}" + ("" if target == NO_TARGET else f" with target {target}"))
    return ", ".join(names) + (", ..." if len(maps) > NAMED else "")


def _is_current(lake: Lake, partition: Partition, file: MapFile) -> bool:
    """Whether the lake has the partition from this very file; UserError if from another."""
    path = lake.find(partition)
    if path is None:
        return False
    made = lake.footer(path).get("recorded", {}).get("imported_from", {})
    if made.get("sha256") != file.sha256:
        raise UserError(
            f"{lake.url}/{path} holds these maps from another file, {made.get('file')}: "
            f"give another method, or delete that partition to import {file.path}"
        )
    return True


def _method_row(lake: Lake, method: Method, note: str | None) -> dict[str, str | float | int | bool | None]:
    """The method's row of the table `methods`; it keeps its note where none is given."""
    path = f"methods/{method.id}.parquet"
    if lake.exists(path):
        found = lake.read(path, ["note"])["note"][0].as_py()
        if note not in (None, found):
            raise UserError(
                f"{method.id} has the note {found!r} already: leave --note out, or give another method"
            )
        note = found
    return method.as_row() | {"note": note}


def _write(study: Study, lake: Lake, file: MapFile, partition: Partition, rows: pl.DataFrame) -> None:
    places = rows["row"].to_numpy()
    relevance = file.relevance[places]
    if relevance.dtype == np.float16:
        relevance = relevance.astype(np.float32)
    start = rows["logit"].to_numpy() if file.start is None else file.start[places]
    image_id, label, classes = (rows[name].to_numpy() for name in ("image_id", "label", "class"))
    source = {"imported_from": {"file": file.path.name, "sha256": file.sha256}}
    table = map_rows(image_id, label, classes, unaccounted(relevance, start))
    lake.write(partition, table, recorded(study) | source)
