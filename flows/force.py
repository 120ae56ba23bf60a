"""Force: what a step may write anew in its place, and what goes with it.

A partition that is made again replaces its file in one move. What it was made from is compared as ever: other
parameters under the same id are refused (flows/lake.py), so that a part of the images is never of others.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from compute.methods import IMPORTED_PREFIX
from flows.errors import UserError
from flows.lake import Lake, Partition
from flows.vectors import matrix
from sql.tables import SHARD

STARTS = ("image_id", "explained_class", "start")


def require_replaceable(lake: Lake, partitions: Iterable[Partition]) -> None:
    """UserError where a file in place holds more images than the study wants: the rest would be lost."""
    for partition in partitions:
        path = lake.find(partition)
        if path is not None and path != partition.file:
            raise UserError(
                f"{lake.url}/{path} holds more images than the study, --force would leave its "
                f"{partition.rows} alone: give a --limit that is not lower than when it was made, or none"
            )


def require_same_images(lake: Lake, partition: Partition, correct: np.ndarray) -> None:
    """UserError where other images are correctly classified, bool [m], than in the predictions in place."""
    if not lake.exists(partition.file):
        return
    differing = np.flatnonzero(np.asarray(lake.read(partition.file, ["correct"])["correct"]) != correct)
    if len(differing):
        raise UserError(
            f"{lake.url}/{partition.file}: by these versions of the packages {len(differing)} images are "
            f"classified otherwise, such as {partition.shard * SHARD + int(differing[0])}, and attacks and "
            "maps in the lake are of the images as they were: use another lake"
        )


def drop_maps_of_others(lake: Lake, partition: Partition, rows: pa.Table) -> None:
    """Before other adversarial examples take the place of those of a partition, delete the maps of these.

    Their controls go, too: these are of the examples as they were. Where the file of examples was lost, its
    maps tell whether they are of these: they start at the logits.
    """
    was_lost = not lake.exists(partition.file)
    if was_lost and lake.outdated(partition):
        return  # a longer file, whose maps are made anew
    if not was_lost and lake.read(partition.file).equals(rows):
        return
    keys = dict(partition.keys)
    place, shard = f"dataset={keys['dataset']}/model={keys['model']}", f"ids-{partition.shard * SHARD}-"
    maps = [path for path in lake.paths(f"relevance/{place}") if f"/target={keys['target']}/{shard}" in path]
    own = [path for path in maps if f"/subject={keys['attack']}/" in path]
    told = [path for path in own if f"/method={IMPORTED_PREFIX}" not in path]
    if was_lost and all(_start_at_logits(lake.read(path, STARTS), rows) for path in told):
        return
    attacks = (lake.read(path, ["attack", "control_of"]).to_pylist()[0] for path in lake.paths("attacks"))
    controls = {row["attack"] for row in attacks if row["control_of"] == keys["attack"]}
    for path in maps:
        if path in own or any(f"/subject={control}/" in path for control in controls):
            lake.delete(path)
    for control in controls:
        for path in lake.paths(f"adversarials/{place}/attack={control}/target={keys['target']}"):
            if f"/{shard}" in path:
                lake.delete(path)


def _start_at_logits(maps: pa.Table, examples: pa.Table) -> bool:
    """Whether maps are of these examples, as far as the forward pass tells: see maps_start_at_logits.sql.

    maps: STARTS. examples: of `adversarials`.
    """
    image_id, explained, start = (np.asarray(maps[name]) for name in STARTS)
    known = np.asarray(examples["image_id"])
    if not len(image_id) or not np.isin(image_id, known).all():
        return not len(image_id)
    order = np.argsort(known)
    found = matrix(examples["logits"])[order[np.searchsorted(known, image_id, sorter=order)]]
    expected = found[np.arange(len(found)), explained]
    return np.allclose(start, expected, rtol=0, atol=1e-4 * np.abs(found).max(axis=1), equal_nan=True)
