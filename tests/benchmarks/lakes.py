"""Lakes that benchmarks work on: copies without results, and what an analysis is made from."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sql import package
from sql.tables import ENTITIES, PARTITIONED

if TYPE_CHECKING:
    import polars

    from sql.catalog import Scope

BANDS = ("topk_overlap", "rank_shift", "rank_shift_quantiles")
"""The analyses of the five pairs of bands."""

QUANTILES = ("relevance_quantiles",)


def dataset_section() -> str:
    """Keys of a study's [dataset]: CIFAR-10 where $CIFAR10 names its folder, or the demonstration's."""
    cifar10 = os.environ.get("CIFAR10")
    return (
        f'source = "cifar10"\nsplit = "test"\npath = "{cifar10}"' if cifar10 else 'source = "cifar10-samples"'
    )


def linked(lake: Path, copy: Path, shards: Collection[int] | None = None, method: str | None = None) -> Path:
    """A copy of hard links of the lake's tables, of some shards or of one method's maps only.

    Nothing of what was analysed is in it, and what is written to it leaves the lake alone.
    """
    for table in (*PARTITIONED, *ENTITIES):
        for path in lake.glob(f"{table.name}/**/[!.]*.parquet"):
            first = re.match(r"ids-(\d+)-", path.name)
            if first and shards is not None and int(first[1]) not in shards:
                continue
            if method and table.name == "relevance" and f"method={method}" not in path.parts:
                continue
            target = copy / path.relative_to(lake)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, target)
    return copy


@contextmanager
def folder_beside(lake: Path) -> Iterator[Path]:
    """A folder on the lake's file system, where hard links can be, for the time of its use."""
    folder = Path(tempfile.mkdtemp(prefix=".benchmark-", dir=lake.resolve().parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def analysed_alone(lake: str, scope: Scope, analyses: Sequence[str]) -> list[polars.DataFrame]:
    """Frames of some analyses by the way of `relevance-lake analyse`, and of no others.

    The partial results that they need are written to the lake. The analyses come one after the other, each on
    all cores.
    """
    from flows.analyse import _database, make_units
    from flows.lake import Lake
    from flows.partials import Partials
    from sql.files import refuse_faulty

    place, needed, kept = Lake(lake), package.views(analyses).keys(), defaultdict(list)
    refuse_faulty(place.storage, scope.takes)
    for of in (Partials.of_shards, Partials.of_series):
        units = [unit for unit in of(Partials(scope, place)) if unit.partial in needed]
        # a unit of a series is said to read all partial results there are of its shards
        units = [replace(u, reads=tuple(read for read in u.reads if read[0] in needed)) for u in units]
        make_units(place, units)
        for unit in units:
            kept[unit.partial].append(unit.path)
    with _database(place, scope, analyses) as database:
        for partial, files in kept.items():
            database.keep(partial, files)
        return [database.analyse(name) for name in analyses]
