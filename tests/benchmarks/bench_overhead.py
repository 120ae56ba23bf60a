"""What flows and lake cost beside a study's own work, and how long a run takes to its first task.

A study is run by `relevance-lake run`; its log says how long it took to the first task, and how long the
steps attack and explain took. The peer does their work without flows and lake, in a process of its own:
attacks, relevance maps, their scaling and ranking, and the encoding of Parquet files, into memory. Both
have loaded the network before and compile within what is timed. Both take turns, and the least seconds of
each step count: one and the same attack takes some percent more or less from one time to the next. Bars: the
steps take at most 5 % longer than the peer, the first task begins within 25 s.

Prefect's home is warm: a study of one image is run before. Where $CIFAR10 names a folder of CIFAR-10, the
study has more images than the 20 of the demonstration, and what each flow takes to start weighs less.

Run from the repository root: python -m tests.benchmarks.bench_overhead [--images N] [--rounds N]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from flows.encoding import parquet
from flows.lake import Lake
from flows.run_log import logged_runs, read_log
from tests.benchmarks.lakes import dataset_section
from tests.benchmarks.measuring import verdict

STUDY = """
name = "overhead"
limit = {limit}
batch_size = 128
methods = [
    "lrp-0", "lrp-epsilon-0.0001", "lrp-epsilon-0.01", "lrp-epsilon-0.1", "lrp-epsilon-1",
    "lrp-alpha1-beta0", "lrp-alpha2-beta-1",
]

[dataset]
{dataset}

[[attacks]]
id = "lbfgs"
"""
OVERHEAD, TO_FIRST_TASK = 5.0, 25.0
"""Percent and seconds."""


def run_study(file: Path, lake: Path, home: Path) -> tuple[float, dict[str, float]]:
    """Seconds from the command to its first task, and those of each step, from the log of the run."""
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment["PREFECT_HOME"] = str(home)
    command = [sys.executable, "-m", "flows.cli", "run", str(file), "--lake", str(lake)]
    began = datetime.now(UTC)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    place = Lake(str(lake))
    events = read_log(place, logged_runs(place)[-1])
    first = next(event for event in events if event["event"] == "progress")
    waited = (datetime.fromisoformat(first["time"]) - began).total_seconds()
    return waited, {step: facts["seconds"] for step, facts in events[-1]["steps"].items()}


def run_peer(file: Path) -> dict[str, float]:
    """Seconds of the peer's steps, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_overhead", "--peer", str(file)]
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return json.loads(process.stdout.splitlines()[-1])


def quickest(runs: list[dict[str, float]]) -> dict[str, float]:
    """The least seconds of each step."""
    return {step: min(run[step] for run in runs) for step in runs[0]}


