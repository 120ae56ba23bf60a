"""The measured part of bench_analyse, in a process of its own; prints one line of JSON.

python -m tests.benchmarks.analyse_worker analyse LAKE      every analysis, and what each part takes
python -m tests.benchmarks.analyse_worker quantiles LAKE    those of relevance alone
python -m tests.benchmarks.analyse_worker bands LAKE        those of overlap and rank shift alone
python -m tests.benchmarks.analyse_worker read LAKE         the maps and ranks of the lake, decoded with Arrow
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from flows import analyse as analysing
from flows.lake import Lake
from flows.partials import Unit
from sql.catalog import LakeDatabase, Scope
from tests.benchmarks.lakes import BANDS, QUANTILES, analysed_alone
from tests.benchmarks.measuring import peak_memory

Seconds = defaultdict[str, float]


def analyse(lake: str) -> dict[str, Any]:
    """Seconds of the whole, of its stages and of each analysis, and the number of results written."""
    seconds: dict[str, Seconds] = {"stages": defaultdict(float), "analyses": defaultdict(float)}
    _timed(analysing, "make_units", seconds["stages"], _stage)
    _timed(LakeDatabase, "analyse", seconds["analyses"], lambda *arguments: arguments[1])
    started = time.perf_counter()
    written = analysing.analyse_scope("benchmark", _scope(lake), Lake(lake))
    return {"seconds": time.perf_counter() - started, "written": written, **seconds}


def alone(analyses: Sequence[str], lake: str) -> dict[str, Any]:
    """Seconds of some analyses, with all partial results that they need."""
    started = time.perf_counter()
    analysed_alone(lake, _scope(lake), analyses)
    return {"seconds": time.perf_counter() - started}


def _scope(lake: str) -> Scope:
    dataset, model = next(Path(lake).glob("relevance/dataset=*/model=*")).parts[-2:]
    return Scope(dataset.partition("=")[2], model.partition("=")[2])


def _stage(_lake: Lake, units: Sequence[Unit]) -> str:
    return "series" if units[0].shard is None else "shards"


def _timed(owner: Any, name: str, seconds: Seconds, key: Callable[..., str]) -> None:
    """Add up what calls of a method take, by what they are about."""
    method = getattr(owner, name)

    def timed(*arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return method(*arguments)
        finally:
            seconds[key(*arguments)] += time.perf_counter() - started

    setattr(owner, name, timed)


def read(lake: str) -> dict[str, Any]:
    """Seconds to decode relevance and rank of all maps, a file a thread; their number and bytes."""
    files = sorted(Path(lake).glob("relevance/**/ids-*.parquet"))

    def rows_of(file: Path) -> int:
        with pq.ParquetFile(file) as opened:
            columns, groups = ["relevance", "rank"], range(opened.num_row_groups)
            return sum(opened.read_row_group(g, columns, use_threads=False).num_rows for g in groups)

    started = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        maps = sum(pool.map(rows_of, files))
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "maps": maps, "bytes": sum(file.stat().st_size for file in files)}


if __name__ == "__main__":
    tasks: dict[str, Callable[[str], dict[str, Any]]] = {
        "analyse": analyse,
        "read": read,
        "quantiles": partial(alone, QUANTILES),
        "bands": partial(alone, BANDS),
    }
    found = tasks[sys.argv[1]](sys.argv[2])
    print(json.dumps(found | {"memory": peak_memory()}))
