"""The command line. What does not compute starts without TensorFlow and without Prefect."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from flows import (
    check_command,
    clean_command,
    export_command,
    map_commands,
    report_command,
    serve_command,
    sql_command,
    status_command,
)
from flows.cluster import require_cluster
from flows.errors import UserError
from flows.options import (
    DaskSchedulerOption,
    ForceOption,
    LakeOption,
    LimitOption,
    RunnerOption,
    StudyArgument,
    WeightsOption,
)
from flows.steps import prefect_flows, run_step, working
from flows.storage_faults import FULL, PASSING

app = typer.Typer(
    name="relevance-lake",
    help="Does a saliency map explain the decision, or just redraw the picture?\n\n"
    "Makes adversarial examples of images, relevance maps of both, keeps them in a lake of Parquet "
    "files, and compares them in SQL.\n\nStart with: relevance-lake run demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
out = Console()


class Format(StrEnum):
    """How a listing is printed."""

    table = "table"
    csv = "csv"
    json = "json"


def main() -> None:
    """Entry point: mendable errors are one message and exit code 2, without a traceback."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_warn, warnings.showwarning)
            app()
    except KeyboardInterrupt:
        Console(stderr=True).print(
            "interrupted: what is written is whole, the same command goes on from there"
        )
        sys.exit(130)
    except MemoryError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"error: not enough memory ({error}): lower `batch_size` in the study file, or end other "
            "programs. What is written is whole, the same command goes on from there",
            style="bold red", markup=False, highlight=False,
        )  # fmt: skip
        sys.exit(2)
    except Exception as error:
        if not _is_mendable(error):
            raise
        Console(stderr=True, soft_wrap=True).print(
            f"error: {error}", style="bold red", markup=False, highlight=False
        )
        sys.exit(2)


def _warn(otherwise: Callable[..., None], message: Warning, kind: type[Warning], *where: Any) -> None:
    """A warning of our own is one line, without the place in the code."""
    if _is_ours(kind):
        Console(stderr=True, soft_wrap=True).print(f"warning: {message}", markup=False, highlight=False)
    else:
        otherwise(message, kind, *where)


def _is_mendable(error: Exception) -> bool:
    """Whether a person can mend it: the rooms' own error types say what to do, a file's error says where."""
    return _is_ours(type(error)) or (
        isinstance(error, OSError) and (error.filename is not None or error.errno in FULL | PASSING)
    )


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in ("flows", "compute", "sql", "reports")


def _version(show: bool) -> None:
    if show:
        from importlib.metadata import version

        print(f"relevance-lake {version('relevance-lake')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command(
    epilog="Example: relevance-lake run paper --lake big --limit 100\n\n"
    "Example: relevance-lake run paper --lake /shared/lake --runner dask --dask-scheduler tcp://host:8786"
)
def run(
    study: StudyArgument = "demo",
    lake: LakeOption = "./lake",
    limit: LimitOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be made.")] = False,
    runner: RunnerOption = "threads",
    dask_scheduler: DaskSchedulerOption = None,
) -> None:
    """Run a study: images, attacks, relevance maps, analyses, report."""
    from flows.lease import leased
    from flows.plan import Plan, opened
    from flows.summary import dry_run_table, summary_table
    from flows.wanted import to_import

    started = time.monotonic()
    require_cluster(runner, dask_scheduler)
    loaded, target = opened(study, lake, limit)
    plan = Plan(loaded, target)
    plan.check_inputs()
    if dry_run:
        out.print(dry_run_table(plan))
        for sentence in to_import(plan):
            print(sentence)
        return
    if plan.is_complete():
        from flows.analyse import analyse
        from flows.check import require_sound
        from flows.counts import Counts
        from flows.progress import progress_display
        from flows.report import report
        from flows.runs import record_run

        out.print("Every partition is in the lake: nothing to compute.")
        with progress_display(), record_run(loaded, target, "run") as step:
            require_sound(loaded, target)
            target.written += analyse(loaded, target)
            path = report(loaded, target)
            step.add(target.counts + Counts(found=sum(1 for _ in plan.known())))
    else:
        with (
            leased(target, "run", loaded.name),
            working(f"Study {loaded.name}, lake {target.url}: starting Prefect"),
        ):
            path = prefect_flows().pipeline(
                study=study, lake=lake, limit=limit, runner=runner, dask_scheduler=dask_scheduler
            )
        target.refresh()
    out.print(summary_table(loaded, target))
    link = report_command.file_link(path)
    out.print(f"{time.monotonic() - started:.0f} s. Report: {link}", highlight=False, soft_wrap=True)


