"""Listing and planning at a million partitions: seconds, memory, and what more of them cost.

The plan is a study of 50,000 images in 1,000 classes, by one attack and 19 methods: 50 shards x 1,000 targets
are 50,000 partitions of examples and 950,000 of maps. A study with 10 targets an image instead of 999 has the
same partitions, of 10 rows each, since the target is a partition key: that is what is simulated.

The bucket is simulated (simulated_bucket.py): its listing and its files' ends come from memory, so that what
is measured is the work of this package; the requests of a real one come on top. Peer: `os.walk` over real
files, which does the least that a listing can do.

Bars: a partition costs at most 1.5 times as much in a million as in a tenth; listing and planning take at
most 4 GB and 5 minutes a million.

Run from the repository root: python -m tests.benchmarks.bench_planning [--methods N] [--files N]
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import fsspec
import typer

from flows.lake import Lake
from flows.plan import Plan
from flows.summary import tally
from sql.catalog import open_lake
from tests.benchmarks.measuring import peak_memory, verdict
from tests.benchmarks.simulated_bucket import SimulatedBucket, study

IMAGES = 50_000
LAKE = "simulated://bucket/lake"
GROWTH_BAR, MEMORY_BAR, SECONDS_BAR = 1.5, 4.0, 300.0


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, and what came of it."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    result = work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, result


def walk(count: int) -> tuple[float, float]:
    """Microseconds a real file: `os.walk`, and the listing of a lake in a folder."""
    with tempfile.TemporaryDirectory(prefix="bench-planning-") as root:
        for folder in range(count // 50):
            place = Path(root) / "relevance" / f"target={folder}"
            place.mkdir(parents=True)
            for shard in range(50):
                (place / f"ids-{shard}000-{shard}999-rows-10.parquet").touch()
        seconds, found = timed(lambda: sum(len(names) for _, _, names in os.walk(root)))
        assert found == count // 50 * 50
        ours, paths = timed(lambda: len(Lake(root).paths()))
        assert paths == found
        return seconds / found * 1e6, ours / found * 1e6


def measure(classes: int, methods: int) -> dict[str, float]:
    """Microseconds a partition of each step, over a bucket of `classes` x 50 x (methods + 1) partitions."""
    with tempfile.TemporaryDirectory(prefix="bench-planning-") as folder:
        fs = SimulatedBucket(folder=folder, images=IMAGES, classes=classes, methods=methods)
        fsspec.register_implementation("simulated", lambda **_: fs, clobber=True)  # type: ignore[arg-type]
        steps: dict[str, float] = {}
        names, count = timed(lambda: sum(1 for _ in fs.find(LAKE)))
        lake = Lake(LAKE)
        steps["list"], found = timed(lambda: len(lake.paths()))
        assert found == count
        plan = Plan(study(methods), lake)
        steps["plan, read footers"], planned = timed(lambda: sum(1 for _ in plan.known()))
        steps["status from memory"], tallies = timed(lambda: tally(plan, plan.known()))
        present = sum(one.present for one in tallies.values())
        steps["open in DuckDB"], database = timed(lambda: open_lake(LAKE, verify=False))
        database.close()
        print(
            f"{count:,} files, {planned:,} partitions planned, {present:,} found; "
            f"{names:.1f} s of the simulation itself in each listing"
        )
        for name, seconds in steps.items():
            print(f"  {name}: {seconds:.1f} s, {seconds / count * 1e6:.0f} us a partition", flush=True)
        print(f"  memory so far: {peak_memory():.2f} GB", flush=True)
        return {name: seconds / count * 1e6 for name, seconds in steps.items()}


def main(
    methods: Annotated[int, typer.Option(min=1, help="Methods: 50,000 partitions each.")] = 19,
    classes: Annotated[int, typer.Option(min=10, help="Classes of the larger plan.")] = 1_000,
    files: Annotated[int, typer.Option(min=1000, help="Real files that are listed.")] = 100_000,
) -> None:
    """Measure listing and planning of a tenth and of the whole."""
    least, ours = walk(files)
    print(f"{files:,} real files: os.walk {least:.1f} us a file, ours {ours / least:.1f} times that")
    small = measure(classes // 10, methods)
    large = measure(classes, methods)
    memory, million = peak_memory(), sum(large.values())
    growth = max(large[step] / max(small[step], 0.1) for step in large)
    print(f"a partition in ten times as many: {growth:.2f} times the time {verdict(growth, GROWTH_BAR)}")
    print(
        f"all: {million:.0f} s a million {verdict(million, SECONDS_BAR)}, {million / least:.0f} times os.walk"
    )
    print(f"peak memory {memory:.2f} GB {verdict(memory, MEMORY_BAR)}")
    met = growth <= GROWTH_BAR and memory <= MEMORY_BAR and million <= SECONDS_BAR
    raise typer.Exit(0 if met else 1)


if __name__ == "__main__":
    typer.run(main)
