"""The Prefect flows: each step of a study, and the pipeline that runs them one after the other.

Flows and tasks pass keys (study, lake, shard), never arrays. Nothing is cached by Prefect: the lake
itself says what is there, so a task that is run again finds its partitions and makes nothing twice.
Annotations are evaluated here: Prefect reads them where it runs a deployment.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import as_completed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from flows import analyse as analysing
from flows import artifacts
from flows import attack as attacking
from flows import check as checking
from flows import explain as explaining
from flows import ingest as ingesting
from flows import report as reporting
from flows.cluster import Runner, cluster
from flows.counts import Counts, Step
from flows.lake import Lake
from flows.partials import Unit
from flows.pieces import Task, balanced
from flows.places import Place, placed
from flows.plan import Plan, opened
from flows.progress import track
from flows.run_log import note, steps_of
from flows.runs import record_run
from flows.storage_faults import RETRIED
from flows.study import BUILT_IN, SentStudy
from flows.wanted import require_imported

StudyName = Annotated[
    str,
    Field(
        description=f"{', '.join(BUILT_IN)}, or the path of a study file (TOML)",
        examples=["demo", "/studies/my-study.toml"],
    ),
]
LakeUrl = Annotated[
    str,
    Field(
        description="folder of the lake, made where it is missing, or a bucket: s3://bucket/lake",
        examples=["/data/lake"],
    ),
]
Limit = Annotated[
    int | None,
    Field(
        description="only the first N correctly classified images; empty: the study's own limit",
        ge=1,
    ),
]

Force = Annotated[bool, Field(description="make what is there anew, in its place")]
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


def described(function: Callable[..., Any]) -> Callable[..., Any]:
    """Put what annotations say of parameters into the docstring: Prefect's form has it from there alone."""
    lines = [
        f"    {name}: {said.description}"
        for name, parameter in inspect.signature(function).parameters.items()
        for said in getattr(parameter.annotation, "__metadata__", ())
    ]
    function.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Args:", *lines])
    return function


one_at_a_time: Any = ThreadPoolTaskRunner(max_workers=1)
"""TensorFlow and DuckDB use all cores for one task."""


def _each(step: Step, study: str, place: Place, task: Any, units: Mapping[str, tuple[Any, ...]]) -> None:
    """Run a task for each unit of work, by its name. All are done before the error of one is raised."""
    if not units:
        return
    errors = []
    what = step.name if place.workers == 1 else f"{step.name} on {place.workers} workers"
    with (
        place.faults(step.name),
        artifacts.progress(study, step.name, len(units)) as show,
        track(what, len(units), "tasks") as advance,
    ):
        futures = place.submit(task, list(units.values()))
        names = dict(zip(futures, units, strict=True))
        for future in as_completed(futures):
            try:
                done = future.result()
            except Exception as error:
                errors.append(error)
                facts = {"state": "failed", "error": f"{type(error).__name__}: {error}"}
            else:
                step.add(done)
                facts = {"state": "done", **done.as_row()}
            note("unit", step=step.name, unit=names[future], **facts)
            advance(1, f"{step.counts.bytes / 1e6:,.0f} MB")
            show()
        if errors:
            raise errors[0]


def _named(tasks: Sequence[Task], place: Place, limit: int | None, force: bool) -> dict[str, tuple[Any, ...]]:
    """Arguments of tasks by a name of each."""
    units = {}
    for name, shard, targets in tasks:
        some = "" if targets is None else f", targets {', '.join(map(str, targets))}"
        units[f"{name}, shard {shard}{some}"] = (place.study, place.lake, limit, force, name, shard, targets)
    return units


@task(cache_policy=NO_CACHE, task_run_name="images of {study}", **RETRIED)
def ingest_dataset(study: str, lake: str, limit: int | None, force: bool) -> Counts:
    """Images and predictions of a study's dataset."""
    loaded, target = opened(study, lake, limit)
    count = ingesting.ingest_images(loaded, target, force)
    ingesting.predict(loaded, target, count, force)
    return target.counts


