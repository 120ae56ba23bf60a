"""Work beside the main thread: in order, few pieces waiting, and no error lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Background:
    """One thread that does pieces of work in the order in which they are given.

    At most `waiting` pieces are under way or wait, so that memory stays bounded: `submit` blocks
    beyond that. An error of a piece is raised by the next `submit`, at the latest when the block
    ends; pieces behind it were given without it and are done all the same. Where the block itself
    fails, what was given before is still done.
    """

    def __init__(self, waiting: int) -> None:
        self._waiting = waiting
        self._pieces: deque[Future[Any]] = deque()
        self._pool = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> Background:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=True)
        if kind is None:
            self._collect(0)

    def submit(self, work: Callable[..., None], *arguments: Any) -> None:
        """Have work(*arguments) done; raises what an earlier piece raised."""
        self._collect(self._waiting - 1)
        self._pieces.append(self._pool.submit(work, *arguments))

    def _collect(self, left: int) -> None:
        while self._pieces and (len(self._pieces) > left or self._pieces[0].done()):
            self._pieces.popleft().result()
