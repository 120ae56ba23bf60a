"""Rows of the table `relevance` from raw maps, whoever computed them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from compute.maps import RawMaps
from compute.ranking import finish_maps
from flows.vectors import table_of
from sql.tables import RELEVANCE

ABSORBED = ("absorbed_bias", "absorbed_stabiliser", "absorbed_empty")


def map_rows(image_id: np.ndarray, label: np.ndarray, classes: np.ndarray, maps: RawMaps) -> pa.Table:
    """Scaled and ranked maps of images, explained for `classes`; int64 [m] each."""
    finished = finish_maps(maps.relevance)
    with np.errstate(invalid="ignore"):  # of a map that is not finite
        total = maps.relevance.sum(axis=1, dtype=np.float64)
    columns = {
        "image_id": image_id, "label": label, "explained_class": classes, "start": maps.start,
        "scale": finished.scale, "status": finished.status, "relevance": finished.relevance,
        "rank": finished.rank, "ties_at_31": finished.ties_at_31, "ties_at_307": finished.ties_at_307,
        "relevance_sum": total,
    }  # fmt: skip
    absorbed = {name: getattr(maps, name) for name in ABSORBED}
    nulls: dict[str, np.ndarray] = dict.fromkeys(("rank", "ties_at_31", "ties_at_307"), ~finished.ok)
    nulls["scale"] = finished.status == "non_finite"
    nulls |= {name: np.isnan(values) for name, values in absorbed.items()}
    return table_of(RELEVANCE, columns | absorbed, nulls)
