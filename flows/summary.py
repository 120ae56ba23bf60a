"""What stands in a lake for a study, and what is to come, as tables for a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from compute.datasets import load_dataset
from flows.lake import Lake, Partition
from flows.plan import Plan
from flows.study import Study
from sql.tables import SHARD

SECONDS_A_PAIR = 0.15
"""L-BFGS on the network of Table 2, 2 cores, confidence 0.99; one gradient takes about a millisecond."""
SECONDS_A_MAP = 0.006
"""One LRP rule on the same network, ranking and writing included."""
BYTES_A_COMPONENT = {"images": 0.9, "predictions": 0.02, "adversarials": 1.6, "relevance": 4.9}
"""Bytes in Parquet for one component of one row; relevance with its rank."""


@dataclass
class Tally:
    """Partitions and rows of one kind: wanted, and in the lake."""

    wanted: int = 0
    present: int = 0
    rows: int = 0
    rows_present: int = 0

    def add(self, partition: Partition, is_there: bool) -> None:
        self.wanted += 1
        self.rows += partition.rows
        if is_there:
            self.present += 1
            self.rows_present += partition.rows


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


def status_table(plan: Plan) -> Table:
    """Wanted, present and missing partitions of a study."""
    table = Table(
        "table", "what", "partitions", "missing", "rows", title=f"{plan.study.name} in {plan.lake.url}"
    )
    for (name, what), found in tally(plan, plan.known()).items():
        missing = found.wanted - found.present
        table.add_row(
            name, what, f"{found.present} of {found.wanted}", str(missing) if missing else "",
            f"{found.rows_present:,} of {found.rows:,}",
        )  # fmt: skip
    if not plan.has_predictions():
        table.caption = "adversarials and relevance are planned once images and predictions are there"
    elif not plan.has_adversarials():
        table.caption = "maps of adversarial examples are planned once these are there"
    return table


def dry_run_table(plan: Plan) -> Table:
    """Partitions, hours and gigabytes to come, against the free disk; estimates for 2 cores."""
    to_come = _to_come(plan)
    table = Table(
        "table", "partitions", "rows", "hours", "GB", title=f"{plan.study.name} into {plan.lake.url}: to come"
    )
    hours = gigabytes = 0.0
    for name, (partitions, rows, components) in to_come.items():
        seconds = {"adversarials": SECONDS_A_PAIR, "relevance": SECONDS_A_MAP}.get(name, 0.0) * rows
        size = rows * components * BYTES_A_COMPONENT[name] / 1e9
        hours, gigabytes = hours + seconds / 3600, gigabytes + size
        table.add_row(name, f"{partitions:,}", f"{rows:,}", f"{seconds / 3600:.2f}", f"{size:.3f}")
    table.add_section()
    table.add_row("together", "", "", f"{hours:.2f}", f"{gigabytes:.3f}")
    if plan.lake.is_local:
        folder = Path(plan.lake.root)
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free / 1e9
        table.caption = f"{free:.1f} GB free" + ("" if free > 1.1 * gigabytes else ": NOT ENOUGH")
    return table


def _to_come(plan: Plan) -> dict[str, tuple[int, int, int]]:
    """By table: partitions, rows and components of a row to come.

    What the lake cannot tell yet is taken for the most it can be: every image correctly classified,
    every attack successful.
    """
    study, lake = plan.study, plan.lake
    count, classes, components = _dataset_size(plan)
    wanted: dict[str, tuple[int, int]] = dict.fromkeys(
        ("images", "predictions", "adversarials", "relevance"), (0, 0)
    )
    for partition in plan.known():
        if not lake.find(partition):
            files, rows = wanted[partition.table]
            wanted[partition.table] = (files + 1, rows + partition.rows)
    if not plan.has_predictions():
        images = min(count, study.limit or count)
        shards, attacked_shards = -(-count // SHARD), -(-images // SHARD)
        if plan.image_count() is None:
            wanted["images"] = wanted["predictions"] = (shards, count)
        attacks = len(study.attacks)
        wanted["adversarials"] = (attacked_shards * classes * attacks, images * (classes - 1) * attacks)
        files, rows = attacked_shards, images
        wanted["relevance"] = (files * len(study.methods), rows * len(study.methods))
    files, rows = wanted["relevance"]
    more_files, more_rows = wanted["adversarials"]
    methods = len(study.methods)
    wanted["relevance"] = (files + methods * more_files, rows + methods * more_rows)
    return {name: (files, rows, components) for name, (files, rows) in wanted.items()}


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


def summary_table(study: Study, lake: Lake) -> Table:
    """What a finished study holds."""
    plan = Plan(study, lake)
    table = Table(
        "table", "partitions", "rows", title=f"{study.name} in {lake.url} ({lake.size() / 1e6:.0f} MB)"
    )
    totals: dict[str, Tally] = {}
    for (name, _), found in tally(plan, plan.known()).items():
        total = totals.setdefault(name, Tally())
        total.present, total.rows_present = (
            total.present + found.present,
            total.rows_present + found.rows_present,
        )
    for name, total in totals.items():
        table.add_row(name, f"{total.present:,}", f"{total.rows_present:,}")
    return table
