"""What a process of a Dask cluster is told before it works, and what may keep it from working."""

from __future__ import annotations

import os
from typing import Any

from distributed import WorkerPlugin

from compute.classifier import ModelError, model_files
from flows import parallel
from flows.cluster import unreachable
from flows.errors import UserError
from flows.lake import Lake
from flows.study import SentStudy, load_study
from sql.errors import LakeError


class Worker(WorkerPlugin):
    """A worker has a core for each of its threads: TensorFlow has them all, a task's other work has one."""

    idempotent = True

    def setup(self, worker: Any) -> None:
        threads = worker.state.nthreads
        parallel.be_worker(threads)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ.setdefault("POLARS_MAX_THREADS", str(threads))


def hindrance(api: str, study: SentStudy, lake: str, path: str) -> str:
    """What keeps this process from working on a study in a lake; empty where nothing does.

    path: of a file that the lake holds.
    """
    if why := unreachable(api):
        return why
    try:
        loaded = load_study(study)
        model_files(loaded.model.file, loaded.model.weights)
        found = Lake(lake)
        is_there = found.exists(path)
    except (UserError, LakeError, ModelError, OSError) as error:
        return str(error)
    if not is_there:
        return (
            f"it does not find {path} in the lake {lake}: a lake must be a bucket, "
            "or a folder that all machines have under one path"
        )
    return ""
