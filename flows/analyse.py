"""Analyse: the study's partial results and SQL analyses into `partials` and `results`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import polars as pl

from flows.lake import Lake
from flows.memory import give_back
from flows.paired_maps import LISTED, MapLists
from flows.parallel import cores, spread
from flows.partials import Partials, Unit, make_of_series, make_of_shard, scope_of_units, together
from flows.pieces import PIECES_A_WORKER
from flows.plan import ORIGINAL, Plan
from flows.progress import track
from flows.storage_faults import steadily
from flows.study import Study
from sql.catalog import LakeDatabase, Scope, analyses
from sql.files import refuse_faulty
from sql.tables import PARTITIONED

MEMORY_LIMIT = "1GB"
"""Of DuckDB: every step streams, more would not make it quicker."""


def scope_of(study: Study, lake: Lake) -> Scope:
    """What of a lake belongs to a study; of one without limit, whatever images are there."""
    plan = Plan(study, lake)
    chosen = plan.chosen().image_id
    last_image = int(chosen[-1]) if len(chosen) else -1
    attacks = tuple(attack.id for attack in study.subjects)
    return Scope(
        dataset=study.dataset.id,
        model=study.model.id,
        attacks=attacks,
        methods=study.methods,
        subjects=(ORIGINAL, *plan.randomisations, *attacks),
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
    if outdated:
        for units in _stages(scope, lake):
            make_units(lake, units)
        _make_results(name, scope, lake, outdated)
    return len(outdated)


def forget(study: Study, lake: Lake) -> None:
    """Delete a study's results and the partial results that they are made from: they are made anew."""
    lake.refresh()
    partials = Partials(scope_of(study, lake), lake)
    paths = [_path(analysis, study.name) for analysis in analyses()]
    paths += [unit.path for unit in (*partials.of_shards(), *partials.of_series())]
    for path in paths:
        if lake.exists(path):
            lake.delete(path)


def stages(study: Study, lake: Lake) -> Iterator[list[list[Unit]]]:
    """Outdated partial results, in pieces of work: first of shards, then of whole series.

    The second list is to be asked for when the first is done. Nothing where all results are current.
    """
    lake.refresh()
    scope = scope_of(study, lake)
    if _outdated(study.name, scope, lake, study.limit):
        for units in _stages(scope, lake):
            yield list(together(units))


def parts(stage: Sequence[Sequence[Unit]], workers: int) -> dict[str, list[Unit]]:
    """A stage's units as tasks for so many workers, by name: of a shard, or of a method in all shards.

    A shard's are dealt out by method where there are fewer shards than workers need.
    """
    units = [unit for piece in stage for unit in piece]
    shards = {unit.shard for unit in units}
    by_method = workers > 1 and len(shards) < PIECES_A_WORKER * workers
    named: dict[str, list[Unit]] = {}
    for unit in units:
        method, shard = unit.series[2], f"shard {unit.shard}"
        name = method if unit.shard is None else f"{shard}, {method}" if by_method else shard
        named.setdefault(name, []).append(unit)
    return named


def merge(study: Study, lake: Lake) -> int:
    """Write the outdated results, from partial results that are all there; their number."""
    lake.refresh()
    scope = scope_of(study, lake)
    outdated = _outdated(study.name, scope, lake, study.limit)
    if outdated:
        _make_results(study.name, scope, lake, outdated)
    return len(outdated)


def make_units(lake: Lake, units: Sequence[Unit]) -> None:
    """Compute the outdated ones among these partial results, on all cores."""
    work = list(together(units))
    if not work:
        return
    wanted = [unit for piece in work for unit in piece]
    scope, partials = scope_of_units(wanted), {unit.partial for unit in wanted}
    of_series = wanted[0].shard is None
    what, unit_name = ("quantiles", "series") if of_series else ("values and ranks", "shards")
    with (
        track(what, len(work), unit_name) as advance,
        closing((_of_series if of_series else _of_shards)(lake, work, scope, partials)) as done,
    ):
        for piece in done:
            advance(1, " ".join(piece[0].series[2:4]))
    give_back()


