"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

STUDIES = "demo, paper, paper-attack, published, or a study file (TOML)."

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
WeightsOption = Annotated[
    str | None, typer.Option(help="The .h5 of a Keras 2 .json, where it is not beside it.")
]
