"""Many independent searches, one batched evaluation a round.

A search is a generator: it yields the image it wants evaluated and is sent the evaluation. The
batch always has the same shape, so a result does not depend on which searches share it; a finished
search leaves its place to the next one waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import NamedTuple, TypeVar

import numpy as np


class Evaluation(NamedTuple):
    """The network at one image, for one target class."""

    logits: np.ndarray
    """float32 [k]"""
    cross_entropy: float
    """of the target; natural logarithm"""
    gradient: np.ndarray
    """of the cross-entropy with respect to the image, float32, the image's shape"""


Evaluate = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""(images float32 [b, ...], targets int64 [b]) -> logits [b, k], cross-entropy [b], gradient [b, ...]"""

Result = TypeVar("Result")
Search = Generator[np.ndarray, Evaluation, Result]


def run_in_lockstep(
    searches: Iterable[tuple[int, Search[Result]]],
    evaluate: Evaluate,
    image_shape: tuple[int, ...],
    batch_size: int,
    on_result: Callable[[int, Result], None] = lambda index, result: None,
) -> list[Result]:
    """Run (target, search) pairs to their end; results in the order of the searches.

    `on_result(index, result)` is called as soon as a search ends.
    """
    waiting = enumerate(searches)
    images = np.zeros((batch_size, *image_shape), np.float32)
    targets = np.zeros(batch_size, np.int64)
    running: dict[int, tuple[int, Search[Result]]] = {}
    results: dict[int, Result] = {}

    def start(place: int) -> None:
        for index, (target, search) in waiting:
            targets[place] = target
            images[place] = next(search)
            running[place] = (index, search)
            return

    for place in range(batch_size):
        start(place)
    while running:
        logits, cross_entropy, gradient = evaluate(images, targets)
        for place, (index, search) in list(running.items()):
            try:
                images[place] = search.send(
                    Evaluation(logits[place], float(cross_entropy[place]), gradient[place])
                )
            except StopIteration as finished:
                results[index] = finished.value
                on_result(index, finished.value)
                del running[place]
                start(place)
    return [results[index] for index in sorted(results)]
