"""An S3 server on loopback in a process of its own (moto), which writes down every request."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

REQUEST = re.compile(r'"([A-Z]+) (\S+) HTTP/1\.1" (\d+)')


@dataclass(frozen=True)
class Request:
    """What a client asked for: method, path with query, and the status of the answer."""

    method: str
    path: str
    status: int

    @property
    def kind(self) -> str:
        """LIST, or the method."""
        return "LIST" if "list-type=2" in self.path else self.method


@dataclass
class S3Server:
    """A running server, and the environment variables that lead to it."""

    url: str
    log: Path
    _read: int = 0

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-central-1",
        }

    def requests(self) -> list[Request]:
        """The requests since this was asked last."""
        with self.log.open() as file:
            file.seek(self._read)
            said = file.read()
            self._read = file.tell()
        return [Request(method, path, int(status)) for method, path, status in REQUEST.findall(said)]

    def kinds(self) -> Counter[str]:
        """How many requests there were of each kind since they were asked for last."""
        return Counter(request.kind for request in self.requests())


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A server with an empty bucket `bucket`; its log goes into `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "s3-server.log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "NO_COLOR": "1"})
    server = S3Server(f"http://127.0.0.1:{port}", log)
    try:
        _wait(server, process)
        _make_bucket(server)
        server.requests()
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _wait(server: S3Server, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            with urlopen(f"{server.url}/moto-api/", timeout=5):
                return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.2)
    raise RuntimeError(f"the S3 server did not start: {server.log.read_text()}")


def _make_bucket(server: S3Server) -> None:
    with urlopen(urllib.request.Request(f"{server.url}/bucket", method="PUT"), timeout=30):
        pass
