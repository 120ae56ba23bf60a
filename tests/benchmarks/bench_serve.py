"""Whether `relevance-lake serve` lives long: its memory and its open files over many flow runs.

A real server on loopback, the real command, and runs of a study that find everything in the lake, one after
the other. Every run is a process of its own; what is measured is the one that serves. Bars: from the 50th
run to the last its memory grows by at most 10 %, and it holds as many open files. A run takes as long as
Python takes to import Prefect and to write a report, so that 500 of them take about an hour on 2 cores.

Run from the repository root: python -m tests.benchmarks.bench_serve [--runs N]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from tests.benchmarks.measuring import verdict
from tests.flows.servers import Server, prefect_server

STUDY = """
name = "served"
limit = 1
methods = ["gradient"]

[[attacks]]
id = "lbfgs"
"""
WAITING = 3
"""Runs asked for and not over: of hundreds the server marks all as late, again and again."""
AFTER = 50
GROWTH = 10.0
"""Percent."""


def memory(pid: int) -> float:
    """Resident memory in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def handles(pid: int) -> int:
    """Open files, pipes and sockets."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def finished(server: Server) -> int:
    """Runs of the deployment that are over; all must have been completed."""
    states = {"deployments": {"name": {"any_": ["served"]}}}
    count = server.ask("flow_runs/count", **states, flow_runs={"state": {"type": {"any_": ["COMPLETED"]}}})
    bad = {"state": {"type": {"any_": ["FAILED", "CRASHED", "CANCELLED"]}}}
    if failed := server.ask("flow_runs/count", **states, flow_runs=bad):
        sys.exit(f"{failed} runs failed, see {server.log}")
    return count


def main(runs: Annotated[int, typer.Option(min=20, help="Flow runs.")] = 500) -> None:
    """Print memory and open files now and then, and both bars."""
    with tempfile.TemporaryDirectory(prefix="serve-") as name:
        folder = Path(name)
        study, lake = folder / "served.toml", folder / "lake"
        study.write_text(STUDY)
        after = min(AFTER, runs // 2)
        with prefect_server(folder) as server:
            server.run("relevance-lake", "run", str(study), "--lake", str(lake))
            process = server.start("relevance-lake", "serve", str(study), "--lake", str(lake))
            server.wait(lambda: "polling for scheduled runs" in server.log.read_text())
            identity = server.deployment("served")["id"]
            started, seen, told, asked = time.monotonic(), {}, 0, 0
            while (done := finished(server)) < runs:
                while asked < min(runs, done + WAITING):
                    # one that is triggered counts as any: the schedule makes the same rows on the server
                    server.ask(f"deployments/{identity}/create_flow_run", state={"type": "SCHEDULED"})
                    asked += 1
                if done >= after and after not in seen:
                    seen[after] = memory(process.pid), handles(process.pid)
                if done >= told + 25:
                    told = done
                    each = (time.monotonic() - started) / done
                    print(
                        f"{done:4} runs, {each:.1f} s each: {memory(process.pid):.0f} MB, "
                        f"{handles(process.pid)} open files",
                        flush=True,
                    )
                time.sleep(0.5)
            time.sleep(5)  # the last process is buried
            first, last = seen[after], (memory(process.pid), handles(process.pid))
    growth, more = 100 * (last[0] / first[0] - 1), last[1] - first[1]
    print(f"memory from run {after} to {runs}: {growth:+.1f} % {verdict(growth, GROWTH)}")
    print(f"open files: {more:+} {verdict(more, 0)}")


if __name__ == "__main__":
    typer.run(main)
