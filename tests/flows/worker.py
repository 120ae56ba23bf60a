"""A study run step by step in a process that a test may kill: `python -m tests.flows.worker`.

It loads TensorFlow, then reads lines of JSON (study, lake, log, leased), forks a child for each, which is a
process group of its own, and answers its process id. A child says on the log what it begins, when it syncs
and what it wrote, one line each, at last `end` or `failed`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

STEPS = ("ingest", "attack", "explain", "analyse", "report")
PAUSE = 0.02
"""Seconds between a file's last byte and its name, so that a kill falls there, too."""


def run(study_file: str, url: str, say: Callable[[str], None], is_leased: bool = True) -> None:
    """The steps of a study, one after the other, as the flows do them."""
    from contextlib import nullcontext

    from flows import analyse, attack, check, explain, ingest, report
    from flows.lake import Lake
    from flows.lease import leased
    from flows.plan import opened

    def again() -> Lake:
        return Lake(url)

    study, lake = opened(study_file, url)
    with leased(lake, "run", study.name) if is_leased else nullcontext():
        say("begin ingest")
        ingest.predict(study, lake, ingest.ingest_images(study, lake))
        say("begin attack")
        for attack_id, shard in attack.missing_shards(study, again()):
            attack.attack_shard(study, again(), attack_id, shard)
        say("begin explain")
        for unit in explain.missing_units(study, again()):
            explain.explain_unit(study, again(), unit)
        say("begin analyse")
        check.require_sound(study, again())
        analyse.analyse(study, again())
        say("begin report")
        report.report(study, again())
    say("end")


def main() -> None:
    import tensorflow  # noqa: F401 - what takes longest, once for all children

    import reports.page  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # buries the children
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child:
            print(child, flush=True)
            continue
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os._exit(_child(asked))


def _child(asked: dict[str, Any]) -> int:
    from flows import whole_files
    from flows.lake import Lake

    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def say(text: str) -> None:
        os.write(log, f"{text}\n".encode())

    put, sync = Lake.put, os.fsync

    def noting_put(self: Lake, path: str, *rest: Any) -> str:
        written = put(self, path, *rest)
        say(f"wrote {path}")
        return written

    class Noting:
        """`os` as whole_files sees it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def fsync(self, handle: int) -> None:
            say("sync")
            sync(handle)
            time.sleep(PAUSE)

    Lake.put = noting_put
    whole_files.os = Noting()  # pyright: ignore[reportAttributeAccessIssue]
    try:
        run(asked["study"], asked["lake"], say, asked.get("leased", True))
    except BaseException:
        say(traceback.format_exc())
        say("failed")
        return 1
    return 0


if __name__ == "__main__":
    main()
