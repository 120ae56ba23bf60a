"""Running flows from the command line: Prefect, quiet and offline, and one step of a study."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from flows.cluster import Runner, require_cluster
from flows.errors import UserError

SECONDS_TO_ANSWER = 20
"""Within which a Prefect server that is named must say anything."""


def prefect_flows() -> Any:
    """The flows, with Prefect's settings defaulted for a command line that is quiet and offline.

    Raises UserError where a Prefect server is named that does not answer.
    """
    quiet = {
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "DO_NOT_TRACK": "1",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    from prefect.settings import PREFECT_API_URL

    from flows import pipeline

    if api := PREFECT_API_URL.value():
        _require_server(api)
    return pipeline


def _require_server(api: str) -> None:
    """UserError where nobody answers at this URL; whatever answers is for Prefect to judge."""
    try:
        with urlopen(f"{api.rstrip('/')}/health", timeout=SECONDS_TO_ANSWER):
            pass
    except HTTPError:
        pass
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):  # Prefect has certificates of its own
            return
        raise UserError(
            f"no Prefect server answers at {api} ({reason}): start it with "
            "`prefect server start`, or unset PREFECT_API_URL for a command that starts one of its own"
        ) from None


@contextmanager
def working(what: str) -> Iterator[None]:
    """Progress bars below a line that says what runs."""
    from flows.progress import console, progress_display

    with progress_display():
        console.print(what, highlight=False)
        yield


def run_step(
    name: str,
    study: str,
    lake: str,
    limit: int | None,
    force: bool = False,
    runner: Runner = "threads",
    dask_scheduler: str | None = None,
) -> None:
    """Run one step's flow, with `force` on what is there too; what the lake lacks for it is a UserError."""
    from flows.lease import leased
    from flows.plan import Plan, opened
    from flows.wanted import to_import

    require_cluster(runner, dask_scheduler)
    loaded, target = opened(study, lake, limit)
    plan = Plan(loaded, target)
    plan.check_inputs()
    if name != "ingest" and not plan.has_predictions():
        raise UserError(
            f"{target.url} holds no predictions of {loaded.dataset.id} yet: "
            f"run `relevance-lake ingest {study} --lake {lake}` first"
        )
    if name != "ingest" and not plan.has_randomisations():
        raise UserError(
            f"{target.url} lacks the randomised networks of the study's sanity check: "
            f"run `relevance-lake ingest {study} --lake {lake}` first"
        )
    if name == "explain" and not plan.has_adversarials():
        raise UserError(
            f"{target.url} lacks adversarial examples of the study: "
            f"run `relevance-lake attack {study} --lake {lake}` first"
        )
    if name == "analyse" and not plan.is_complete():
        raise UserError(
            f"{target.url} lacks adversarial examples or maps of the study, as `relevance-lake status "
            f"{study} --lake {lake}` tells: run `relevance-lake run {study} --lake {lake}`"
        )
    # Prefect would take longer to start than most analyses take
    if name == "analyse" and runner == "threads" and not os.environ.get("PREFECT_API_URL"):
        from flows.analyse import analyse, forget
        from flows.runs import record_run

        with working(f"{name}: {loaded.name}, lake {target.url}"), record_run(loaded, target, name) as step:
            if force:
                forget(loaded, target)
            written = analyse(loaded, target)
            step.add(replace(target.counts, written=written))
        counts = step.counts
    else:
        with leased(target, name, loaded.name), working(f"{name}: starting Prefect"):
            flows = prefect_flows()
            where = {"runner": runner, "dask_scheduler": dask_scheduler} if name in flows.ON_WORKERS else {}
            counts = flows.STEPS[name](study=study, lake=lake, limit=limit, force=force, **where)
    print(f"{name}: {counts.written} files written, {counts.found} found current")
    if name == "explain":
        target.refresh()
        for sentence in to_import(plan):
            print(f"{sentence}: relevance-lake import-maps FILE --study {study} --lake {lake} --method ...")
