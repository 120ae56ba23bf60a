"""The Prefect flows: each step of a study, and the pipeline that runs them one after the other.

Flows and tasks pass keys (study, lake, shard), never arrays. Nothing is cached by Prefect: the lake
itself says what is there, so a task that is run again finds its partitions and makes nothing twice.
Annotations are evaluated here: Prefect reads them where it runs a deployment.
"""

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from flows import analyse as analysing
from flows import attack as attacking
from flows import check as checking
from flows import explain as explaining
from flows import ingest as ingesting
from flows import report as reporting
from flows.lake import Lake
from flows.lease import leased
from flows.partials import Unit
from flows.plan import Plan, opened
from flows.runs import record_run
from flows.storage_faults import RETRIED
from flows.wanted import require_imported

StudyName = Annotated[
    str, Field(description="demo, paper, paper-attack, published, or the path of a study file (TOML)")
]
LakeUrl = Annotated[
    str, Field(description="folder of the lake, made where it is missing, or s3://bucket/prefix")
]
Limit = Annotated[
    int | None, Field(description="only the first N correctly classified images; none: the study's own", ge=1)
]

Force = Annotated[bool, Field(description="make what is there anew, in its place")]

Counts = tuple[int, int]
"""Partition files written, and found current."""

one_at_a_time: Any = ThreadPoolTaskRunner(max_workers=1)
"""TensorFlow and DuckDB use all cores for one task."""


def _each(one: Any, units: Sequence[tuple[Any, ...]], found: int) -> Counts:
    """Run a task for each unit; what they wrote, what they and the planning before them found."""
    futures = [one.submit(*unit) for unit in units]
    wait(futures)
    counts = [future.result() for future in futures]
    return sum(count[0] for count in counts), found


@task(cache_policy=NO_CACHE, task_run_name="images of {study}", **RETRIED)
def ingest_dataset(study: str, lake: str, limit: int | None, force: bool) -> Counts:
    """Images and predictions of a study's dataset."""
    loaded, target = opened(study, lake, limit)
    count = ingesting.ingest_images(loaded, target, force)
    ingesting.predict(loaded, target, count, force)
    return target.written, target.skipped


@task(cache_policy=NO_CACHE, task_run_name="{attack}, shard {shard}", **RETRIED)
def attack_shard(study: str, lake: str, limit: int | None, force: bool, attack: str, shard: int) -> Counts:
    """Adversarial examples of a shard of images, towards every target."""
    loaded, target = opened(study, lake, limit)
    attacking.attack_shard(loaded, target, attack, shard, force)
    return target.written, target.skipped


@task(cache_policy=NO_CACHE, task_run_name="maps of {subject}, shard {shard}", **RETRIED)
def explain_unit(study: str, lake: str, limit: int | None, force: bool, subject: str, shard: int) -> Counts:
    """Relevance maps of one subject and shard, all targets, by all methods."""
    loaded, target = opened(study, lake, limit)
    explaining.explain_unit(loaded, target, (subject, shard), force)
    return target.written, target.skipped


@task(cache_policy=NO_CACHE, task_run_name="partial results of {part}", **RETRIED)
def make_partials(lake: str, units: list[Unit], part: str) -> Counts:
    """Partial results of one shard, or those of one method in all shards."""
    analysing.make_units(Lake(lake), units)
    return len(units), 0


@task(cache_policy=NO_CACHE, task_run_name="results of {study}", **RETRIED)
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
def ingest(
    study: StudyName = "demo", lake: LakeUrl = "./lake", limit: Limit = None, force: Force = False
) -> Counts:
    """Read the dataset and let the classifier predict it."""
    loaded, target = opened(study, lake, limit)
    with leased(target, "ingest", loaded.name):
        return ingest_dataset(study, lake, limit, force)


@flow(name="attack", task_runner=one_at_a_time)
def attack(
    study: StudyName = "demo", lake: LakeUrl = "./lake", limit: Limit = None, force: Force = False
) -> Counts:
    """Make adversarial examples of the correctly classified images, towards every other class.

    Untargeted attacks are run once an image. Parameters stand in the study file; failures are rows; pairs
    that are in the lake are not attacked again.
    """
    loaded, target = opened(study, lake, limit)
    with leased(target, "attack", loaded.name):
        missing = attacking.missing_shards(loaded, target, force)
        return _each(attack_shard, [(study, lake, limit, force, *unit) for unit in missing], target.skipped)


@flow(name="explain", task_runner=one_at_a_time)
def explain(
    study: StudyName = "demo", lake: LakeUrl = "./lake", limit: Limit = None, force: Force = False
) -> Counts:
    """Make relevance maps of originals and adversarial examples."""
    loaded, target = opened(study, lake, limit)
    with leased(target, "explain", loaded.name):
        missing = explaining.missing_units(loaded, target, force)
        return _each(explain_unit, [(study, lake, limit, force, *unit) for unit in missing], target.skipped)


@flow(name="check")
def check(study: StudyName = "demo", lake: LakeUrl = "./lake", limit: Limit = None) -> Counts:
    """Check the study's part of the lake; what is wrong in it is an error that names it."""
    loaded, target = opened(study, lake, limit)
    checking.require_sound(loaded, target)
    return 0, 0


@flow(name="analyse", task_runner=one_at_a_time)
def analyse(
    study: StudyName = "demo", lake: LakeUrl = "./lake", limit: Limit = None, force: Force = False
) -> Counts:
    """Run the SQL analyses and keep their results.

    Counts of new or changed partitions come first, where the partition is; then the quantiles, which need
    the counts of all, and last what is summed up from both.
    """
    loaded, target = opened(study, lake, limit)
    with leased(target, "analyse", loaded.name):
        if force:
            analysing.forget(loaded, target)
        for stage in analysing.stages(loaded, target):
            parts: dict[str, list[Unit]] = {}
            for unit in (unit for piece in stage for unit in piece):
                part = unit.series[2] if unit.shard is None else f"shard {unit.shard}"
                parts.setdefault(part, []).append(unit)
            _each(make_partials, [(lake, units, part) for part, units in parts.items()], 0)
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


@flow(name="pipeline")
def pipeline(study: StudyName = "demo", lake: LakeUrl = "./lake", limit: Limit = None) -> str:
    """Run a study from the images to the report; the report's path."""
    loaded, target = opened(study, lake, limit)
    Plan(loaded, target).check_inputs()
    with leased(target, "run", loaded.name), record_run(loaded, target, "run") as counts:
        for name, step in STEPS.items():
            started = time.monotonic()
            written, found = step(study, lake, limit)
            counts[name] = (written, found, time.monotonic() - started)
            if name == "explain":
                target.refresh()
                require_imported(Plan(loaded, target))
        return report(study, lake, limit)
