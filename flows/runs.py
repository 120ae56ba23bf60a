"""The record of runs: what ran, when, for how long, how much it wrote."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from flows.lake import Lake
from flows.study import Study
from flows.versions import versions
from sql.tables import RUNS

StepCounts = dict[str, tuple[int, int, float]]
"""By step: partition files written, found current, and seconds."""


@contextmanager
def record_run(study: Study, lake: Lake, command: str) -> Iterator[StepCounts]:
    """Write a row of `runs` when the block ends, whether it failed or not."""
    started, clock = datetime.now(UTC), time.monotonic()
    counts: StepCounts = {}
    outcome = "failed"
    try:
        yield counts
        outcome = "completed"
    finally:
        lake.write_entity(
            RUNS,
            {
                "run": f"{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
                "study": study.name,
                "command": command,
                "started": started.replace(tzinfo=None),
                "seconds": time.monotonic() - clock,
                "outcome": outcome,
                "written": sum(count[0] for count in counts.values()),
                "skipped": sum(count[1] for count in counts.values()),
                "versions": json.dumps(versions()),
                "settings": study.model_dump_json(),
            },
        )
