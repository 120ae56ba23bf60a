"""Maps of the lake as arrays, batch by batch, and the pairs of original and adversarial map among them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import pyarrow as pa

from compute.ranking import band_size, top_components
from flows.lake import Lake
from sql.catalog import LakeDatabase
from sql.tables import NULL_PARTITION, SHARD

NUMBERS = ("image_id", "label", "start", "ties_at_31", "ties_at_307")

MAPS_AT_A_TIME = 128
"""Of 3072 components: 2.4 MB of values and ranks."""

SERIES_KEYS = ("dataset", "model", "method", "subject", "explains")

Series = tuple[str, str, str, str, str]
"""Values of SERIES_KEYS."""

Target = int | None
"""None: of the maps of originals, explained for their label."""


@dataclass(frozen=True)
class Maps:
    """Maps of status ok: columns of the table `relevance`, [m] and [m, n], or [m, 0] of vectors not read."""

    image_id: np.ndarray
    label: np.ndarray
    start: np.ndarray
    ties_at_31: np.ndarray
    ties_at_307: np.ndarray
    relevance: np.ndarray
    rank: np.ndarray

    def take(self, rows: np.ndarray) -> Maps:
        """Some of the maps: bool [m], or int."""
        return Maps(*(column[rows] for column in vars(self).values()))

    @staticmethod
    def joined(parts: Sequence[Maps]) -> Maps:
        """The maps of all parts."""
        return Maps(*map(np.concatenate, zip(*(vars(part).values() for part in parts), strict=True)))


@dataclass(frozen=True)
class Pairs:
    """Pairs of maps that are compared, towards one target.

    originals: maps of originals [o]. top: their 10 % most relevant components [o, k], most relevant first.
    adversarial: maps of adversarial examples, controls or questions [p]. of: the row of each one's original.
    """

    originals: Maps
    top: np.ndarray
    adversarial: Maps
    of: np.ndarray

    @property
    def n(self) -> int:
        """Components of a map."""
        return self.adversarial.rank.shape[1]

    @cached_property
    def top_ranks(self) -> np.ndarray:
        """The ranks, in the adversarial map, of the original's 10 % most relevant components [p, k]."""
        return np.take_along_axis(self.adversarial.rank, self.top[self.of], axis=1)


class MapFiles:
    """The files of the maps of one series, in one shard or (none) in all."""

    def __init__(self, lake: Lake, series: Series, vectors: Sequence[str], shard: int | None = None) -> None:
        """vectors: which are read."""
        folders = (f"{name}={id}" for name, id in zip(SERIES_KEYS, series, strict=True))
        self._lake, self._shard = lake, shard
        self._folder = "/".join(("relevance", *folders))
        self._vectors = vectors

    def maps(self, target: Target, image_ids: np.ndarray) -> Iterator[Maps]:
        """The maps of these images towards a target, in batches."""
        folder = f"{self._folder}/target={NULL_PARTITION if target is None else target}"
        of_shard = "ids-" if self._shard is None else f"ids-{self._shard * SHARD}-"
        for name in self._lake.names(folder):
            if name.startswith(of_shard):
                for batch in self._lake.batches(
                    f"{folder}/{name}", (*NUMBERS, *self._vectors), MAPS_AT_A_TIME
                ):
                    [rows] = np.nonzero(np.isin(batch["image_id"].to_numpy(), image_ids))
                    if len(rows):
                        yield self._maps(batch, rows)

    def _maps(self, batch: pa.RecordBatch, rows: np.ndarray) -> Maps:
        numbers = {name: batch[name].take(pa.array(rows)).to_numpy() for name in NUMBERS}
        vectors = {name: np.empty((len(rows), 0), np.uint8) for name in ("relevance", "rank")}
        return Maps(**numbers, **vectors | {name: _matrix(batch[name], rows) for name in self._vectors})


class MapLists:
    """Of which images a database shows ok maps, by series and target; read before the maps are.

    ok: all of them. originals, compared: those of comparable_originals and comparable_maps.
    """

    def __init__(self, database: LakeDatabase) -> None:
        self.ok, self.originals, self.compared = (
            image_ids(database, view) for view in ("relevance", "comparable_originals", "comparable_maps")
        )


def image_ids(database: LakeDatabase, view: str) -> dict[Series, dict[Target, np.ndarray]]:
    """Of which images a view of maps has ok ones, int [m], by series and target."""
    keys = ", ".join(SERIES_KEYS)
    rows = database.arrow(
        f"select {keys}, target, list(image_id) from {view} where status = 'ok' group by {keys}, target"
    )
    found: dict[Series, dict[Target, np.ndarray]] = defaultdict(dict)
    for *series, target, ids in zip(*rows.columns, strict=True):
        of = cast(Series, tuple(name.as_py() for name in series))
        found[of][target.as_py()] = ids.values.to_numpy()
    return found


class Originals:
    """Maps of originals of one shard, which maps of adversarial examples are compared with."""

    def __init__(
        self, lake: Lake, lists: MapLists, series: Series, vectors: Sequence[str], shard: int
    ) -> None:
        """series: of the adversarial maps."""
        self._compared = lists.compared[series]
        of_originals: Series = (*series[:3], "original", "label")
        ids = lists.originals[of_originals].get(None, np.empty(0, np.int32))
        parts = list(MapFiles(lake, of_originals, vectors, shard).maps(None, ids))
        self._maps = None
        if parts:
            maps = Maps.joined(parts)
            self._maps = maps.take(np.argsort(maps.image_id))
            self._top = top_components(self._maps.rank, band_size(0.1, maps.rank.shape[1]))

    def pairs(self, maps: Maps, target: Target) -> Pairs | None:
        """The pairs among maps towards a target, if there are any."""
        if self._maps is None:
            return None
        known = self._maps.image_id
        is_compared = np.isin(maps.image_id, known) & np.isin(maps.image_id, self._compared.get(target, []))
        if not is_compared.any():
            return None
        adversarial = maps if is_compared.all() else maps.take(is_compared)
        return Pairs(self._maps, self._top, adversarial, np.searchsorted(known, adversarial.image_id))


def _matrix(column: pa.FixedSizeListArray, rows: np.ndarray) -> np.ndarray:
    """Some rows of a column of vectors [rows, n], which are not null there."""
    # as the values lie in memory, those of null rows too: Arrow would put all of them together anew
    values, n = column.values, column.type.list_size
    dtype = np.dtype(values.type.to_pandas_dtype())
    first = (values.offset + column.offset * n) * dtype.itemsize
    matrix = np.frombuffer(values.buffers()[1], dtype, len(column) * n, first).reshape(-1, n)
    return matrix if len(rows) == len(matrix) else matrix[rows]
