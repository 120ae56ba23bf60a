"""A Prefect server, and what runs against it, as processes of their own on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 300.0
"""Seconds for whatever is waited for."""


class Server:
    """A running server: its settings as an environment, its API, and processes that end with it."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.log = folder / "log"
        self.environment = {
            **os.environ,
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "DO_NOT_TRACK": "1",
            "COLUMNS": "200",
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """Start a command in the background; python for `relevance-lake` and `prefect`."""
        with self.log.open("a") as log:
            process = subprocess.Popen(
                _command(words), env=self.environment, stdout=log, stderr=log, cwd=cwd, start_new_session=True
            )
        self._processes.append(process)
        return process

    def run(self, *words: str, cwd: Path | None = None) -> str:
        """Run a command to its end; what it printed."""
        done = subprocess.run(
            _command(words), env=self.environment, capture_output=True, text=True, cwd=cwd, timeout=PATIENCE
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, path: str, **body: Any) -> Any:
        """The answer of the API to a POST, asked again while the server's SQLite, or the machine, is busy."""
        request = urllib.request.Request(
            f"{self.url}/{path}", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        for wait in (1, 2, 4, 8, 16, 0):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.load(answer)
            except (urllib.error.HTTPError, TimeoutError) as error:
                if getattr(error, "code", 503) != 503 or not wait:
                    raise
                time.sleep(wait)
        raise AssertionError("unreachable")

    def deployment(self, name: str) -> dict[str, Any]:
        [found] = self.ask("deployments/filter", deployments={"name": {"any_": [name]}})
        return found

    def flow_runs(self, deployment: str) -> list[dict[str, Any]]:
        """Runs of a deployment that began or were cancelled, the first first."""
        runs = self.ask(
            "flow_runs/filter", deployments={"name": {"any_": [deployment]}}, sort="START_TIME_ASC", limit=200
        )
        return [run for run in runs if run["state_type"] not in ("SCHEDULED", "PENDING")]

    def wait(self, what: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """What is waited for, as soon as it is truthy."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := what():
                return found
            time.sleep(1)
        raise AssertionError(f"waited {seconds:.0f} s in vain:\n" + self.log.read_text()[-4000:])

    def stop(self) -> None:
        for process in reversed(self._processes):
            with_children = os.getpgid(process.pid) if process.poll() is None else None
            if with_children is not None:
                os.killpg(with_children, signal.SIGKILL)
                process.wait()


def _command(words: tuple[str, ...]) -> list[str]:
    module = {"relevance-lake": "flows.cli", "prefect": "prefect"}[words[0]]
    return [sys.executable, "-m", module, *words[1:]]


@contextmanager
def prefect_server(folder: Path) -> Iterator[Server]:
    """A server that answers, with a home of its own."""
    server = Server(folder)
    try:
        server.start(
            "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(server.port), "--no-ui"
        )
        server.wait(lambda: _answers(server.url))
        yield server
    finally:
        server.stop()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
