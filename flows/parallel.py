"""Work spread over threads, each of which needs something of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Tool = TypeVar("Tool")
Outcome = TypeVar("Outcome")


_of_worker: int | None = None


def be_worker(threads: int) -> None:
    """This process is a worker that has so many tasks at a time, a core each."""
    global _of_worker
    _of_worker = threads


def worker_threads() -> int | None:
    """Tasks at a time of the worker that this process is; None where it is none."""
    return _of_worker


def cores() -> int:
    """Cores that the work at hand may use: those of this process, or one for each task of a worker."""
    if _of_worker is not None:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(
    items: Iterable[Item], tools: Sequence[Tool], do: Callable[[Tool, Item], Outcome]
) -> Generator[tuple[Item, Outcome]]:
    """Do every item with one of the tools, as many at once as there are tools; outcomes as they come.

    Where one fails, or nobody asks for further outcomes, the items not begun are dropped.
    """
    idle: SimpleQueue[Tool] = SimpleQueue()
    for tool in tools:
        idle.put(tool)

    def with_a_tool(item: Item) -> Outcome:
        tool = idle.get()
        try:
            return do(tool, item)
        finally:
            idle.put(tool)

    with ThreadPoolExecutor(len(tools)) as pool:
        futures = {pool.submit(with_a_tool, item): item for item in items}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)
