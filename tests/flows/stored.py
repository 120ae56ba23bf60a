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


def assert_same_lakes(new: Path, old: Path) -> None:
    """The same files, but records of runs and what is remembered of checks; in each the same rows."""
    files, others = ({str(p.relative_to(lake)): p for p in lake.rglob("*.parquet")} for lake in (new, old))
    for unlike in ("runs/", "checked/"):
        for found in (files, others):
            for path in [path for path in found if path.startswith(unlike)]:
                del found[path]
    assert sorted(files) == sorted(others)
    for path, file in files.items():
        rows, wanted = (pq.read_table(pa.BufferReader(one.read_bytes())) for one in (file, others[path]))
        if path.startswith("relevance/"):
            assert_same_maps(rows, wanted)
        elif path.startswith(("results/", "partials/")):
            assert_same_rows(path, rows, wanted, path.startswith("partials/"))
        else:
            assert rows.equals(wanted), path


def assert_same_rows(path: str, new: pa.Table, old: pa.Table, exactly: bool) -> None:
    """The same rows in any order. Results are sums over threads, whose order varies: floats to 1e-9."""
    import polars as pl
    from polars.testing import assert_frame_equal

    frames = [pl.DataFrame(rows) for rows in (new, old)]
    plain = [name for name, kind in frames[0].schema.items() if not kind.is_nested()]
    assert frames[0].schema == frames[1].schema, path
    ordered = [frame.sort(plain, nulls_last=True) for frame in frames]
    if exactly:
        assert ordered[0].equals(ordered[1]), path
    else:
        # shares of what is absorbed are as near as that is, see `assert_same_maps`
        tolerance = 1e-4 if "/map_diagnostics/" in path else 1e-9
        assert_frame_equal(*ordered, rel_tol=tolerance, abs_tol=tolerance)