def _step(name: str, text: str, example: str) -> None:
    """A command that runs one step's flow."""

    def here(
        study: StudyArgument = "demo",
        lake: LakeOption = "./lake",
        limit: LimitOption = None,
        force: ForceOption = False,
    ) -> None:
        run_step(name, study, lake, limit, force)

    def anywhere(
        study: StudyArgument = "demo",
        lake: LakeOption = "./lake",
        limit: LimitOption = None,
        force: ForceOption = False,
        runner: RunnerOption = "threads",
        dask_scheduler: DaskSchedulerOption = None,
    ) -> None:
        run_step(name, study, lake, limit, force, runner, dask_scheduler)

    command = anywhere if name in ("attack", "analyse") else here
    app.command(name, help=text, epilog=f"Example: {example}")(command)


_step("ingest", "Read the dataset and let the classifier predict it.", "relevance-lake ingest demo")
_step(
    "attack",
    "Make adversarial examples.\n\n"
    "Every correctly classified image is attacked towards every other class; by an untargeted attack once. "
    "Which attacks, and their parameters, stand in the study file, under \\[\\[attacks]] "
    "(`relevance-lake init` writes one with all of them). "
    "An attack that fails leaves a row that says why. "
    "What is in the lake is not attacked again: a study that was interrupted goes on where it stopped.",
    "relevance-lake attack paper --limit 100",
)
app.command("explain", epilog=map_commands.EXPLAIN_EXAMPLES)(map_commands.explain)
app.command("import-maps", epilog=map_commands.IMPORT_EXAMPLES)(map_commands.import_maps)
_step("analyse", "Run the SQL analyses and keep their results.", "relevance-lake analyse demo")


app.command("check", epilog=check_command.EXAMPLES)(check_command.check)


app.command("clean", epilog=clean_command.EXAMPLES)(clean_command.clean)
app.command("export", epilog=export_command.EXAMPLES)(export_command.export)


app.command(epilog=report_command.EXAMPLE)(report_command.report)


@app.command(epilog="Example: relevance-lake train --dataset ./cifar10 --output my-network.keras")
def train(
    output: Annotated[str, typer.Option(help="Where the .keras file goes; a model card stands beside it.")],
    dataset: Annotated[
        str, typer.Option(help="cifar10 (downloaded) or a folder of its Parquet files, train and test.")
    ] = "cifar10",
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs; default: the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images in a step.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
) -> None:
    """Train the classifier from scratch; interrupted training goes on from its last whole epoch."""
    from compute.datasets import guess_source
    from compute.training import Recipe

    given = {"epochs": epochs, "batch_size": batch_size, "seed": seed}
    recipe = Recipe(**{name: value for name, value in given.items() if value is not None})
    source, path = guess_source(dataset)
    if source != "cifar10":
        raise UserError(
            f"{dataset} has no train and test split: give cifar10 or a folder of its Parquet files"
        )
    with working(f"training on {dataset}: {recipe.epochs} epochs"):
        card = prefect_flows().train(source, path, output, recipe.as_dict())
    accuracy = card["accuracy"]
    print(f"train {accuracy['train']:.4f}, held out {accuracy['held_out']:.4f}, test {accuracy['test']:.4f}")
    print(f"model: {output}")