def _of_shards(
    lake: Lake, work: Sequence[list[Unit]], scope: Scope, partials: set[str]
) -> Generator[list[Unit]]:
    with ThreadPoolExecutor(1) as beside:
        beside.submit(_load_loops)
        # closed when they are read: DuckDB keeps the memory of its joins while it is open
        with _database(lake, scope, {*LISTED, *partials}) as database:
            lists = MapLists(database)
            schemas = {partial: database.schema(partial) for partial in partials}

    def make(_: int, piece: list[Unit]) -> None:
        make_of_shard(piece, lake, lists, schemas)

    with closing(spread(work, range(cores()), make)) as done:
        for piece, _ in done:
            yield piece


def _load_loops() -> None:
    """Import what counts, with Numba: half a second in which the lake is opened and listed."""
    import flows.partial_rows  # noqa: F401
    from compute.compiled import get_ready

    get_ready()


def _of_series(
    lake: Lake, work: Sequence[list[Unit]], scope: Scope, partials: set[str]
) -> Generator[list[Unit]]:
    with _database(lake, scope, partials) as database:
        for piece in work:  # one by one: the files of each are spread over the cores
            for unit in piece:
                make_of_series(unit, lake, database)
            yield piece


def _database(lake: Lake, scope: Scope, views: Collection[str], threads: int | None = None) -> LakeDatabase:
    """A part of the lake, whose files are known to be sound, with some views; threads: None for all cores."""
    return LakeDatabase(
        lake.storage, scope=scope, memory_limit=MEMORY_LIMIT, threads=threads or cores(), verify=False,
        reorder_joins=False, only=views,
    )  # fmt: skip


def _stages(scope: Scope, lake: Lake) -> Iterator[list[Unit]]:
    of: Sequence[Callable[[Partials], list[Unit]]] = (Partials.of_shards, Partials.of_series)
    for units in of:
        yield units(Partials(scope, lake))


def _outdated(name: str, scope: Scope, lake: Lake, limit: int | None) -> dict[str, dict[str, Any]]:
    """What each analysis is to be made from, of those whose result is missing or made from else.

    LakeError where a file in scope is not what its name says.
    """
    lake.must_exist()
    # first: what it reads of footers is known from then on
    steadily(lake.url, "looked at", lambda: refuse_faulty(lake.storage, scope.takes))
    inputs = _inputs(scope, lake)
    lake.read_footers(lake.paths("results"))
    outdated: dict[str, dict[str, Any]] = {}
    for analysis in analyses().values():
        definition = hashlib.sha256(analysis.definition.encode()).hexdigest()
        made_from = {"limit": limit, "inputs": inputs, "sql": definition}
        path = _path(analysis.name, name)
        if lake.exists(path) and lake.made_from(path) == made_from:
            lake.skipped += 1
        else:
            outdated[analysis.name] = made_from
    return outdated


def _make_results(name: str, scope: Scope, lake: Lake, outdated: dict[str, dict[str, Any]]) -> None:
    # side by side with a core each: with all cores each they take more memory, and on two no less time
    with _database(lake, scope, outdated, threads=max(1, cores() // len(outdated))) as database:
        Partials(scope, lake).keep(database)
        queries = spread(outdated, [database] * cores(), LakeDatabase.analyse)
        with track("analyses", len(outdated), "queries") as advance, closing(queries):
            for analysis, frame in queries:
                frame = frame.select(pl.lit(name).alias("study"), pl.all())
                lake.write_rows(_path(analysis, name), frame.to_arrow(), outdated[analysis])
                advance(1, analysis)


def _path(analysis: str, name: str) -> str:
    return f"results/{analysis}/{name}.parquet"


def _inputs(scope: Scope, lake: Lake) -> str:
    """Digest of the scope and of the partition files in the lake, names and footers."""
    return hashlib.sha256(f"{scope!r} {lake.digest(PARTITIONED)}".encode()).hexdigest()
