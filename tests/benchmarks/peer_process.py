"""A peer in a process of an environment of its own, which is asked for one task after another.

Requests and answers are JSON, one a line. What does the peer's side is a worker: a program without a
part of this product, run by the Python of `.venv-<name>`, which `make .venv-<name>/ready` builds.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Peer:
    """A running worker."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self._name, self._process = name, process

    def ask(self, task: str, **request: Any) -> dict[str, Any]:
        """The worker's answer; RuntimeError where it died (its own words are on stderr)."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps({"task": task, **request}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"{self._name}'s process ended during '{task}', with code {self._process.wait()}"
            )
        return json.loads(line)


@contextlib.contextmanager
def peer_process(name: str, worker: Path, *arguments: str) -> Iterator[Peer]:
    """A worker of `.venv-<name>`; ends this program with code 0 and the reason where there is none."""
    environment = ROOT / f".venv-{name}"
    if not (environment / "ready").is_file():
        print(f"skipped: there is no environment .venv-{name}; `make .venv-{name}/ready` says why")
        sys.exit(0)
    with subprocess.Popen(
        [environment / "bin" / "python", worker, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        if not process.stdout.readline():
            print(f"skipped: {worker.name} cannot import what it needs from .venv-{name}, see above")
            sys.exit(0)
        yield Peer(name, process)
