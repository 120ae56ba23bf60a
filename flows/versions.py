"""Versions of what computes, recorded with everything that is written."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import Any

from compute.startup import BATCH_SIZES, device
from flows.study import Study

PACKAGES = (
    "relevance-lake",
    "tensorflow",
    "tensorflow-cpu",
    "keras",
    "numpy",
    "pyarrow",
    "duckdb",
    "foolbox",
)


@cache
def versions() -> dict[str, str]:
    """Installed version of each package that has a part in the figures."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def recorded(study: Study) -> dict[str, Any]:
    """What a partition's footer records, besides what is compared.

    device: what TensorFlow computes on in this process; None where it has no part in the partition.
    """
    used = device()
    return {
        "versions": versions(),
        "study": study.name,
        "batch_size": study.batch_size or (BATCH_SIZES[used] if used else None),
        "device": used,
    }
