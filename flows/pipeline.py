"""The Prefect flows: each step of a study, and the pipeline that runs them one after the other.

Flows and tasks pass keys (study, lake, shard), never arrays. Nothing is cached by Prefect: the lake
itself says what is there, so a task that is run again finds its partitions and makes nothing twice.
Annotations are evaluated here: Prefect reads them where it runs a deployment.
"""

import time
from collections.abc import Callable
from typing import Annotated, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from flows import analyse as analysing
from flows import attack as attacking
from flows import check as checking
from flows import explain as explaining
from flows import ingest as ingesting
from flows import report as reporting
from flows.cluster import Runner, cluster
from flows.lake import Lake
from flows.partials import Unit
from flows.pieces import balanced
from flows.places import placed
from flows.plan import Plan, opened
from flows.runs import record_run
from flows.study import SentStudy
from flows.wanted import require_imported

StudyName = Annotated[
    str, Field(description="demo, paper, paper-attack, published, or the path of a study file (TOML)")
]
LakeUrl = Annotated[str, Field(description="folder of the lake, made where it is missing")]
Limit = Annotated[
    int | None, Field(description="only the first N correctly classified images; none: the study's own", ge=1)
]

RunnerName = Annotated[
    Runner,
    Field(description="where tasks run: threads, in this process, one after the other; dask, on workers"),
]
DaskScheduler = Annotated[
    str | None,
    Field(
        description="of runner dask: address of a scheduler that has workers, as tcp://host:8786; "
        "none: a worker for every core of this machine"
    ),
]

Counts = tuple[int, int]
"""Partition files written, and found current."""

one_at_a_time: Any = ThreadPoolTaskRunner(max_workers=1)
"""TensorFlow and DuckDB use all cores for one task."""


def _written(counts: list[Counts]) -> int:
    return sum(written for written, _ in counts)


@task(cache_policy=NO_CACHE, task_run_name="images of {study}")
def ingest_dataset(study: str, lake: str, limit: int | None) -> Counts:
    """Images and predictions of a study's dataset."""
    loaded, target = opened(study, lake, limit)
    count = ingesting.ingest_images(loaded, target)
    ingesting.predict(loaded, target, count)
    return target.written, target.skipped


@task(cache_policy=NO_CACHE, task_run_name="{attack}, shard {shard}")
def attack_shard(
    study: str | SentStudy,
    lake: str,
    limit: int | None,
    attack: str,
    shard: int,
    targets: list[int | None] | None = None,
) -> Counts:
    """Adversarial examples of a shard of images, towards every target or these."""
    loaded, target = opened(study, lake, limit)
    attacking.attack_shard(loaded, target, attack, shard, targets)
    return target.written, target.skipped


@task(cache_policy=NO_CACHE, task_run_name="maps of {subject}, shard {shard}")
def explain_unit(
    study: str | SentStudy,
    lake: str,
    limit: int | None,
    subject: str,
    shard: int,
    targets: list[int | None] | None = None,
) -> Counts:
    """Relevance maps of one subject and shard, all targets or these, by all methods."""
    loaded, target = opened(study, lake, limit)
    explaining.explain_unit(loaded, target, (subject, shard), targets)
    return target.written, target.skipped


@task(cache_policy=NO_CACHE, task_run_name="partial results of {part}")
def make_partials(lake: str, units: list[Unit], part: str) -> Counts:
    """Partial results of one shard, or those of one method in all shards."""
    analysing.make_units(Lake(lake), units)
    return len(units), 0


@task(cache_policy=NO_CACHE, task_run_name="results of {study}")
def merge_partials(study: str, lake: str, limit: int | None) -> Counts:
    """Results of all analyses, from the partial results."""
    loaded, target = opened(study, lake, limit)
    return analysing.merge(loaded, target), target.skipped


