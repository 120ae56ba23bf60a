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

ORIGINAL = "original"
"""The reference that all maps have: the original's map, explained for its label."""

REFERENCES_HELD = 6
"""Files of other references that stay in memory, each of a shard's ranks towards one target (6 MB)."""

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

    reference: what the maps are held against, as in sql/views/map_references.sql. held: the maps that they
    are held against [o]. maps: those of adversarial examples, controls or questions [p]. of: the row of the
    map in `held` that stands beside each.
    """

    reference: str
    held: References
    maps: Maps
    of: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Height, width and channels of a map, where it is known."""
        return self.held.shape

    @property
    def others(self) -> Maps:
        """The maps that the pairs' maps are held against [o]."""
        return self.held.maps

    @property
    def n(self) -> int:
        """Components of a map."""
        return self.maps.rank.shape[1]

    @cached_property
    def top_ranks(self) -> np.ndarray:
        """The ranks, in the pairs' maps, of the 10 % most relevant components of the others [p, k]."""
        return np.take_along_axis(self.maps.rank, self.held.top[self.of], axis=1)


class References:
    """Maps of one series and shard that others are held against."""

    def __init__(self, name: str, parts: Sequence[Maps], shape: tuple[int, int, int] | None) -> None:
        """name: what they are to those that are held against them. parts: at least one."""
        maps = Maps.joined(parts)
        self.name, self.maps = name, maps.take(np.argsort(maps.image_id))
        self.shape = shape

    @cached_property
    def top(self) -> np.ndarray:
        """The 10 % most relevant components of each [o, k], most relevant first."""
        return top_components(self.maps.rank, band_size(0.1, self.maps.rank.shape[1]))

    @cached_property
    def descending(self) -> np.ndarray:
        """The values of each, in descending order [o, n]."""
        from compute.pair_measures import sorted_values  # only where something is counted, as below

        return sorted_values(self.maps.relevance, self.maps.rank)

    @cached_property
    def magnitude_ranks(self) -> np.ndarray:
        """Ranks of the sizes of the values of each [o, n]."""
        from compute.pair_measures import magnitude_ranks

        return magnitude_ranks(self.descending, self.maps.rank)

    @cached_property
    def sign_shares(self) -> np.ndarray:
        """Shares of negative, zero and positive values of each [o, 3]."""
        from compute.pair_measures import sign_shares

        return sign_shares(self.maps.relevance)

    def pairs(self, maps: Maps, image_ids: np.ndarray) -> Pairs | None:
        """The pairs among maps of these images, if there are any."""
        known = self.maps.image_id
        is_compared = np.isin(maps.image_id, known) & np.isin(maps.image_id, image_ids)
        if not is_compared.any():
            return None
        compared = maps if is_compared.all() else maps.take(is_compared)
        return Pairs(self.name, self, compared, np.searchsorted(known, compared.image_id))


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
        narrow = batch.select(NUMBERS)
        if len(rows) < len(batch):
            narrow = narrow.take(pa.array(rows))
        numbers = {name: narrow[name].to_numpy() for name in NUMBERS}
        vectors = {name: np.empty((len(rows), 0), np.uint8) for name in ("relevance", "rank")}
        return Maps(**numbers, **vectors | {name: _matrix(batch[name], rows) for name in self._vectors})


@dataclass(frozen=True)
class Held:
    """Which maps towards a target are held against which others, and of which images; see map_references."""

    reference: str
    series: Series
    target: Target
    image_ids: np.ndarray


LISTED = ("map_references", "map_shapes")
"""The views that a database needs for MapLists, beside those of tables."""


class MapLists:
    """Of which images a database shows ok maps, by series and target; read before the maps are.

    ok: all of them. held: what they are held against. shapes: height, width and channels by dataset.
    """

    def __init__(self, database: LakeDatabase) -> None:
        self.ok = image_ids(database, "relevance")
        self.held = held(database)
        shapes = database.arrow("select dataset, height, width, channels from map_shapes").to_pylist()
        self.shapes = {row.pop("dataset"): tuple(row.values()) for row in shapes}


def held(database: LakeDatabase) -> dict[tuple[Series, Target], list[Held]]:
    """What maps are held against, by series and target."""
    keys = f"{', '.join(SERIES_KEYS)}, target"
    others = "reference, reference_subject, reference_explains, reference_target"
    rows = database.arrow(f"select {keys}, {others}, list(image_id) from map_references group by all")
    found: dict[tuple[Series, Target], list[Held]] = defaultdict(list)
    for row in zip(*rows.columns, strict=True):
        *names, target, reference, subject, explains, reference_target = (one.as_py() for one in row[:-1])
        series, others = cast(Series, tuple(names)), cast(Series, (*names[:3], subject, explains))
        ids = row[-1].values.to_numpy()
        found[series, target].append(Held(reference, others, reference_target, ids))
    return found


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


class ReferenceMaps:
    """The maps of one shard that others are held against, read when they are asked for."""

    def __init__(self, lake: Lake, lists: MapLists, vectors: Sequence[str], shard: int) -> None:
        """vectors: those that are read of originals; of any other map its ranks."""
        self._lake, self._lists, self._shard = lake, lists, shard
        self._vectors = vectors
        self._read: dict[tuple[str, Series, Target], References | None] = {}

    def pairs(self, maps: Maps, series: Series, target: Target, everything: bool) -> Iterator[Pairs]:
        """Maps of a series towards a target beside what they are held against: everything, or originals."""
        for held in self._lists.held.get((series, target), []):
            if everything or held.reference == ORIGINAL:
                references = self._references(held)
                if references and (pairs := references.pairs(maps, held.image_ids)):
                    yield pairs

    def _references(self, held: Held) -> References | None:
        key = (held.reference, held.series, held.target)
        if key not in self._read:
            vectors = self._vectors if held.reference == ORIGINAL else ("rank",)
            files = MapFiles(self._lake, held.series, vectors, self._shard)
            ok = self._lists.ok[held.series].get(held.target, np.empty(0, np.int32))
            parts = list(files.maps(held.target, ok))
            others = [known for known in self._read if known[0] != ORIGINAL]
            if len(others) >= REFERENCES_HELD:
                del self._read[others[0]]
            shape = self._lists.shapes.get(held.series[0])
            self._read[key] = References(held.reference, parts, shape) if parts else None
        return self._read[key]


def _matrix(column: pa.FixedSizeListArray, rows: np.ndarray) -> np.ndarray:
    """Some rows of a column of vectors [rows, n], which are not null there."""
    # as the values lie in memory, those of null rows too: Arrow would put all of them together anew
    values, n = column.values, column.type.list_size
    dtype = np.dtype(values.type.to_pandas_dtype())
    first = (values.offset + column.offset * n) * dtype.itemsize
    matrix = np.frombuffer(values.buffers()[1], dtype, len(column) * n, first).reshape(-1, n)
    return matrix if len(rows) == len(matrix) else matrix[rows]
