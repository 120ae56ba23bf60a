"""What an attribution method gives for a batch of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class RawMaps:
    """Relevance as a method computes it, before scaling and ranking.

    relevance: float32 or float64 [n, h*w*c], component (y * w + x) * c + channel; LRP: in the unit of logits.
    start: float [n], the explained logit.
    absorbed_bias, absorbed_stabiliser, absorbed_empty: float64 [n], relevance that did not reach the
        input, summed over layers: taken by biases, by stabilisers, or left where no contribution was
        there to take it. With the sum of the map they make up the start. NaN: not accounted for.
    """

    relevance: np.ndarray
    start: np.ndarray
    absorbed_bias: np.ndarray
    absorbed_stabiliser: np.ndarray
    absorbed_empty: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def rows(self, rows: slice) -> RawMaps:
        """Some of the maps, as views."""
        return RawMaps(*(getattr(self, field.name)[rows] for field in fields(self)))


def unaccounted(relevance: np.ndarray, start: np.ndarray, baseline: np.ndarray | None = None) -> RawMaps:
    """Maps of a method that does not say where missing relevance went.

    baseline: float [n], the logit that a method leaves out by design (integrated gradients): a bias.
    """
    unknown = np.full(len(start), np.nan)
    if baseline is None:
        return RawMaps(relevance, start, unknown, unknown, unknown)
    nothing = np.zeros(len(start))
    return RawMaps(relevance, start, np.asarray(baseline, np.float64), nothing, nothing)


def joined(parts: Sequence[RawMaps]) -> RawMaps:
    """Maps of several batches, one after the other."""
    return RawMaps(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(RawMaps))
    )
