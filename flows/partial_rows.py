"""The rows of partial results, counted in compiled loops: DuckDB hashes every value, ten times as slow.

What the rows are is defined by sql/partials; those made here are the same, and tests hold both against each
other. Where a lake keeps none, queries compute the views of sql/partials themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from compute import cells, comparison, pair_measures, similarity
from compute.ranking import top_places
from flows.lake import Lake
from flows.paired_maps import (
    ORIGINAL,
    SERIES_KEYS,
    MapFiles,
    MapLists,
    Maps,
    Pairs,
    ReferenceMaps,
    Series,
    Target,
    image_ids,
)
from flows.parallel import cores, spread
from sql import package
from sql.catalog import LakeDatabase

Columns = dict[str, Any]
"""Columns of a table: arrays [rows]."""


class Counting(Protocol):
    """Makes the rows of a partial result towards one target, from batches."""

    def add(self, source: Any) -> None:
        """A batch of Maps, or of Pairs where the partial result compares."""

    def columns(self) -> Columns:
        """The columns of all batches added, at least one."""
        ...


class ValueCounts:
    """Counts and sums over the cells of values."""

    def __init__(self) -> None:
        self._sums = cells.SumsByCell()

    def add(self, source: Maps) -> None:
        self._sums.add(source.relevance)

    def columns(self) -> Columns:
        return asdict(self._sums.sums())


class ShiftCounts:
    """How often each rank shift occurs, class by class."""

    def __init__(self) -> None:
        self._batches: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, source: Pairs) -> None:
        self._batches.append((source.top_ranks, source.maps.label))
        self._n = source.n

    def columns(self) -> Columns:
        ranks, label = map(np.concatenate, zip(*self._batches, strict=True))
        counts = asdict(comparison.shift_counts(ranks, label, self._n))
        return {"n": np.full(len(counts["components"]), self._n), **counts}


class OverlapCounts:
    """How many components have each depth."""

    def __init__(self) -> None:
        self._counts = np.zeros(0, np.int64)

    def add(self, source: Pairs) -> None:
        counts = comparison.depth_counts(source.others.rank, source.maps.rank, source.of)
        self._counts = counts + (self._counts if len(self._counts) else 0)

    def columns(self) -> Columns:
        [depth] = np.nonzero(self._counts)
        n = np.full(len(depth), len(self._counts))
        return {"n": n, "depth": depth, "components": self._counts[depth]}


class PerPair:
    """Rows of single pairs."""

    def __init__(self, rows: Callable[[Pairs], Columns]) -> None:
        self._rows = rows
        self._batches: list[Columns] = []

    def add(self, source: Pairs) -> None:
        self._batches.append(self._rows(source))

    def columns(self) -> Columns:
        return {name: np.concatenate([batch[name] for batch in self._batches]) for name in self._batches[0]}


def pair_ranks(pairs: Pairs) -> Columns:
    """What each pair's ranks have in common."""
    ranks, originals, adversarial, of = pairs.top_ranks, pairs.others, pairs.maps, pairs.of
    k_1, k_10 = top_places(pairs.n)
    return {
        "image_id": adversarial.image_id,
        "label": adversarial.label,
        "n": np.full(len(of), pairs.n),
        "same_top": ranks[:, 0] == 0,
        "top_in_1": ranks[:, 0] < k_1,
        "top_in_10": ranks[:, 0] < k_10,
        "shared_1_1": (ranks[:, :k_1] < k_1).sum(axis=1),
        "shared_1_10": (ranks[:, :k_1] < k_10).sum(axis=1),
        "shared_10_10": (ranks < k_10).sum(axis=1),
        "original_ties_at_31": originals.ties_at_31[of],
        "original_ties_at_307": originals.ties_at_307[of],
        "adversarial_ties_at_31": adversarial.ties_at_31,
        "adversarial_ties_at_307": adversarial.ties_at_307,
        "spearman": comparison.spearman(originals.rank, adversarial.rank, of),
    }


def compared_ranks(pairs: Pairs) -> Columns:
    """What the ranks of any map and of one that it is held against have in common."""
    maps, others, of = pairs.maps, pairs.others, pairs.of
    measured = pair_measures.rank_similarity(maps.rank, others.rank, of, maps.start, others.start)
    return {
        "image_id": maps.image_id,
        "label": maps.label,
        "reference": np.full(len(of), pairs.reference),
        "n": np.full(len(of), pairs.n),
        "tied_1": np.maximum(maps.ties_at_31, others.ties_at_31[of]),
        "tied_10": np.maximum(maps.ties_at_307, others.ties_at_307[of]),
        **vars(measured),
    }


def pair_values(pairs: Pairs) -> Columns:
    """What each pair's values have in common."""
    maps = pairs.others.relevance, pairs.maps.relevance, pairs.of
    return {
        "image_id": pairs.maps.image_id,
        "pearson": comparison.pearson(*maps),
        "sign_agreement": comparison.sign_agreement(*maps),
    }