@task(cache_policy=NO_CACHE, task_run_name="{attack}, shard {shard}", **RETRIED)
def attack_shard(
    study: str | SentStudy,
    lake: str,
    limit: int | None,
    force: bool,
    attack: str,
    shard: int,
    targets: list[int | None] | None = None,
) -> Counts:
    """Adversarial examples of a shard of images, towards every target or these."""
    loaded, target = opened(study, lake, limit)
    attacking.attack_shard(loaded, target, attack, shard, targets, force)
    return target.counts


@task(cache_policy=NO_CACHE, task_run_name="maps of {subject}, shard {shard}", **RETRIED)
def explain_unit(
    study: str | SentStudy,
    lake: str,
    limit: int | None,
    force: bool,
    subject: str,
    shard: int,
    targets: list[int | None] | None = None,
) -> Counts:
    """Relevance maps of one subject and shard, all targets or these, by all methods."""
    loaded, target = opened(study, lake, limit)
    explaining.explain_unit(loaded, target, (subject, shard), targets, force)
    return target.counts


@task(cache_policy=NO_CACHE, task_run_name="partial results of {part}", **RETRIED)
def make_partials(lake: str, units: list[Unit], part: str) -> Counts:
    """Partial results of one shard, or those of one method in all shards."""
    target = Lake(lake)
    analysing.make_units(target, units)
    return replace(target.counts, written=len(units))


@task(cache_policy=NO_CACHE, task_run_name="results of {study}", **RETRIED)
def merge_partials(study: str, lake: str, limit: int | None) -> Counts:
    """Results of all analyses, from the partial results."""
    loaded, target = opened(study, lake, limit)
    written = analysing.merge(loaded, target)
    return replace(target.counts, written=written)


@task(cache_policy=NO_CACHE, task_run_name="check of {study}", **RETRIED)
def check_study(study: str, lake: str, limit: int | None) -> Counts:
    """Whether the study's part of the lake is sound; UserError where it is not."""
    loaded, target = opened(study, lake, limit)
    checking.require_sound(loaded, target)
    return target.counts


@task(cache_policy=NO_CACHE, task_run_name="page of {study}", **RETRIED)
def write_report(study: str, lake: str, limit: int | None) -> str:
    """The HTML report, from the results; its path."""
    return reporting.report(*opened(study, lake, limit))


