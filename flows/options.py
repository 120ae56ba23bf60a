"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cluster import Runner

STUDIES = "demo, paper, paper-canonical, paper-controls, paper-attack, published, or a study file (TOML)."

StudyArgument = Annotated[str, typer.Argument(help=STUDIES, metavar="[STUDY]")]
LakeOption = Annotated[
    str,
    typer.Option(
        "--lake",
        envvar="RELEVANCE_LAKE",
        help="Folder of the lake, or bucket: s3://bucket/prefix, with the usual AWS_ variables.",
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option(min=1, help="Only the first N correctly classified images, by image_id."),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Make what the study wants of this step anew, in its place.")
]
RunnerOption = Annotated[
    Runner,
    typer.Option(
        help="Where the work is done: threads, in this process; dask, on workers that share it "
        "(pip install 'relevance-lake\\[dask]'), without --dask-scheduler one for every core of this "
        "machine.",
        rich_help_panel="Cluster",
    ),
]
DaskSchedulerOption = Annotated[
    str | None,
    typer.Option(
        help="With --runner dask: the scheduler that has the workers, as tcp://host:8786. They see the lake "
        "and the model under the same names as this machine.",
        metavar="URL",
        rich_help_panel="Cluster",
    ),
]
WeightsOption = Annotated[
    str | None, typer.Option(help="The .h5 of a Keras 2 .json, where it is not beside it.")
]