def compute(file: str) -> None:
    """The work of the steps attack and explain alone; prints their seconds, as JSON."""
    import numpy as np
    import pyarrow as pa

    from compute.attacks import registry
    from compute.datasets import load_dataset
    from flows import networks
    from flows.background import Background
    from flows.map_rows import map_rows
    from flows.study import load_study
    from flows.vectors import table_of
    from sql.tables import ADVERSARIALS

    study = load_study(file)
    data = load_dataset(study.dataset.source, study.dataset.path, study.dataset.split)
    pixels = data.pixels.astype(np.float32) / np.float32(255)
    network = networks.of_study(study, pixels.shape[1:], len(data.classes))
    batch_size = networks.batch_size(study)
    predicted = network.logits(pixels, batch_size).argmax(axis=1)
    chosen = np.flatnonzero(predicted == data.labels)[: study.limit]
    labels = data.labels[chosen].astype(np.int64)
    pairs = [(n, t) for t in range(len(data.classes)) for n in range(len(chosen)) if labels[n] != t]
    image, target = (np.array(values) for values in zip(*pairs, strict=True))
    parameters = study.attacks[0].parameters

    clock = time.monotonic()
    results = {}
    registry.run(network, pixels[chosen[image]], target, parameters, batch_size, results.__setitem__, None)
    for aimed in np.unique(target):
        places = np.flatnonzero(target == aimed)
        columns = {"image_id": chosen[image[places]], "label": labels[image[places]]}
        for name in (column.name for column in ADVERSARIALS.columns if column.name not in columns):
            columns[name] = [getattr(results[n], name) for n in places]
        for name in ("pixels", "logits"):
            columns[name] = np.array(columns[name], np.float32).reshape(len(places), -1)
        parquet(table_of(ADVERSARIALS, columns))
    attacked = time.monotonic() - clock

    clock = time.monotonic()
    methods = study.computed_methods()
    successes = [n for n in range(len(pairs)) if results[n].status == "success"]
    examples = np.stack([results[n].pixels for n in successes]).reshape(-1, *pixels.shape[1:])
    streams = [(pixels[chosen], chosen, labels, labels)]
    order = np.array(successes)
    streams.append((examples, chosen[image[order]], labels[image[order]], target[order]))
    with Background(3) as beside:
        for images, ids, own, classes in streams:
            first = 0
            pieces: dict[str, list[pa.Table]] = {method.id: [] for method in methods}
            for batch in network.explainer(methods, batch_size).stream(images, classes):
                rows = slice(first, first + len(batch[methods[0].id]))
                first = rows.stop

                def keep(batch=batch, rows=rows, pieces=pieces, ids=ids, own=own, classes=classes) -> None:
                    for method in methods:
                        pieces[method.id].append(
                            map_rows(ids[rows], own[rows], classes[rows], batch[method.id])
                        )

                beside.submit(keep)
            beside.submit(write_by_class, pieces)
    print(json.dumps({"attack": attacked, "explain": time.monotonic() - clock}))


def write_by_class(pieces: dict) -> None:
    """Encode a method's maps by explained class, as partitions have them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for tables in pieces.values():
        rows = pa.concat_tables(tables).combine_chunks()
        for explained in rows["explained_class"].unique().to_pylist():
            part = rows.filter(pc.field("explained_class") == explained)
            parquet(part)


def main(
    images: Annotated[int, typer.Option(help="Images of the study; above 20 of $CIFAR10.")] = 150,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of both.")] = 3,
    peer: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Print both figures and whether they meet their bars."""
    if peer:
        return compute(peer)
    if not os.environ.get("CIFAR10"):
        images = min(images, 20)
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        place = Path(folder)
        for name, limit in (("warm", 1), ("study", images)):
            (place / f"{name}.toml").write_text(STUDY.format(limit=limit, dataset=dataset_section()))
        run_study(place / "warm.toml", place / "warm", place / "prefect")
        found, peers = [], []
        for turn in range(rounds):
            found.append(run_study(place / "study.toml", place / f"lake-{turn}", place / "prefect"))
            peers.append(run_peer(place / "study.toml"))
            took = (f"{step} {found[-1][1][step]:.1f} and {alone:.1f} s" for step, alone in peers[-1].items())
            print(f"round {turn + 1}, in the study and alone: {', '.join(took)}", flush=True)
    waited = max(seconds for seconds, _ in found)
    steps, own = quickest([steps for _, steps in found]), quickest(peers)
    for step, seconds in own.items():
        share = steps[step] / seconds - 1
        print(f"{step:8} {steps[step]:8.1f} s in the study, {seconds:8.1f} s alone: {share:+.1%}")
    overhead = 100 * ((steps["attack"] + steps["explain"]) / sum(own.values()) - 1)
    print("other steps:", ", ".join(f"{s} {t:.1f} s" for s, t in steps.items() if s not in (*own, "run")))
    print(f"flows and lake, {images} images: {overhead:.1f} % {verdict(overhead, OVERHEAD)}")
    print(f"to the first task: {waited:.1f} s {verdict(waited, TO_FIRST_TASK)}")


if __name__ == "__main__":
    typer.run(main)