@app.command(epilog="Example: relevance-lake evaluate --dataset ./cifar10 --model my-network.keras")
def evaluate(
    dataset: Annotated[str, typer.Option(help="cifar10-samples, cifar10, or a folder.")] = "cifar10-samples",
    model: Annotated[
        str, typer.Option(help="A .keras file, a Keras 2 .json (its .h5 beside it) or .h5, or shipped.")
    ] = "shipped",
    weights: WeightsOption = None,
    split: Annotated[str, typer.Option(help="train or test.")] = "test",
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 250,
) -> None:
    """Print the accuracy of a classifier on a dataset."""
    import numpy as np

    from compute.classifier import model_files
    from compute.datasets import guess_source, load_dataset
    from flows import networks
    from flows.progress import progress_display, track

    model_files(model, weights)
    data = load_dataset(*guess_source(dataset), split)
    with progress_display(), track("predictions", len(data.labels), "images") as advance:
        network = networks.load(model, data.pixels.shape[1:], len(data.classes), weights)
        logits = network.logits(data.pixels.astype(np.float32) / 255, batch_size, advance)
    predicted = logits.argmax(axis=1)
    correct, total = int((predicted == data.labels).sum()), len(predicted)
    where = f"{dataset} ({data.split})" if data.split else dataset
    print(f"{model} on {where}: accuracy {correct / total:.4f} ({correct} of {total})")


@app.command(
    "import",
    epilog="Example: relevance-lake import --model net.json --images ./examples --dataset ./cifar10",
)
def import_(
    model: Annotated[str, typer.Option(help="A .keras file, a Keras 2 .json (its .h5 beside it) or .h5.")],
    images: Annotated[
        str, typer.Option(help="Folder with files target_<t>/img_<image id>_t<t>.png anywhere below it.")
    ],
    dataset: Annotated[str, typer.Option(help="The images that they were made from: cifar10, or a folder.")],
    weights: WeightsOption = None,
    split: Annotated[str, typer.Option(help="train or test.")] = "test",
    name: Annotated[
        str, typer.Option(help="Name of study and attack; the file is <name>.toml.")
    ] = "published",
    lake: LakeOption = "./lake",
) -> None:
    """Bring a network and adversarial examples of others into a lake, and write a study of them."""
    from flows.imports import Artefacts, import_artefacts, reached
    from flows.lake import Lake
    from flows.progress import progress_display

    file = Path(f"{name}.toml")
    with progress_display():
        study = import_artefacts(name, Artefacts(model, weights, images, dataset, split), lake, file)
    originals, examples, successes = reached(study, Lake(lake))
    print(f"{originals:,} images, {examples:,} examples; the network takes {successes:,} for their target")
    print(f"{file} written. Next: relevance-lake run {file} --lake {lake}")


app.command("sql", epilog=sql_command.EXAMPLES)(sql_command.sql)
app.command("catalog", epilog=sql_command.CATALOG_EXAMPLES)(sql_command.catalog)


app.command("status", epilog=status_command.STATUS_EXAMPLES)(status_command.status)
app.command("log", epilog=status_command.LOG_EXAMPLES)(status_command.log)


@app.command(epilog="Example: relevance-lake init my-study.toml")
def init(
    path: Annotated[str, typer.Argument(help="The file to write.")] = "study.toml",
) -> None:
    """Write a commented study file to start from."""
    from flows.study import built_in_text, slug

    target = Path(path)
    if target.exists():
        raise UserError(f"{target} is already there: give another name, or delete it")
    text = built_in_text("demo").replace('name = "demo"', f'name = "{slug(target.stem)}"')
    target.write_text(text)
    print(f"{target} written. Edit it, then: relevance-lake run {target}")


@app.command(epilog="Example: relevance-lake schema relevance")
def schema(
    table: Annotated[str | None, typer.Argument(help="Only this table.")] = None,
    format: Annotated[Format, typer.Option(help="How it is printed.")] = Format.table,
) -> None:
    """Print the data dictionary: table, column, type, unit, meaning."""
    from sql.catalog import data_dictionary

    rows = data_dictionary().to_dicts()
    names = sorted({row["table"] for row in rows})
    if table and table not in names:
        raise UserError(f"no table {table!r}: there are {', '.join(names)}")
    rows = [row for row in rows if table in (None, row["table"])]
    if format is Format.json:
        print(json.dumps(rows, indent=1))
        return
    if format is Format.csv:
        import polars as pl

        print(pl.DataFrame(rows).write_csv(), end="")
        return
    printed = Table("table", "column", "type", "unit", "meaning")
    for row in rows:
        printed.add_row(*(str(row[name]) for name in ("table", "column", "type", "unit", "meaning")))
    out.print(printed)


app.command("serve", epilog=serve_command.EXAMPLES)(serve_command.serve)


if __name__ == "__main__":
    main()
