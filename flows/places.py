"""Where the tasks of a flow run: in its own process, or on the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.callables import get_call_parameters

from flows.cluster import Runner, address, cluster, prepare
from flows.errors import UserError
from flows.lake import Lake
from flows.study import SentStudy, sent


class Here:
    """In the process of the flow, by its own task runner."""

    workers = 1

    def __init__(self, study: str, lake: str) -> None:
        self.study, self.lake = study, lake

    def submit(self, task: Any, units: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Futures of a task for each unit of arguments."""
        return [task.submit(*unit) for unit in units]

    @contextmanager
    def faults(self, what: str) -> Iterator[None]:
        """Of this process there is none to tell."""
        yield


@dataclass(frozen=True)
class OnWorkers:
    """On the workers of a Dask cluster; study and lake as these find them."""

    runner: Any
    scheduler: str
    workers: int
    api: str
    study: SentStudy
    lake: str

    def submit(self, task: Any, units: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Futures of a task for each unit of arguments, which begin in the order of the units.

        A task whose worker is lost is done by another one.
        """
        # else each worker would start a server of its own
        with temporary_settings({PREFECT_API_URL: self.api}):
            return [
                self.runner.submit(task, parameters=get_call_parameters(task.fn, unit, {})) for unit in units
            ]

    @contextmanager
    def faults(self, what: str) -> Iterator[None]:
        """UserError where a task costs one worker after the other, or where the scheduler is lost."""
        from distributed import CancelledError, KilledWorker

        try:
            yield
        except KilledWorker as error:
            raise UserError(
                f"{what}: {error.allowed_failures + 1} workers ended while they did one task, the last of "
                f"them {error.last_worker.address}; they may have run out of memory: take fewer threads "
                "a machine or a smaller batch_size. What is written is whole, the same command goes on"
            ) from None
        except CancelledError:
            raise UserError(
                f"the Dask scheduler at {self.scheduler} was lost. What is written is whole, "
                "the same command goes on from there"
            ) from None


Place = Here | OnWorkers


@contextmanager
def placed(runner: Runner, scheduler: str | None, study: str, lake: str) -> Iterator[Place]:
    """Where the tasks of the running flow go. The lake must hold the study's dataset by now."""
    with cluster(runner, scheduler) as taken:
        if taken is None:
            yield Here(study, lake)
            return
        from prefect_dask.task_runners import DaskTaskRunner

        context = FlowRunContext.get()
        assert context is not None
        api, described, place = str(context.client.api_url), sent(study), Lake(lake)
        workers = prepare(taken, api, described, place)
        with DaskTaskRunner(address=taken) as running:
            yield OnWorkers(running, taken, workers, api, described, address(place))
