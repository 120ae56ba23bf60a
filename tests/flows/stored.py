"""Stored maps, and when two of them are the same."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ABSORBED = ["absorbed_bias", "absorbed_stabiliser", "absorbed_empty"]


def maps_of(lake: Path) -> dict[str, pa.Table]:
    """Every relevance partition by its path in the lake."""
    return {str(p.relative_to(lake)): pq.read_table(p) for p in (lake / "relevance").rglob("*.parquet")}


def assert_same_maps(new: pa.Table, old: pa.Table) -> None:
    """All bits alike; but what is absorbed to float32's rounding: TensorFlow reorders those sums by the
    methods that share a pass."""
    assert new.drop_columns(ABSORBED).equals(old.drop_columns(ABSORBED))
    for name in ABSORBED:
        np.testing.assert_allclose(
            np.array(new[name].to_pylist(), float), np.array(old[name].to_pylist(), float), 1e-5, 1e-5
        )
