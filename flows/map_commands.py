"""Commands that make or bring relevance maps: `explain`, of a study or of one image, and `import-maps`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from flows.errors import UserError
from flows.options import STUDIES, DaskSchedulerOption, ForceOption, LakeOption, LimitOption, RunnerOption
from flows.steps import run_step

OneImage = partial(typer.Option, rich_help_panel="One image")

EXPLAIN_EXAMPLES = (
    "Example: relevance-lake explain demo\n\n"
    "Example: relevance-lake explain demo --force\n\n"
    "Example: relevance-lake explain --image cat.png --method lrp-epsilon-0.1 --method gradient"
)
IMPORT_EXAMPLES = (
    "Example: relevance-lake import-maps maps.parquet --study my-study.toml --method imported-captum-ig "
    "--subject lbfgs\n\n"
    "Example: relevance-lake import-maps maps.npy --image-ids ids.npy --study my-study.toml "
    "--method imported-shap"
)


def explain(
    study: Annotated[
        str | None,
        typer.Argument(help=STUDIES, show_default="demo"),
    ] = None,
    lake: LakeOption = "./lake",
    limit: LimitOption = None,
    force: ForceOption = False,
    runner: RunnerOption = "threads",
    dask_scheduler: DaskSchedulerOption = None,
    image: Annotated[Path | None, OneImage(help="A PNG or JPEG file: explain it alone.")] = None,
    model: Annotated[
        str | None,
        OneImage(
            help="A .keras file, a Keras 2 .json (its .h5 beside it) or .h5, or shipped.",
            show_default="shipped",
        ),
    ] = None,
    weights: Annotated[
        str | None, OneImage(help="The .h5 of a Keras 2 .json, where it is not beside it.")
    ] = None,
    method: Annotated[
        list[str] | None,
        OneImage(help="A method; may be given again.", show_default="the paper's seven rules"),
    ] = None,
    class_: Annotated[
        str | None,
        OneImage("--class", help="The class to explain.", show_default="what the network sees"),
    ] = None,
    output: Annotated[
        str | None, OneImage(help="Start of the files' names.", show_default="the image's name and -maps")
    ] = None,
) -> None:
    """Make the relevance maps of a study, or of one image: a table, a picture, and the maps themselves."""
    if image is None:
        given = {"--model": model, "--weights": weights}
        given |= {"--method": method, "--class": class_, "--output": output}
        if named := [name for name, value in given.items() if value]:
            raise UserError(f"{', '.join(named)} goes with --image: a study's file says what is made")
        return run_step("explain", study or "demo", lake, limit, force, runner, dask_scheduler)
    if study is not None:
        raise UserError(f"give a study ({study}) or --image, not both")
    prefix = output or f"{image.stem}-maps"
    Path(prefix).parent.mkdir(parents=True, exist_ok=True)
    from compute.methods import PAPER_RULES
    from flows import first_try

    with Console(stderr=True).status(f"explaining {image}"):
        result = first_try.explain_image(image, model or "shipped", weights, method or PAPER_RULES, class_)
    for sentence in first_try.sentences(result):
        print(sentence)
    Console().print(first_try.table(result))
    print("saved:", *first_try.save(result, prefix))


def import_maps(
    file: Annotated[
        Path,
        typer.Argument(
            help="Maps as .parquet (columns image_id, relevance as list of floats; target for adversarial "
            "examples; explained_class, start), as .npz of the same names, or as .npy of shape "
            "(n, components) or (n, height, width, channels)."
        ),
    ],
    method: Annotated[str, typer.Option(help="imported-NAME, as the study lists it among its methods.")],
    study: Annotated[str, typer.Option(help="The study that the maps are of.")],
    lake: LakeOption = "./lake",
    limit: LimitOption = None,
    subject: Annotated[
        str, typer.Option(help="Whose maps: original, or an attack of the study.")
    ] = "original",
    image_ids: Annotated[Path | None, typer.Option(help="Beside a .npy file: image ids, as .npy.")] = None,
    targets: Annotated[Path | None, typer.Option(help="Beside a .npy file: targets, as .npy.")] = None,
    classes: Annotated[
        Path | None, typer.Option(help="Beside a .npy file: classes explained, as .npy.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="What the maps are, kept in the table methods.")] = None,
) -> None:
    """Bring relevance maps that were computed elsewhere into a lake, as a method of a study.

    Originals are explained for their label, adversarial examples for their target.

    Maps are checked, then scaled and ranked as our own.

    All maps of a target within a thousand image ids come in one file.
    """
    from flows.import_maps import import_maps as bring
    from flows.plan import opened
    from flows.progress import progress_display

    loaded, target = opened(study, lake, limit)
    beside = {"image_id": image_ids, "target": targets, "explained_class": classes}
    with progress_display():
        written, found = bring(loaded, target, file, method, subject, note, **beside)
    print(f"import-maps: {written} files written, {found} found current")
