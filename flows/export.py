"""Export: a part of a lake as a lake of its own, to share.

Whole partitions are copied byte for byte; where the part has fewer images, its rows are written anew under
the same footer. Partial results come along, results are made in the copy from those that hold there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.analyse import analyse
from flows.errors import UserError
from flows.lake import Lake, Partition
from flows.plan import Plan
from flows.progress import track
from flows.runs import record_run
from flows.study import Study
from sql.tables import TABLES


def narrowed(
    study: Study, methods: Collection[str] = (), attacks: Collection[str] = (), limit: int | None = None
) -> Study:
    """The study with these of its methods and attacks, of at most so many images; UserError for others."""
    for kind, asked, own in (
        ("method", methods, study.methods),
        ("attack", attacks, [attack.id for attack in study.attacks]),
    ):
        if unknown := sorted(set(asked) - set(own)):
            raise UserError(f"study {study.name} has no {kind} {unknown[0]}: there are {', '.join(own)}")
    limits = [one for one in (limit, study.limit) if one is not None]
    return study.model_copy(
        update={
            "methods": tuple(one for one in study.methods if not methods or one in methods),
            "attacks": tuple(one for one in study.attacks if not attacks or one.id in attacks),
            "limit": min(limits, default=None),
        }
    )


def export(study: Study, lake: Lake, output: Lake, targets: Collection[int] = ()) -> tuple[int, int]:
    """Copy what a study wants of a lake into another; (files written, files found there).

    targets: only pairs that aim at these classes. Raises UserError where the lake lacks something of it.
    """
    if (type(output.fs), output.root) == (type(lake.fs), lake.root):
        raise UserError(f"--output {output.url} is the lake itself: give another folder or bucket")
    plan = Plan(study, lake)
    wanted = _wanted(plan, targets)
    with record_run(study, output, "export") as step:
        written, copied = _copy_rows_without_keys(plan, output), 0
        with track(f"files to {output.url}", len(wanted), "files") as advance:
            for partition, path in wanted:
                if output.find(partition) is None:
                    _copy(plan, partition, path, output)
                    copied += 1
                advance(1, partition.table)
        written += copied + _copy_partials(plan, output)
        analyse(study, output)
        found = len(wanted) - copied
        step.add(replace(output.counts, written=written, found=found))
    return written, found


def _wanted(plan: Plan, targets: Collection[int]) -> list[tuple[Partition, str]]:
    """The partitions and where the lake has them."""
    lacking, wanted = 0, []
    if plan.has_predictions() and plan.has_randomisations():
        for partition in plan.known():
            target = dict(partition.keys).get("target")
            if targets and target is not None and target not in targets:
                continue
            path = plan.lake.find(partition)
            lacking += path is None
            wanted.append((partition, path or ""))
    if lacking or not wanted:
        missing = f"{lacking} of {len(wanted)} partitions" if wanted else "images or predictions"
        raise UserError(
            f"{plan.lake.url} lacks {missing} of study {plan.study.name}, as `relevance-lake status` tells: "
            "run the study first, or export less (--limit, --method, --attack, --target)"
        )
    return wanted


def _copy(plan: Plan, partition: Partition, path: str, output: Lake) -> None:
    """Copy a partition; of one with more images than are wanted, their rows."""
    if path == partition.file:
        output.write_copy(partition, plan.lake.bytes(path))
        return
    rows = plan.lake.read(path)
    ids = pa.array(plan.chosen().image_id.astype(np.int32))
    rows = rows.filter(pc.is_in(rows["image_id"], ids))  # pyright: ignore[reportAttributeAccessIssue]
    output.write(partition, rows, plan.lake.footer(path).get("recorded", {}))


def _copy_rows_without_keys(plan: Plan, output: Lake) -> int:
    """Copy the rows that say what the ids of the study mean; how many files."""
    written = 0
    for path in _paths_without_keys(plan):
        if plan.lake.exists(path):
            table = TABLES[path.partition("/")[0]]
            written += not output.exists(path)
            output.write_entity(table, plan.lake.read(path).to_pylist()[0])
    return written


def _paths_without_keys(plan: Plan) -> Iterator[str]:
    study = plan.study
    yield f"datasets/{study.dataset.id}.parquet"
    yield f"models/{study.model.id}.parquet"
    for method in study.methods:
        yield f"methods/{method}.parquet"
    for attack in study.subjects:
        yield f"attacks/{attack.id}.parquet"
        yield f"imports/{study.dataset.id}.{study.model.id}.{attack.id}.parquet"
    for subject in plan.randomisations:
        yield f"randomisations/{study.model.id}.{subject}.parquet"


def _copy_partials(plan: Plan, output: Lake) -> int:
    """Copy partial results of the maps that are there now: the analyses take what is current."""
    maps, written = (path.split("/")[1:6] for path in output.paths("relevance")), 0
    series = {"/".join(part.partition("=")[2] for part in parts) for parts in maps}
    for path in plan.lake.paths("partials"):
        if "/".join(path.split("/")[2:7]) in series and not output.exists(path):
            output.put(path, plan.lake.bytes(path))
            written += 1
    return written
