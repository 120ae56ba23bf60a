"""Analyse: the study's partial results and SQL analyses into `partials` and `results`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

import polars as pl

from flows.lake import Lake
from flows.partials import Partials, Unit, together
from flows.plan import Plan
from flows.progress import track
from flows.study import Study
from sql.catalog import LakeDatabase, Scope, analyses, open_lake
from sql.tables import PARTITIONED

MEMORY_LIMIT = "1GB"
"""Of DuckDB: every step streams, more would not make it quicker."""

MEMORY_A_CORE = "500MB"
"""Of DuckDB, where each core works on a shard of its own."""


def scope_of(study: Study, lake: Lake) -> Scope:
    """What of a lake belongs to a study; of one without limit, whatever images are there."""
    chosen = Plan(study, lake).chosen().image_id
    last_image = int(chosen[-1]) if len(chosen) else -1
    return Scope(
        dataset=study.dataset.id,
        model=study.model.id,
        attacks=tuple(attack.id for attack in study.attacks),
        methods=study.methods,
        last_image=last_image if study.limit else None,
    )


def analyse(study: Study, lake: Lake) -> int:
    """Write the results that are missing or older than the lake; their number."""
    lake.refresh()
    return analyse_scope(study.name, scope_of(study, lake), lake, study.limit)


def analyse_scope(name: str, scope: Scope, lake: Lake, limit: int | None = None) -> int:
    """Write the results of a part of the lake under a name; how many were missing or outdated.

    limit: of how many images, where a study is not of all; kept with the results.
    """
    outdated = _outdated(name, scope, lake, limit)
    if not outdated:
        return 0
    with open_lake(lake.url, scope=scope, memory_limit=MEMORY_LIMIT) as database:
        for units in _stages(scope, lake):
            make_units(lake, units)
        _make_results(name, scope, lake, database, outdated)
    return len(outdated)


def stages(study: Study, lake: Lake) -> Iterator[list[list[Unit]]]:
    """Outdated partial results, in pieces of work: first of shards, then of whole series.

    The second list is to be asked for when the first is done. Nothing where all results are current.
    """
    lake.refresh()
    scope = scope_of(study, lake)
    if _outdated(study.name, scope, lake, study.limit):
        open_lake(lake.url, scope=scope).close()  # refuses files that are not what their names say
        for units in _stages(scope, lake):
            yield list(together(units))
        lake.refresh()


def merge(study: Study, lake: Lake) -> int:
    """Write the outdated results, from partial results that are all there; their number."""
    scope = scope_of(study, lake)
    outdated = _outdated(study.name, scope, lake, study.limit)
    if outdated:
        with open_lake(lake.url, scope=scope, memory_limit=MEMORY_LIMIT) as database:
            _make_results(study.name, scope, lake, database, outdated)
    return len(outdated)


def make_units(lake: Lake, units: Sequence[Unit]) -> None:
    """Compute the outdated ones among these partial results, on all cores."""
    work = list(together(units))
    if not work:
        return
    cores = _cores()
    workers = min(cores, len(work))
    databases: SimpleQueue[LakeDatabase] = SimpleQueue()
    what, unit_name = ("quantiles", "series") if units[0].shard is None else ("values and ranks", "shards")

    def make(pieces: list[Unit]) -> str:
        database = databases.get()
        try:
            for unit in pieces:
                unit.make(lake, database)
        finally:
            databases.put(database)
        return " ".join(pieces[0].series[2:4])

    with ExitStack() as stack, track(what, len(work), unit_name) as advance:
        for _ in range(workers):
            # what the files are was verified when the units were planned
            opened = open_lake(
                lake.url,
                scope=units[0].scope(()),
                memory_limit=MEMORY_A_CORE if workers > 1 else MEMORY_LIMIT,
                threads=cores // workers,
                verify=False,
            )
            databases.put(stack.enter_context(opened))
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        stack.callback(pool.shutdown, cancel_futures=True)
        for done in as_completed([pool.submit(make, pieces) for pieces in work]):
            advance(1, done.result())


def _stages(scope: Scope, lake: Lake) -> Iterator[list[Unit]]:
    of: Sequence[Callable[[Partials], list[Unit]]] = (Partials.of_shards, Partials.of_series)
    for units in of:
        yield units(Partials(scope, lake))


def _outdated(name: str, scope: Scope, lake: Lake, limit: int | None) -> dict[str, dict[str, Any]]:
    """What each analysis is to be made from, of those whose result is missing or made from else."""
    inputs = _inputs(scope, lake)
    outdated: dict[str, dict[str, Any]] = {}
    for analysis in analyses().values():
        definition = hashlib.sha256(analysis.definition.encode()).hexdigest()
        made_from = {"limit": limit, "inputs": inputs, "sql": definition}
        path = f"results/{analysis.name}/{name}.parquet"
        if lake.exists(path) and lake.footer(path).get("made_from") == made_from:
            lake.skipped += 1
        else:
            outdated[analysis.name] = made_from
    return outdated


def _make_results(
    name: str, scope: Scope, lake: Lake, database: LakeDatabase, outdated: dict[str, dict[str, Any]]
) -> None:
    database.narrow(scope)
    Partials(scope, lake).keep(database)
    with track("analyses", len(outdated), "queries") as advance, ThreadPoolExecutor(_cores()) as pool:
        queries = {pool.submit(database.analyse, analysis): analysis for analysis in outdated}
        try:
            for done in as_completed(queries):
                analysis, frame = queries[done], done.result()
                frame = frame.select(pl.lit(name).alias("study"), pl.all())
                lake.write_result(analysis, name, frame.to_arrow(), outdated[analysis])
                advance(1, analysis)
        finally:
            pool.shutdown(cancel_futures=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _inputs(scope: Scope, lake: Lake) -> str:
    """Digest of the scope and of the partition files in the lake, names and footers."""
    digest = hashlib.sha256(repr(scope).encode())
    for table in PARTITIONED:
        for path in lake.paths(table.name):
            digest.update(f"{path} {lake.fingerprint(path)}\n".encode())
    return digest.hexdigest()
