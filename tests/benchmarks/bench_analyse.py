"""Every analysis over a whole lake: time, memory, how memory grows, and what one new shard costs.

The floor is to read the same maps and ranks with Arrow, on all cores. Bars, for the paper's 604,000 maps on
2 cores: under 180 s and 2 GB; within it quantiles under 45 s and overlap and shift of the five pairs of bands
under 25 s, what they share with others included; peak memory at most 10 % above that of a tenth of the lake;
after one file of maps in a hundred was replaced, under 10 s beside the quantiles and under 50 s with them. Of
smaller lakes only memory is judged: what a query costs whatever its rows weighs too much there.

Run from the repository root: python -m tests.benchmarks.bench_analyse [LAKE] [--images N]
Without LAKE one of N images is generated. The lake itself is left as it is: a copy of hard links beside it is
analysed.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import pyarrow.parquet as pq
import typer
from polars.testing import assert_frame_equal

from flows.encoding import parquet
from tests.benchmarks.lakes import folder_beside, linked
from tests.benchmarks.measuring import verdict
from tests.lake_generator import Specification, generate

PAPER_MAPS = 604_000


@dataclass(frozen=True)
class Bars:
    """Seconds, of lakes of the paper's size; GB; share."""

    whole: float = 180
    quantiles: float = 45
    bands: float = 25
    beside_quantiles: float = 10
    with_quantiles: float = 50
    memory: float = 2
    growth: float = 0.1


def worked(task: str, lake: Path) -> dict[str, Any]:
    """What the worker says of a task, from a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.analyse_worker", task, str(lake)]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"'{task}' of {lake} failed, see above")
    return json.loads(process.stdout.splitlines()[-1])


def shards_of(lake: Path) -> list[int]:
    """First image ids of the lake's shards."""
    names = {path.name for path in lake.glob("relevance/**/ids-*.parquet")}
    return sorted({int(re.findall(r"\d+", name)[0]) for name in names})


def replace_one_in_a_hundred(lake: Path) -> tuple[int, int]:
    """Write the maps of one shard towards one target anew; how many files of how many.

    Their rows stay as they are, so that the results must: what is new is the footer, which is what tells.
    """
    files = sorted(lake.glob("relevance/**/ids-*.parquet"))
    towards = [path for path in files if not path.parent.name.endswith("__")]
    example = towards[len(towards) // 2]
    chosen = [path for path in towards if _shard_and_target(path) == _shard_and_target(example)]
    for path in chosen:
        rows = pq.ParquetFile(path).read()
        rows = rows.replace_schema_metadata({**(rows.schema.metadata or {}), b"written": b"anew"})
        path.unlink()  # the hard link, not the file that the lake holds
        path.write_bytes(parquet(rows))
    return len(chosen), len(files)


def _shard_and_target(path: Path) -> tuple[str, str]:
    return path.name.split("-")[1], path.parent.name


def results(lake: Path) -> dict[str, pl.DataFrame]:
    """The stored results, by path."""
    files = lake.glob("results/**/*.parquet")
    return {str(path.relative_to(lake)): pl.read_parquet(path, hive_partitioning=False) for path in files}


def show(run: dict[str, Any], floor: float) -> None:
    """What each part took; analyses are run side by side, so that theirs add up to more."""
    stages, analyses = run["stages"], run["analyses"]
    shown = ", ".join(f"{name} {seconds:.1f}" for name, seconds in stages.items())
    print(f"    counting, s: {shown}; the whole is {run['seconds'] / floor:.1f} times the floor")
    longest = sorted(analyses.items(), key=lambda item: -item[1])
    print(f"    analyses, s: {', '.join(f'{name} {s:.1f}' for name, s in longest if s >= 0.3)}", flush=True)


def bench(lake: Path, folder: Path) -> bool:
    """Measure in `folder`, on the lake's file system; whether every bar is met."""
    met: list[bool] = []

    def judged(value: float, bar: float, in_time: bool = True) -> str:
        if in_time and read["maps"] < 0.99 * PAPER_MAPS:
            return ""
        met.append(value <= bar)
        return " " + verdict(value, bar)

    whole = linked(lake, folder / "whole")
    worked("read", whole)  # from the disk into memory
    read = worked("read", whole)
    bars, floor = Bars(), read["seconds"]
    print(
        f"{read['maps']:,} maps, {read['bytes'] / 1e9:.2f} GB; relevance and rank alone are read by Arrow in "
        f"{floor:.1f} s: the floor"
    )
    full = worked("analyse", whole)
    print(
        f"analyse: {full['seconds']:.1f} s{judged(full['seconds'], bars.whole)}, "
        f"{full['memory']:.2f} GB{judged(full['memory'], bars.memory, False)}"
    )
    show(full, floor)
    for what, bar in (("quantiles", bars.quantiles), ("bands", bars.bands)):
        alone = worked(what, linked(lake, folder / what))
        print(
            f"  {what} alone, with all that they need: {alone['seconds']:.1f} s"
            f"{judged(alone['seconds'], bar)}, {alone['seconds'] / floor:.1f} times the floor",
            flush=True,
        )
    again = worked("analyse", whole)
    print(f"once more, with nothing new: {again['seconds']:.1f} s, {again['written']} results written")
    before, (replaced, files) = results(whole), replace_one_in_a_hundred(whole)
    new = worked("analyse", whole)
    beside = new["seconds"] - new["stages"]["series"]
    print(
        f"after {replaced} of {files} files of maps were replaced: {beside:.1f} s beside the "
        f"quantiles{judged(beside, bars.beside_quantiles)}, {new['seconds']:.1f} s with "
        f"them{judged(new['seconds'], bars.with_quantiles)}"
    )
    show(new, floor)
    after = results(whole)
    for name, frame in before.items():
        assert_frame_equal(frame, after[name], rel_tol=1e-9)  # sums in another order
    shards = shards_of(lake)
    if len(shards) >= 10:
        tenth = worked("analyse", linked(lake, folder / "tenth", shards[: len(shards) // 10]))
        growth = full["memory"] / tenth["memory"] - 1
        print(
            f"a tenth: {tenth['seconds']:.1f} s, {tenth['memory']:.2f} GB; the whole takes {growth:.1%} more "
            f"memory{judged(growth, bars.growth, False)}"
        )
    else:
        print("memory growth: a lake of fewer than 10 shards has no tenth")
    return all(met)


@contextmanager
def a_lake(lake: str | None, images: int) -> Iterator[Path]:
    """The lake that is given, or a generated one for the time of the benchmark."""
    if lake:
        yield Path(lake).resolve()
        return
    with tempfile.TemporaryDirectory(prefix="bench-analyse-") as folder:
        made = generate(f"{folder}/lake", Specification(images), jobs=os.cpu_count() or 1)
        print(made, flush=True)
        yield Path(made.lake)


def main(
    lake: Annotated[str | None, typer.Argument(help="A lake; default: one is generated.")] = None,
    images: Annotated[int, typer.Option(min=1, help="Images of the generated lake.")] = 890,
) -> None:
    """Measure every analysis over a lake."""
    with a_lake(lake, images) as place, folder_beside(place) as folder:
        met = bench(place, folder)
    raise typer.Exit(0 if met else 1)


if __name__ == "__main__":
    typer.run(main)
