"""What stands in a lake for a study, and what is to come, as tables for a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from compute.attacks.controls import Darkened
from compute.attacks.foolbox24 import Foolbox24
from compute.attacks.foolbox_parameters import FoolboxAttack
from compute.attacks.imported import Imported, find_examples
from compute.attacks.registry import is_targeted
from compute.datasets import load_dataset
from compute.methods import Method
from flows.lake import Lake, Partition
from flows.plan import CONTROLS, Plan
from flows.study import AttackSection, Study
from sql.tables import SHARD

SECONDS_A_GRADIENT = 0.0013
"""Loss and gradient of the network of Table 2 for an image of a batch, 2 cores, with what an attack adds."""
GRADIENTS_A_PAIR = 30
"""L-BFGS on that network at confidence 0.99."""
REFERENCE_GRADIENTS_A_PAIR = {"mse": 475, "mae": 6_200}
"""The same as Foolbox 2.4.0 has it, by its distance."""
SECONDS_AN_IMPORT = 0.002
"""Reading an adversarial example of others and asking the network."""
SECONDS_A_CONTROL = 0.0015
"""Sizing noise and asking the network."""
SECONDS_A_MAP = 0.0011
"""One LRP rule on the same network, ranking and writing included."""
BYTES_A_COMPONENT = {"images": 1.0, "predictions": 0.02, "adversarials": 1.05, "relevance": 4.9}
"""Bytes in Parquet for one component of one row: examples on 8-bit levels, maps with ranks."""
BYTES_OFF_LEVELS = 2.9
"""The same of an example that is not on 8-bit levels."""


@dataclass
class Tally:
    """Partitions and rows of one kind: wanted, and in the lake."""

    wanted: int = 0
    present: int = 0
    rows: float = 0
    rows_present: float = 0

    def add(self, partition: Partition, is_there: bool) -> None:
        self.wanted += 1
        self.rows += partition.expected_rows
        if is_there:
            self.present += 1
            self.rows_present += partition.expected_rows


def tally(plan: Plan, partitions: Iterable[Partition]) -> dict[tuple[str, str], Tally]:
    """Tallies by (table, attack or method)."""
    tallies: dict[tuple[str, str], Tally] = {}
    for partition in partitions:
        keys = dict(partition.keys)
        what = str(keys.get("method") or keys.get("attack") or keys.get("model") or keys.get("dataset"))
        tallies.setdefault((partition.table, what), Tally()).add(
            partition, plan.lake.find(partition) is not None
        )
    return tallies


def status_table(plan: Plan, parts: Mapping[tuple[str, str], Tally]) -> Table:
    """Wanted, present and missing partitions of a study, from its tallies."""
    table = Table(
        "table", "what", "partitions", "missing", "rows", title=f"{plan.study.name} in {plan.lake.url}"
    )
    for (name, what), found in parts.items():
        missing = found.wanted - found.present
        table.add_row(
            name, what, f"{found.present} of {found.wanted}", str(missing) if missing else "",
            f"{found.rows_present:,.0f} of {found.rows:,.0f}",
        )  # fmt: skip
    if not plan.has_predictions():
        table.caption = "adversarials and relevance are planned once images and predictions are there"
    elif not plan.has_randomisations():
        table.caption = "maps by randomised networks are planned once `ingest` has been run again"
    elif not plan.has_adversarials():
        table.caption = "maps of adversarial examples are planned once these are there"
    return table


def dry_run_table(plan: Plan) -> Table:
    """Partitions, hours and gigabytes to come, against the free disk; estimates for 2 cores."""
    by_table, components = to_come(plan)
    table = Table(
        "table", "partitions", "rows", "hours", "GB", title=f"{plan.study.name} into {plan.lake.url}: to come"
    )
    hours = gigabytes = 0.0
    for name, some in by_table.items():
        off_levels = some.rows_off_levels * (BYTES_OFF_LEVELS - BYTES_A_COMPONENT[name])
        size = components * (some.rows * BYTES_A_COMPONENT[name] + off_levels) / 1e9
        hours, gigabytes = hours + some.seconds / 3600, gigabytes + size
        table.add_row(
            name, f"{some.files:,}", f"{some.rows:,.0f}", f"{some.seconds / 3600:.2f}", f"{size:.3f}"
        )
    table.add_section()
    table.add_row("together", "", "", f"{hours:.2f}", f"{gigabytes:.3f}")
    if plan.lake.is_local:
        folder = Path(plan.lake.root)
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free / 1e9
        table.caption = f"{free:.1f} GB free" + ("" if free > 1.1 * gigabytes else ": NOT ENOUGH")
    return table


@dataclass
class ToCome:
    """Partition files and rows of a table that are to come, and the time that they take.

    rows_off_levels: those of images that are not on 8-bit levels, which take more disk.
    """

    files: int = 0
    rows: float = 0
    seconds: float = 0.0
    rows_off_levels: float = 0

    def add(self, files: int, rows: float, seconds_a_row: float = 0.0, is_off_levels: bool = False) -> None:
        self.files += files
        self.rows += rows
        self.seconds += rows * seconds_a_row
        self.rows_off_levels += rows if is_off_levels else 0


def to_come(plan: Plan) -> tuple[dict[str, ToCome], int]:
    """What is to come by table, and the components of an image.

    What the lake cannot tell yet is taken for the most it can be: every image correctly classified,
    every attack successful, every imported file an adversarial example.
    """
    study, lake = plan.study, plan.lake
    count, classes, components = _dataset_size(plan)
    wanted = {name: ToCome() for name in ("images", "predictions", "adversarials", "relevance")}
    speed = {attack.id: _seconds_a_pair(attack) for attack in study.subjects}
    speed |= {method.id: _seconds_a_map(method, components) for method in study.computed_methods()}
    off_levels = {attack.id for attack in study.subjects if _is_off_levels(attack)}
    for partition in plan.known():
        if not lake.find(partition):
            keys = dict(partition.keys)
            of = str(keys.get("method", keys.get("attack")))
            rows, seconds = partition.expected_rows, speed.get(of, 0.0)
            wanted[partition.table].add(1, rows, seconds, of in off_levels)
    methods = len(study.methods)
    seconds_a_map = sum(speed[method.id] for method in study.computed_methods()) / methods
    if not plan.has_predictions():
        if plan.image_count() is None:
            for name in ("images", "predictions"):
                wanted[name].add(-(-count // SHARD), count)
        most = most_pairs(study, count, classes)
        for attack, (files, pairs) in most.pairs.items():
            wanted["adversarials"].add(files, pairs, speed[attack], attack in off_levels)
        wanted["relevance"].add(most.shards * methods, most.images * methods, seconds_a_map)
        if study.controls.two_by_two:
            asked = methods * most.shards * classes, methods * most.images * (classes - 1)
            wanted["relevance"].add(*asked, seconds_a_map)
    examples = wanted["adversarials"]
    questions = methods * (2 if study.controls.two_by_two else 1)
    wanted["relevance"].add(questions * examples.files, questions * examples.rows, seconds_a_map)
    return wanted, components


def _is_off_levels(attack: AttackSection) -> bool:
    """Whether an attack or control delivers images that are not on 8-bit levels."""
    is_free = attack.parameters.as_row().get("quantise") == "none"
    return is_free and not isinstance(attack.parameters, Darkened)


def _seconds_a_pair(attack: AttackSection) -> float:
    if isinstance(attack.parameters, Imported):
        return SECONDS_AN_IMPORT
    if isinstance(attack.parameters, CONTROLS):
        return SECONDS_A_CONTROL
    gradients = GRADIENTS_A_PAIR
    if isinstance(attack.parameters, Foolbox24):
        gradients = REFERENCE_GRADIENTS_A_PAIR[attack.parameters.distance]
    if isinstance(attack.parameters, FoolboxAttack):
        gradients = attack.parameters.usual_cost
    return gradients * SECONDS_A_GRADIENT


def _seconds_a_map(method: Method, components: int) -> float:
    """Of methods that ask the network many times each question counts."""
    asked = method.samples or 1
    if method.stride:
        asked = components / (3 * method.stride**2)  # places of an occluding window on a colour image
    return SECONDS_A_MAP + (asked - 1) * SECONDS_A_GRADIENT


@dataclass(frozen=True)
class Most:
    """The most that a study can attack: images, shards of them, and by attack its files and pairs."""

    images: int
    shards: int
    pairs: dict[str, tuple[int, int]]


def most_pairs(study: Study, count: int, classes: int) -> Most:
    """What a study attacks of `count` images if all of them are correctly classified."""
    imported = {
        attack.id: find_examples(attack.parameters.path)
        for attack in study.attacks
        if isinstance(attack.parameters, Imported)
    }
    ids = np.arange(count)
    if imported:
        ids = np.intersect1d(ids, np.concatenate([found.image_id for found in imported.values()]))
    ids = ids[: study.limit]
    shards = len(np.unique(ids // SHARD))
    pairs = {}
    for attack in study.subjects:
        if attack.id in imported:
            found = imported[attack.id]
            inside = np.isin(found.image_id, ids) & (found.target < classes)
            keys = np.stack([found.target[inside], found.image_id[inside] // SHARD])
            pairs[attack.id] = (np.unique(keys, axis=1).shape[1], int(inside.sum()))
        else:
            targets = classes - 1 if is_targeted(attack.parameters) else 1
            pairs[attack.id] = (shards * classes, len(ids) * targets)
    return Most(len(ids), shards, pairs)


def _dataset_size(plan: Plan) -> tuple[int, int, int]:
    """Images, classes and components of an image; from the lake where it is there."""
    count = plan.image_count()
    if count is not None:
        first = plan.lake.find(plan.images(count)[0])
        components = plan.lake.read(first, ["pixels"]).schema.field("pixels").type.list_size if first else 0
        return count, len(plan.class_names()), components
    section = plan.study.dataset
    if section.source == "cifar10" and not section.path:
        return {"train": 50_000, "test": 10_000}[section.split], 10, 3072
    dataset = load_dataset(section.source, section.path, section.split)
    return len(dataset.labels), len(dataset.classes), int(dataset.pixels[0].size)


def totals(study: Study, lake: Lake) -> dict[str, Tally]:
    """What a study wants and what it has, by table."""
    plan = Plan(study, lake)
    by_table: dict[str, Tally] = {}
    for (name, _), found in tally(plan, plan.known()).items():
        total = by_table.setdefault(name, Tally())
        for part in vars(total):
            setattr(total, part, getattr(total, part) + getattr(found, part))
    return by_table


def summary_table(study: Study, lake: Lake) -> Table:
    """What a finished study holds."""
    table = Table(
        "table", "partitions", "rows", title=f"{study.name} in {lake.url} ({lake.size() / 1e6:.0f} MB)"
    )
    for name, total in totals(study, lake).items():
        table.add_row(name, f"{total.present:,}", f"{total.rows_present:,.0f}")
    return table