@task(cache_policy=NO_CACHE, task_run_name="{output}")
def train_network(source: str, path: str | None, output: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """Train from the last checkpoint, or from scratch."""
    from compute.training import Recipe
    from flows.train import train_classifier

    return train_classifier(source, path, output, Recipe(**recipe))


@flow(name="ingest")
@described
def ingest(
    study: StudyName = "demo", lake: LakeUrl = "./lake", limit: Limit = None, force: Force = False
) -> Counts:
    """Read the dataset and let the classifier predict it."""
    with record_run(*opened(study, lake, limit), "ingest") as step:
        step.add(ingest_dataset(study, lake, limit, force))
    return step.counts


@flow(name="attack", task_runner=one_at_a_time)
@described
def attack(
    study: StudyName = "demo",
    lake: LakeUrl = "./lake",
    limit: Limit = None,
    force: Force = False,
    runner: RunnerName = "threads",
    dask_scheduler: DaskScheduler = None,
) -> Counts:
    """Make adversarial examples of the correctly classified images, towards every other class.

    Untargeted attacks are run once an image. Parameters stand in the study file; failures are rows; pairs
    that are in the lake are not attacked again.
    """
    loaded, target = opened(study, lake, limit)
    with (
        record_run(loaded, target, "attack") as step,
        placed(runner, dask_scheduler, study, lake) as place,
    ):
        stages = attacking.missing(loaded, target, force)
        step.add(target.counts)
        for stage in stages:
            tasks = balanced(stage, place.workers, loaded.batch_size)
            _each(step, loaded.name, place, attack_shard, _named(tasks, place, limit, force))
    return step.counts


@flow(name="explain", task_runner=one_at_a_time)
@described
def explain(
    study: StudyName = "demo",
    lake: LakeUrl = "./lake",
    limit: Limit = None,
    force: Force = False,
    runner: RunnerName = "threads",
    dask_scheduler: DaskScheduler = None,
) -> Counts:
    """Make relevance maps of originals and adversarial examples."""
    loaded, target = opened(study, lake, limit)
    with (
        record_run(loaded, target, "explain") as step,
        placed(runner, dask_scheduler, study, lake) as place,
    ):
        pieces = explaining.missing(loaded, target, force)
        step.add(target.counts)
        tasks = balanced(pieces, place.workers, loaded.batch_size)
        _each(step, loaded.name, place, explain_unit, _named(tasks, place, limit, force))
    return step.counts


@flow(name="check")
@described
def check(study: StudyName = "demo", lake: LakeUrl = "./lake", limit: Limit = None) -> Counts:
    """Check the study's part of the lake; what is wrong in it is an error that names it."""
    loaded, target = opened(study, lake, limit)
    with record_run(loaded, target, "check", alone=False) as step:
        step.add(check_study(study, lake, limit))
    return step.counts


@flow(name="analyse", task_runner=one_at_a_time)
@described
def analyse(
    study: StudyName = "demo",
    lake: LakeUrl = "./lake",
    limit: Limit = None,
    force: Force = False,
    runner: RunnerName = "threads",
    dask_scheduler: DaskScheduler = None,
) -> Counts:
    """Run the SQL analyses and keep their results.

    Counts of new or changed partitions come first, where the partition is; then the quantiles, which need
    the counts of all, and last what is summed up from both.
    """
    loaded, target = opened(study, lake, limit)
    with (
        record_run(loaded, target, "analyse") as step,
        placed(runner, dask_scheduler, study, lake) as place,
    ):
        if force:
            analysing.forget(loaded, target)
        for stage in analysing.stages(loaded, target):
            parts = analysing.parts(stage, place.workers)
            units = {part: (place.lake, found, part) for part, found in parts.items()}
            _each(step, loaded.name, place, make_partials, units)
        step.add(merge_partials(study, lake, limit))
    return step.counts


@flow(name="report")
@described
def report(study: StudyName = "demo", lake: LakeUrl = "./lake", limit: Limit = None) -> str:
    """Write the HTML report; its path."""
    loaded, target = opened(study, lake, limit)
    with record_run(loaded, target, "report", alone=False):
        path = write_report(study, lake, limit)
        artifacts.link_report(loaded, path)
    return path


@flow(name="train")
def train(source: str, path: str | None, output: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """Train the classifier and save it with its model card; the card."""
    return train_network(source, path, output, recipe)


MAKING: dict[str, Callable[..., Counts]] = {"ingest": ingest, "attack": attack, "explain": explain}
STEPS: dict[str, Callable[..., Counts]] = MAKING | {"check": check, "analyse": analyse}

ON_WORKERS = ("attack", "explain", "analyse")
"""Steps whose tasks a cluster takes; the others run in the process of the flow."""


@flow(name="pipeline")
@described
def pipeline(
    study: StudyName = "demo",
    lake: LakeUrl = "./lake",
    limit: Limit = None,
    runner: RunnerName = "threads",
    dask_scheduler: DaskScheduler = None,
) -> str:
    """Run a study from the images to the report; the report's path.

    What is in the lake is not made again: after an interruption a run goes on where it stopped. One that
    finds everything only looks whether checks, results and report are of what is there.
    """
    loaded, target = opened(study, lake, limit)
    plan = Plan(loaded, target)
    plan.check_inputs()
    with record_run(loaded, target, "run") as run, cluster(runner, dask_scheduler) as scheduler:
        where = {"runner": runner, "dask_scheduler": scheduler}
        if complete := plan.is_complete():
            run.add(Counts(found=sum(1 for _ in plan.known())))
        steps = {name: step for name, step in STEPS.items() if not (complete and name in MAKING)}
        with artifacts.progress(loaded.name, "run", len(steps) + 1) as advance:
            for name, step in steps.items():
                step(study, lake, limit, **(where if name in ON_WORKERS else {}))
                if name == "explain":
                    target.refresh()
                    require_imported(Plan(loaded, target))
                advance()
            path = report(study, lake, limit)
            advance()
        artifacts.show_outcome(loaded, Lake(lake), steps_of(target))
    return path
