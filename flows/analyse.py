"""Analyse: the study's SQL analyses into `results`."""

from __future__ import annotations

import hashlib
from typing import Any

import polars as pl

from flows.lake import Lake
from flows.plan import Plan
from flows.progress import track
from flows.study import Study
from sql.catalog import Scope, analyses, open_lake
from sql.tables import PARTITIONED


def scope_of(study: Study, lake: Lake) -> Scope:
    """What of a lake belongs to a study."""
    chosen = Plan(study, lake).chosen().image_id
    return Scope(
        dataset=study.dataset.id,
        model=study.model.id,
        attacks=tuple(attack.id for attack in study.attacks),
        methods=study.methods,
        last_image=int(chosen[-1]) if len(chosen) else -1,
    )


def analyse(study: Study, lake: Lake) -> int:
    """Write the results that are missing or older than the lake; their number."""
    lake.refresh()
    scope = scope_of(study, lake)
    inputs = _inputs(scope, lake)
    outdated: dict[str, dict[str, Any]] = {}
    for name, analysis in analyses().items():
        made_from = {
            "limit": study.limit,
            "inputs": inputs,
            "sql": hashlib.sha256(analysis.sql.encode()).hexdigest(),
        }
        path = f"results/{name}/{study.name}.parquet"
        if lake.exists(path) and lake.footer(path).get("made_from") == made_from:
            lake.skipped += 1
        else:
            outdated[name] = made_from
    if not outdated:
        return 0
    with (
        open_lake(lake.url, scope=scope) as database,
        track("analyses", len(outdated), "queries") as advance,
    ):
        for name, made_from in outdated.items():
            frame = database.analyse(name)
            frame = frame.select(pl.lit(study.name).alias("study"), pl.all())
            lake.write_result(name, study.name, frame.to_arrow(), made_from)
            advance(1, name)
    return len(outdated)


def _inputs(scope: Scope, lake: Lake) -> str:
    """Digest of the study's scope and of the partition files in the lake, names and sizes."""
    digest = hashlib.sha256(repr(scope).encode())
    for table in PARTITIONED:
        for path in lake.paths(table.name):
            digest.update(f"{path} {lake.bytes_of(path)}\n".encode())
    return digest.hexdigest()
