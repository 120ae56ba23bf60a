"""Versions of what computes, recorded with everything that is written."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import Any

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
    """What a partition's footer records, besides what is compared."""
    return {"versions": versions(), "study": study.name, "batch_size": study.batch_size}
