"""The demonstration in a bucket against the same in a folder: wall time, and the requests that it takes.

The bucket is moto's S3 server on loopback, in a process of its own on the same cores: slow at answering (what
a request takes is printed), but without a way to go. Both studies start from nothing, in turn, with the same
Prefect home; of each the shortest time counts. Then a second run, `status` and `sql`, in both.

Bar: the study in the bucket takes at most 1.5 times the wall time of the study in the folder.

Run from the repository root: python -m tests.benchmarks.bench_bucket [--limit N] [--rounds N]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from tests.benchmarks.measuring import verdict
from tests.s3_server import S3Server, s3_server

BAR = 1.5
QUERY = "select method, count(*) from relevance group by all"


def seconds(server: S3Server, folder: Path, *words: str) -> float:
    """Wall time of a command."""
    environment = {**os.environ, **server.environment}
    started = time.monotonic()
    command = [sys.executable, "-m", "flows.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed: {done.stderr}")
    return time.monotonic() - started


def of_server(server: S3Server, count: int) -> float:
    """Seconds that a request takes of the server and the client: a small object, one after the other."""
    import s3fs

    place = s3fs.S3FileSystem(key="key", secret="secret", endpoint_url=server.url)
    place.pipe_file("bucket/one", b"x" * 1000)
    started = time.monotonic()
    for _ in range(count):
        place.cat_file("bucket/one", start=0, end=1000)
    took = (time.monotonic() - started) / count
    place.rm_file("bucket/one")
    server.requests()
    return took


def main(
    limit: Annotated[int, typer.Option(min=1, help="Images of the demonstration.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each study is made.")] = 2,
) -> None:
    """Compare the demonstration in a bucket with the same in a folder."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-bucket-") as name,
        s3_server(Path(name)) as server,
    ):
        folder = Path(name)
        a_request = of_server(server, 50)
        commands = {
            "study": ("run", "demo", "--limit", str(limit)),
            "run again": ("run", "demo", "--limit", str(limit)),
            "status": ("status", "demo", "--limit", str(limit)),
            "sql": ("sql", QUERY),
        }
        local: dict[str, float] = {}
        remote: dict[str, float] = {}
        asked: dict[str, Counter[str]] = {}
        for i in range(rounds):
            for what, words in commands.items():
                took = seconds(server, folder, *words, "--lake", f"lake-{i}")
                local[what] = min(took, local.get(what, took))
                server.requests()
                took = seconds(server, folder, *words, "--lake", f"s3://bucket/lake-{i}")
                remote[what] = min(took, remote.get(what, took))
                asked[what] = server.kinds()
        for what in commands:
            requests = sum(asked[what].values())
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(asked[what].items()))
            print(
                f"{what}: {remote[what] / local[what]:.2f} times the time in a folder "
                f"({remote[what]:.1f} s, {local[what]:.1f} s); {kinds}: one by one they would take "
                f"{requests * a_request:.1f} s of this server"
            )
        ratio = remote["study"] / local["study"]
        print(f"the study: {ratio:.2f} {verdict(ratio, BAR)}")
    raise typer.Exit(0 if ratio <= BAR else 1)


if __name__ == "__main__":
    typer.run(main)
