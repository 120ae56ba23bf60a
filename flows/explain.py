"""Explain: relevance maps of originals, by the network and by randomised ones, and of what was made of them.

A shard's maps are computed in one stream of full batches; scaling, ranking and writing go on beside
it, target after target.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from compute.maps import RawMaps
from compute.methods import Method
from flows import networks
from flows.background import Background
from flows.force import require_replaceable
from flows.ingest import image_shape, read_images
from flows.lake import Lake, Partition
from flows.map_rows import map_rows
from flows.memory import give_back
from flows.pieces import Piece
from flows.plan import Plan
from flows.progress import track
from flows.study import Study
from flows.vectors import matrix
from flows.versions import recorded
from flows.wanted import Target, Unit, targets_of, units_of
from sql.tables import METHODS

WAITING = 3
"""Batches of maps that wait to be ranked; 7 methods: 11 MB for 128 CIFAR-10 images."""


@dataclass
class Work:
    """What a stream computes of a target: `partitions` of m rows; image_id, label, classes int64 [m].

    pieces: the first `done` rows, ranked, until they are written.
    """

    partitions: dict[Method, Partition]
    image_id: np.ndarray
    label: np.ndarray
    classes: np.ndarray
    pieces: dict[Method, list[pa.Table]] = field(default_factory=dict)
    done: int = 0


def missing_units(study: Study, lake: Lake, force: bool = False) -> list[Unit]:
    """The units with a partition to make; `force`: all of them."""
    return [(piece.name, piece.shard) for piece in missing(study, lake, force)]


def missing(study: Study, lake: Lake, force: bool = False) -> list[Piece]:
    """The units with a partition to make, and how many images of each target are to be explained."""
    plan = Plan(study, lake)
    plan.look_ahead()
    methods, pieces = study.computed_methods(), []
    for unit in units_of(plan):
        images: dict[int | None, int] = {}
        targets = targets_of(plan, unit, methods)
        if force:
            require_replaceable(lake, [p for target in targets for p in target.partitions.values()])
        for target in targets:
            lacking = (target if force else target.lacking(lake)).partitions
            lake.skipped += len(target.partitions) - len(lacking)
            if lacking:
                rows = next(iter(lacking.values())).rows
                images[target.target] = images.get(target.target, 0) + rows
        if images:
            pieces.append(Piece(*unit, images))
    for method in methods:
        lake.write_entity(METHODS, method.as_row())
    return pieces


def explain_unit(
    study: Study,
    lake: Lake,
    unit: Unit,
    only: Collection[int | None] | None = None,
    force: bool = False,
) -> None:
    """Make the unit's missing partitions, with `force` all, of all targets or some; one forward pass serves
    all methods.

    Targets that lack other methods than the rest (a partition was lost) have a stream of their own.
    """
    plan = Plan(study, lake)
    subject, shard = unit
    streams: dict[tuple[Method, ...], list[Target]] = {}
    for wanted in targets_of(plan, unit, study.computed_methods()):
        target = wanted if force else wanted.lacking(lake)
        if target.partitions and (only is None or target.target in only):
            streams.setdefault(tuple(target.partitions), []).append(target)
    shape, classes = image_shape(study, lake), len(plan.class_names())
    if subject in plan.randomisations:
        network = networks.randomised_of_study(study, shape, classes, plan.randomisations[subject])
    else:
        network = networks.of_study(study, shape, classes)
    maps = sum(p.rows for targets in streams.values() for t in targets for p in t.partitions.values())
    # what waits is done before the bar ends
    with track(f"maps of {subject}, shard {shard}", maps, "maps") as advance, Background(WAITING) as beside:
        for methods, targets in streams.items():
            works, images = zip(*(_load(plan, target) for target in targets), strict=True)
            batches = network.explainer(methods, networks.batch_size(study)).stream(
                np.concatenate(images), np.concatenate([work.classes for work in works])
            )
            del images
            first = 0
            for batch in batches:
                beside.submit(_keep, study, lake, works, first, batch)
                count = len(batch[methods[0].id])
                advance(count * len(methods))
                first += count


def _load(plan: Plan, target: Target) -> tuple[Work, np.ndarray]:
    """A target's work and its images, float32 [m, h, w, c]."""
    if target.examples is None:
        inside = plan.chosen().in_shard(target.shard)
        asked = inside.label != target.target  # none is asked twice for its own class
        image_id, label = inside.image_id[asked], inside.label[asked]
        images = read_images(plan.study, plan.lake, target.shard).of(image_id)
    else:
        path, rows = target.examples
        table = plan.lake.read(path, ["image_id", "label", "pixels"]).take(rows)
        image_id, label = (np.asarray(table[name]).astype(np.int64) for name in ("image_id", "label"))
        images = matrix(table["pixels"]).reshape(-1, *image_shape(plan.study, plan.lake))
    classes = label if target.explains == "label" else np.full(len(label), target.target)
    return Work(target.partitions, image_id, label, classes), images


def _keep(study: Study, lake: Lake, works: Sequence[Work], first: int, batch: dict[str, RawMaps]) -> None:
    """Rank a batch that starts at the stream's image `first`; write the targets that it completes."""
    count = len(next(iter(batch.values())))
    for work in works:
        start, stop = max(first, 0), min(first + count, len(work.label))
        if start < stop:
            inside, within = slice(start, stop), slice(start - first, stop - first)
            who = work.image_id[inside], work.label[inside], work.classes[inside]
            for method in work.partitions:
                work.pieces.setdefault(method, []).append(map_rows(*who, batch[method.id].rows(within)))
            work.done = stop
            if work.done == len(work.label):
                for method, partition in work.partitions.items():
                    rows = pa.concat_tables(work.pieces.pop(method)).combine_chunks()
                    lake.write(partition, rows, recorded(study))
                give_back()
        first -= len(work.label)
