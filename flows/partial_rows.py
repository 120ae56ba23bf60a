"""The rows of partial results, counted in NumPy: in a third of the time of DuckDB, which hashes every value.

What the rows are is defined by sql/partials; those made here are the same, and tests hold both against each
other. Where a lake keeps none, queries compute the views of sql/partials themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from compute import cells, comparison
from compute.ranking import top_places
from flows.lake import Lake
from flows.paired_maps import (
    SERIES_KEYS,
    MapFiles,
    MapLists,
    Maps,
    Originals,
    Pairs,
    Series,
    Target,
    image_ids,
)
from flows.parallel import cores, spread
from sql import package
from sql.catalog import LakeDatabase

NUMERICS = 1
"""Raised where rows change though the SQL that defines them does not; kept rows are then made anew."""

Columns = dict[str, Any]
"""Columns of a table: arrays [rows]."""


def value_counts(maps: Maps) -> Columns:
    """Counts and sums over the cells of values."""
    return asdict(cells.sums_by_cell(maps.relevance))


def shift_counts(pairs: Pairs) -> Columns:
    """How often each rank shift occurs, class by class."""
    counts = asdict(comparison.shift_counts(pairs.top_ranks, pairs.adversarial.label, pairs.n))
    return {"n": np.full(len(counts["components"]), pairs.n), **counts}


def overlap_counts(pairs: Pairs) -> Columns:
    """How many components have each depth."""
    counts = comparison.depth_counts(pairs.originals.rank, pairs.adversarial.rank, pairs.of)
    [depth] = np.nonzero(counts)
    return {"n": np.full(len(depth), pairs.n), "depth": depth, "components": counts[depth]}


def pair_ranks(pairs: Pairs) -> Columns:
    """What each pair's ranks have in common."""
    ranks, originals, adversarial, of = pairs.top_ranks, pairs.originals, pairs.adversarial, pairs.of
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
    """What the ranks of any map and of its original have in common."""
    ranks, originals, other, of, n = pairs.top_ranks, pairs.originals, pairs.adversarial, pairs.of, pairs.n
    k_1, k_10 = top_places(n)
    return {
        "image_id": other.image_id,
        "label": other.label,
        "n": np.full(len(of), n),
        "is_flipped": (other.start < 0) != (originals.start[of] < 0),
        "shared_1": (ranks[:, :k_1] < k_1).sum(axis=1),
        "shared_10": (ranks < k_10).sum(axis=1),
        "opposed_1": (ranks[:, :k_1] >= n - k_1).sum(axis=1),
        "opposed_10": (ranks >= n - k_10).sum(axis=1),
        "tied_1": np.maximum(other.ties_at_31, originals.ties_at_31[of]),
        "tied_10": np.maximum(other.ties_at_307, originals.ties_at_307[of]),
    }


def pair_values(pairs: Pairs) -> Columns:
    """What each pair's values have in common."""
    maps = pairs.originals.relevance, pairs.adversarial.relevance, pairs.of
    return {
        "image_id": pairs.adversarial.image_id,
        "pearson": comparison.pearson(*maps),
        "sign_agreement": comparison.sign_agreement(*maps),
    }


def merge_cells(columns: Columns) -> Columns:
    """Sums over each cell, of rows of several batches."""
    return asdict(cells.merged(cells.CellSums(**columns)))


def add_components(columns: Columns) -> Columns:
    """`components` added up over rows of several batches that are alike in all else."""
    table = pa.table(columns)
    keys = [name for name in table.column_names if name != "components"]
    added = table.group_by(keys).aggregate([("components", "sum")])
    return {name: added[name] for name in keys} | {"components": added["components_sum"]}


@dataclass(frozen=True)
class Measure:
    """How the rows of a partial result are made.

    vectors: those of the maps that it needs. rows: of Maps, or of Pairs where it compares. together: rows of
    several batches made one.
    """

    vectors: tuple[str, ...]
    rows: Callable[[Any], Columns]
    together: Callable[[Columns], Columns] = lambda columns: columns


MEASURES = {
    "value_counts": Measure(("relevance",), value_counts, merge_cells),
    "shift_counts": Measure(("rank",), shift_counts, add_components),
    "overlap_counts": Measure(("rank",), overlap_counts, add_components),
    "pair_ranks": Measure(("rank",), pair_ranks),
    "pair_values": Measure(("relevance",), pair_values),
    "compared_ranks": Measure(("rank",), compared_ranks),
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
    originals = Originals(lake, lists, series, vectors, shard) if compares else None
    files, ids = MapFiles(lake, series, vectors, shard), lists.ok[series]
    found = {name: [schemas[name].empty_table()] for name in wanted}
    for target in ids.keys() & set().union(*wanted.values()):
        batches: dict[str, list[Columns]] = {name: [] for name in wanted if target in wanted[name]}
        for maps in files.maps(target, ids[target]):
            pairs = originals.pairs(maps, target) if originals else None
            for name, rows in batches.items():
                if source := pairs if name in compares else maps:
                    rows.append(MEASURES[name].rows(source))
        constants = {**dict(zip(SERIES_KEYS, series, strict=True)), "attack": series[3], "target": target}
        for name, rows in batches.items():
            if rows:
                columns = {column: np.concatenate([one[column] for one in rows]) for column in rows[0]}
                found[name].append(_table(schemas[name], MEASURES[name].together(columns), constants))
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
