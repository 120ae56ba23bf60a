"""Overlap, rank shift and quantiles in SQL, against NumPy and Polars on the same files.

Of one method and one attack: overlap and rank shift of the five pairs of bands, and the nine quantiles of the
maps of originals and adversarial examples. Each runs in a process of its own, in turn, so that what else the
machine does hits all, and that its peak memory is its own; of each the shortest time counts. All must give
the same figures.

Bars: overlap and shift at least 4 times as fast as NumPy sorting the maps, at most 2 times the time of NumPy
on the stored ranks; quantiles not slower than NumPy; nothing slower than Polars; less than 1 GB.

Run from the repository root: python -m tests.benchmarks.bench_sql [LAKE] [--images N] [--method M]
Without LAKE one is generated, of one method and the paper's pairs, or those of N images.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from tests.benchmarks.lakes import folder_beside, linked
from tests.benchmarks.measuring import verdict
from tests.benchmarks.sql_contestants import CONTESTANTS, Answer, Question
from tests.lake_generator import Specification, generate

BARS = {
    ("bands", "NumPy sorting the maps"): 1 / 4,
    ("bands", "NumPy on the stored ranks"): 2.0,
    ("bands", "Polars"): 1.0,
    ("quantiles", "NumPy"): 1.0,
    ("quantiles", "Polars"): 1.0,
}
"""Our time over theirs, at most."""

MEMORY_BAR = 1.0
TITLES = {
    "bands": "overlap and rank shift of five pairs of bands",
    "quantiles": "nine quantiles of two subjects",
}
TOLERANCE = 1e-9


@dataclass
class Run:
    """What a contestant took: seconds, the least of all rounds; memory, the most, GB."""

    seconds: float
    memory: float
    answer: Answer


def answered(what: str, who: str, question: Question) -> Run:
    """One contestant's answer, from a process of its own."""
    with folder_beside(Path(question.lake)) as folder:
        lake = question.lake
        if who == "ours":  # which writes partial results
            lake = str(linked(Path(lake), folder / "lake", method=question.method))
        return _asked(what, who, lake, question.method, question.attack)


def _asked(*words: str) -> Run:
    command = [sys.executable, "-m", "tests.benchmarks.sql_contestants", *words]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"{words[1]} did not answer, see above")
    return Run(**json.loads(process.stdout.splitlines()[-1]))


def differences(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """Where two answers differ: whole numbers at all, others by more than the tolerance."""
    if isinstance(ours, dict):
        for key in ours.keys() | theirs.keys():
            yield from differences(ours.get(key), theirs.get(key), f"{place}/{key}")
    elif isinstance(ours, list):
        if len(ours) != len(theirs):
            yield f"{place}: {len(ours)} and {len(theirs)} values"
        for number, (a, b) in enumerate(zip(ours, theirs, strict=False)):
            yield from differences(a, b, f"{place}/{number}")
    elif isinstance(ours, int) != isinstance(theirs, int) or not (
        ours == theirs if isinstance(ours, int) else math.isclose(ours, theirs, rel_tol=TOLERANCE)
    ):
        yield f"{place}: {ours} and {theirs}"


def compare(what: str, question: Question, rounds: int) -> bool:
    """Let all answer in turns, and print the ratios; whether every bar is met."""
    runs: dict[str, Run] = {}
    for _ in range(rounds):
        for who in CONTESTANTS[what]:
            run = answered(what, who, question)
            known = runs.setdefault(who, run)
            known.seconds, known.memory = min(known.seconds, run.seconds), max(known.memory, run.memory)
    ours = runs.pop("ours")
    print(f"{TITLES[what]}: ours in {ours.memory:.2f} GB {verdict(ours.memory, MEMORY_BAR)}")
    met = ours.memory <= MEMORY_BAR
    for who, run in runs.items():
        if wrong := list(differences(ours.answer, run.answer)):
            raise SystemExit(f"{who} gives other figures than we (ours first): " + "; ".join(wrong[:5]))
        ratio, bar = ours.seconds / run.seconds, BARS[what, who]
        met &= ratio <= bar
        print(
            f"  {ratio:.2f} times the time of {who} {verdict(ratio, bar)}: {ours.seconds:.2f} s, "
            f"{run.seconds:.2f} s in {run.memory:.2f} GB; the same figures",
            flush=True,
        )
    return met


@contextmanager
def a_lake(lake: str | None, images: int, method: str) -> Iterator[str]:
    """The lake that is given, or a generated one for the time of the benchmark."""
    if lake:
        yield lake
        return
    with tempfile.TemporaryDirectory(prefix="bench-sql-") as folder:
        specification = Specification(images, (method,))
        made = generate(f"{folder}/lake", specification, jobs=os.cpu_count() or 1)
        print(made, flush=True)
        yield made.lake


def main(
    lake: Annotated[str | None, typer.Argument(help="A lake; default: one is generated.")] = None,
    images: Annotated[int, typer.Option(min=1, help="Images of the generated lake.")] = 8902,
    method: Annotated[str, typer.Option(help="Method that is asked about.")] = "lrp-0",
    attack: Annotated[str, typer.Option(help="Attack that is asked about.")] = "lbfgs",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which all answer in turn.")] = 2,
) -> None:
    """Compare the SQL analyses with NumPy and Polars on the same files."""
    with a_lake(lake, images, method) as place:
        question = Question(place, method, attack)
        if not question.files("original") or not question.files(attack):
            raise SystemExit(f"{place} has no maps of {method} of originals and of {attack}")
        _read_once(question)
        met = [compare(what, question, rounds) for what in CONTESTANTS]
    raise typer.Exit(0 if all(met) else 1)


def _read_once(question: Question) -> None:
    """Bring the files into memory, so that the first to answer does not read them from the disk."""
    for file in [*question.files("original"), *question.files(question.attack)]:
        Path(file).read_bytes()


if __name__ == "__main__":
    typer.run(main)