def compared_values(pairs: Pairs) -> Columns:
    """What the values of any map and of its original have in common."""
    maps, held, of = pairs.maps, pairs.held, pairs.of
    descending = pair_measures.sorted_values(maps.relevance, maps.rank)
    ranks = pair_measures.magnitude_ranks(descending, maps.rank)
    measured = {
        "sign_agreement": comparison.sign_agreement(held.maps.relevance, maps.relevance, of),
        "sign_chance": (pair_measures.sign_shares(maps.relevance) * held.sign_shares[of]).sum(axis=1),
        "wasserstein": pair_measures.wasserstein(descending, held.descending, of),
        "spearman_of_magnitudes": comparison.pearson(held.magnitude_ranks, ranks, of),
        "ssim": np.full(len(of), np.nan),
    }
    if pairs.shape and np.prod(pairs.shape) == pairs.n:
        shape = (-1, *pairs.shape)
        others = held.maps.relevance[of].reshape(shape)
        measured["ssim"] = similarity.ssim(maps.relevance.reshape(shape), others)
    return {"image_id": maps.image_id, "label": maps.label, **measured}


@dataclass(frozen=True)
class Measure:
    """How the rows of a partial result are made. vectors: those of the maps that it needs."""

    vectors: tuple[str, ...]
    begin: Callable[[], Counting]


MEASURES = {
    "value_counts": Measure(("relevance",), ValueCounts),
    "shift_counts": Measure(("rank",), ShiftCounts),
    "overlap_counts": Measure(("rank",), OverlapCounts),
    "pair_ranks": Measure(("rank",), lambda: PerPair(pair_ranks)),
    "pair_values": Measure(("relevance",), lambda: PerPair(pair_values)),
    "compared_ranks": Measure(("rank",), lambda: PerPair(compared_ranks)),
    "compared_values": Measure(("rank", "relevance"), lambda: PerPair(compared_values)),
}
"""By partial result of shards."""


def rows_of_shard(
    lake: Lake,
    lists: MapLists,
    series: Series,
    shard: int,
    wanted: Mapping[str, Collection[Target]],
    schemas: Mapping[str, pa.Schema],
) -> dict[str, pa.Table]:
    """Rows of partial results of one series in one shard.

    lists: which maps are read. wanted: by partial result, the targets whose rows are wanted. schemas: those
    of the partial results. Tables are as `select * from` the partial result gives them, in any order.
    """
    vectors = sorted({vector for name in wanted for vector in MEASURES[name].vectors})
    compares = {name for name in wanted if package.partials()[name].compares}
    everything = {name for name in wanted if package.partials()[name].compares_everything}
    references = ReferenceMaps(lake, lists, vectors, shard)
    files, ids = MapFiles(lake, series, vectors, shard), lists.ok[series]
    found = {name: [schemas[name].empty_table()] for name in wanted}
    for target in ids.keys() & set().union(*wanted.values()):
        counting = {name: MEASURES[name].begin() for name in wanted if target in wanted[name]}
        begun = set()
        for maps in files.maps(target, ids[target]):
            for name in counting.keys() - compares:
                counting[name].add(maps)
                begun.add(name)
            held = references.pairs(maps, series, target, bool(counting.keys() & everything))
            for pairs in held if counting.keys() & compares else ():
                for name in counting.keys() & (compares if pairs.reference == ORIGINAL else everything):
                    counting[name].add(pairs)
                    begun.add(name)
        constants = {**dict(zip(SERIES_KEYS, series, strict=True)), "attack": series[3], "target": target}
        for name in begun:
            found[name].append(_table(schemas[name], counting[name].columns(), constants))
    return {name: pa.concat_tables(tables) for name, tables in found.items()}


def wanted_values(lake: Lake, database: LakeDatabase, series: Series) -> pa.Table:
    """Rows of the view `wanted_values` for one series, the only one that `database` shows."""
    schema = database.schema("wanted_values")
    wanted = database.arrow("select distinct series, cell from wanted_places")
    if not wanted.num_rows:
        return schema.empty_table()
    files, ids = MapFiles(lake, series, ["relevance"]), image_ids(database, "relevance")[series]
    gathered = [cells.ValuesOfCells(wanted["cell"].to_numpy()) for _ in range(cores())]

    def gather(into: cells.ValuesOfCells, target: Target) -> None:
        for maps in files.maps(target, ids[target]):
            into.add(maps.relevance)

    for _ in spread(ids, gathered, gather):
        pass
    values, counts = cells.counted_together(gathered)
    columns = {"cell": cells.cell_of(values), "value": values, "values": counts}
    return _table(schema, columns, {"series": wanted["series"][0].as_py()})


def _table(schema: pa.Schema, columns: Columns, constants: Mapping[str, Any]) -> pa.Table:
    """Rows with `constants` the same in each; nan is null."""
    rows = len(next(iter(columns.values())))
    arrays = []
    for field in schema:
        column = columns.get(field.name)
        if column is None:
            column = pa.repeat(pa.scalar(constants[field.name], field.type), rows)
        elif isinstance(column, np.ndarray):
            column = pa.array(column, from_pandas=True)
        arrays.append(column.cast(field.type))
    return pa.table(arrays, schema=schema)