@task(cache_policy=NO_CACHE, task_run_name="{output}")
def train_network(source: str, path: str | None, output: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """Train from the last checkpoint, or from scratch."""
    from compute.training import Recipe
    from flows.train import train_classifier

    return train_classifier(source, path, output, Recipe(**recipe))


@flow(name="ingest")
def ingest(study: StudyName = "demo", lake: LakeUrl = "./lake", limit: Limit = None) -> Counts:
    """Read the dataset and let the classifier predict it."""
    return ingest_dataset(study, lake, limit)


@flow(name="attack", task_runner=one_at_a_time)
def attack(
    study: StudyName = "demo",
    lake: LakeUrl = "./lake",
    limit: Limit = None,
    runner: RunnerName = "threads",
    dask_scheduler: DaskScheduler = None,
) -> Counts:
    """Make adversarial examples of the correctly classified images, towards every other class.

    Untargeted attacks are run once an image. Parameters stand in the study file; failures are rows; pairs
    that are in the lake are not attacked again.
    """
    loaded, target = opened(study, lake, limit)
    written = 0
    with placed(runner, dask_scheduler, study, lake) as place:
        for stage in attacking.missing(loaded, target):
            tasks = balanced(stage, place.workers, loaded.batch_size)
            units = [(place.study, place.lake, limit, *task) for task in tasks]
            written += _written(place.run(attack_shard, units, "attack"))
    return written, target.skipped


@flow(name="explain", task_runner=one_at_a_time)
def explain(
    study: StudyName = "demo",
    lake: LakeUrl = "./lake",
    limit: Limit = None,
    runner: RunnerName = "threads",
    dask_scheduler: DaskScheduler = None,
) -> Counts:
    """Make relevance maps of originals and adversarial examples."""
    loaded, target = opened(study, lake, limit)
    with placed(runner, dask_scheduler, study, lake) as place:
        tasks = balanced(explaining.missing(loaded, target), place.workers, loaded.batch_size)
        units = [(place.study, place.lake, limit, *task) for task in tasks]
        return _written(place.run(explain_unit, units, "explain")), target.skipped


@flow(name="check")
def check(study: StudyName = "demo", lake: LakeUrl = "./lake", limit: Limit = None) -> Counts:
    """Check the study's part of the lake; what is wrong in it is an error that names it."""
    loaded, target = opened(study, lake, limit)
    checking.require_sound(loaded, target)
    return 0, 0


@flow(name="analyse", task_runner=one_at_a_time)
def analyse(
    study: StudyName = "demo",
    lake: LakeUrl = "./lake",
    limit: Limit = None,
    runner: RunnerName = "threads",
    dask_scheduler: DaskScheduler = None,
) -> Counts:
    """Run the SQL analyses and keep their results.

    Counts of new or changed partitions come first, where the partition is; then the quantiles, which need
    the counts of all, and last what is summed up from both.
    """
    loaded, target = opened(study, lake, limit)
    with placed(runner, dask_scheduler, study, lake) as place:
        for stage in analysing.stages(loaded, target):
            parts = analysing.parts(stage, place.workers)
            place.run(make_partials, [(place.lake, units, part) for part, units in parts.items()], "analyse")
    return merge_partials(study, lake, limit)


@flow(name="report")
def report(study: StudyName = "demo", lake: LakeUrl = "./lake", limit: Limit = None) -> str:
    """Write the HTML report; its path."""
    loaded, target = opened(study, lake, limit)
    return reporting.report(loaded, target)


@flow(name="train")
def train(source: str, path: str | None, output: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """Train the classifier and save it with its model card; the card."""
    return train_network(source, path, output, recipe)


STEPS: dict[str, Callable[..., Counts]] = {
    "ingest": ingest,
    "attack": attack,
    "explain": explain,
    "check": check,
    "analyse": analyse,
}

ON_WORKERS = ("attack", "explain", "analyse")
"""Steps whose tasks a cluster takes; the others run in the process of the flow."""


@flow(name="pipeline")
def pipeline(
    study: StudyName = "demo",
    lake: LakeUrl = "./lake",
    limit: Limit = None,
    runner: RunnerName = "threads",
    dask_scheduler: DaskScheduler = None,
) -> str:
    """Run a study from the images to the report; the report's path."""
    loaded, target = opened(study, lake, limit)
    Plan(loaded, target).check_inputs()
    with cluster(runner, dask_scheduler) as scheduler, record_run(loaded, target, "run") as counts:
        where = {"runner": runner, "dask_scheduler": scheduler}
        for name, step in STEPS.items():
            started = time.monotonic()
            written, found = step(study, lake, limit, **(where if name in ON_WORKERS else {}))
            counts[name] = (written, found, time.monotonic() - started)
            if name == "explain":
                target.refresh()
                require_imported(Plan(loaded, target))
        return report(study, lake, limit)
