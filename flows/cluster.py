"""Workers of a Dask cluster: one that is named, or one that is started here. Starts without Prefect."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from flows import parallel
from flows.errors import UserError
from flows.progress import console

if TYPE_CHECKING:
    from flows.lake import Lake
    from flows.study import SentStudy

Runner = Literal["threads", "dask"]

SECONDS_TO_CONNECT = 10

CAPTION = "relevance-lake"
"""Under which a scheduler knows what its workers are told."""


def require_cluster(runner: Runner, scheduler: str | None) -> None:
    """UserError where tasks cannot be run as asked: Dask is missing, or the scheduler, or its workers."""
    if runner == "threads":
        if scheduler:
            raise UserError(f"a Dask scheduler ({scheduler}) goes with --runner dask")
        return
    if not all(map(find_spec, ("distributed", "prefect_dask"))):
        raise UserError("--runner dask needs Dask: pip install 'relevance-lake[dask]'")
    if scheduler:
        with _connected(scheduler):
            pass


@contextmanager
def cluster(runner: Runner, scheduler: str | None) -> Iterator[str | None]:
    """Address of the scheduler that takes the tasks: the one named, or a local one; None: no cluster.

    A local cluster has a process of one thread for every core that this process may use, and ends with the
    block.
    """
    require_cluster(runner, scheduler)
    if runner == "dask":
        import distributed  # noqa: F401 - sets its loggers up

        logging.getLogger("distributed").setLevel(logging.ERROR)
    if runner == "threads" or scheduler:
        yield scheduler
        return
    from distributed import LocalCluster

    count = parallel.cores()
    # Dask's limits are for data that it holds itself: it would pause or end a worker that computes
    settings: dict[str, Any] = {"memory_limit": None, "dashboard_address": None}
    local: Any
    with LocalCluster(n_workers=count, threads_per_worker=1, **settings) as local:
        console.print(f"Dask: {count} workers of one thread on this machine", highlight=False)
        yield local.scheduler_address


@contextmanager
def _connected(scheduler: str) -> Iterator[Any]:
    """A `distributed.Client` of a scheduler that has workers."""
    from distributed import Client

    try:
        client = Client(scheduler, timeout=SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"no Dask scheduler answers at {scheduler} ({reason}): give an address as tcp://host:8786, "
            "and start it there with `dask scheduler`"
        ) from None
    with client:
        if not client.nthreads():
            raise UserError(
                f"the Dask scheduler at {scheduler} has no worker: start some with "
                f"`dask worker {scheduler} --nworkers 2 --nthreads 1`, on as many machines as you like"
            )
        yield client


def prepare(scheduler: str, api: str, study: SentStudy, lake: Lake) -> int:
    """Tell the workers of a scheduler how to work, and try whether they can; tasks that they take at a time.

    api: URL of the Prefect server that the workers report to. Raises UserError with what keeps a worker from
    working: no Relevance Lake, a lake, a model or a server that it does not see.
    """
    from flows.study import load_study
    from flows.worker import Worker, hindrance

    place = f"datasets/{load_study(study).dataset.id}.parquet"
    with _connected(scheduler) as client:
        try:
            client.register_plugin(Worker(), name=CAPTION)
            answers: dict[str, Any] = client.run(hindrance, api, study, address(lake), place)
        except ImportError as error:
            raise UserError(
                f"a worker of {scheduler} cannot import what it needs ({error}): install the same version of "
                "relevance-lake there, with the same packages"
            ) from None
        for worker, why in answers.items():
            if why:
                raise UserError(f"the worker {worker} cannot take part: {why}")
        return sum(client.nthreads().values())


def address(lake: Lake) -> str:
    """The lake as other processes find it, wherever they were started."""
    return os.path.abspath(lake.root) if lake.is_local else lake.url


def unreachable(api: str) -> str:
    """Why a server on this machine alone is out of reach; empty where it answers, or is not so."""
    host, port = urlsplit(api).hostname or "", urlsplit(api).port or 80
    if host not in ("localhost", "::1") and not host.startswith("127."):
        return ""
    try:
        with socket.create_connection((host, port), timeout=SECONDS_TO_CONNECT):
            return ""
    except OSError:
        return (
            f"Prefect's server at {api} is on another machine: start one with `prefect server start "
            "--host 0.0.0.0`, and set PREFECT_API_URL=http://HOST:4200/api, HOST as workers reach it"
        )
