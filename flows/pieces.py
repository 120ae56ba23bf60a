"""Pieces of a step: few enough to fill batches, enough of them that all workers are busy to the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from compute.startup import BATCH_SIZES

PIECES_A_WORKER = 8
"""With eight of equal size a worker that ends first waits for an eighth of another's work at most."""

BATCHES_A_PIECE = 2
"""The last batch of a piece is not full: of fewer batches it would be a large part."""


class Piece(NamedTuple):
    """What lacks of an attack or a subject in one shard: how many images by target."""

    name: str
    shard: int
    images: Mapping[int | None, int]


Task = tuple[str, int, list[int | None] | None]
"""(attack or subject, shard, targets); None: all targets of the shard."""


def balanced(pieces: Sequence[Piece], workers: int, batch_size: int | None) -> list[Task]:
    """Tasks for so many workers, the largest first; for one worker a task a piece, in order.

    Targets of a shard are dealt out where there would be too few tasks. What a task computes does not
    depend on the targets beside it, so the lake is the same however they are dealt.
    """
    if workers == 1:
        return [(piece.name, piece.shard, None) for piece in pieces]
    total = sum(_size(piece) for piece in pieces)
    wanted = min(PIECES_A_WORKER * workers, total // (BATCHES_A_PIECE * (batch_size or BATCH_SIZES["CPU"])))
    if wanted > workers:
        wanted -= wanted % workers  # else some would do one task more than the others
    tasks: list[tuple[int, Task]] = []
    for piece in pieces:
        targets = list(piece.images)
        parts = min(round(_size(piece) * wanted / max(total, 1)), len(targets))
        if parts <= 1:
            tasks.append((_size(piece), (piece.name, piece.shard, None)))
            continue
        for part in (targets[first::parts] for first in range(parts)):
            size = sum(piece.images[target] for target in part)
            tasks.append((size, (piece.name, piece.shard, part)))
    return [task for _, task in sorted(tasks, key=lambda sized: -sized[0])]


def _size(piece: Piece) -> int:
    return sum(piece.images.values())
