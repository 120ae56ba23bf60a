"""The command `export`."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.options import LakeOption, LimitOption, StudyArgument

EXAMPLES = (
    "Example: relevance-lake export paper-canonical --lake big --output shared --limit 100 --method lrp-0 "
    "--method lrp-alpha1-beta0\n\n"
    "Example: relevance-lake export my-study.toml --lake big --output shared --target 3"
)


def export(
    study: StudyArgument = "demo",
    lake: LakeOption = "./lake",
    output: Annotated[str, typer.Option(help="Folder or bucket of the new lake.")] = "./shared",
    limit: LimitOption = None,
    method: Annotated[list[str] | None, typer.Option(help="Only this method; may be given again.")] = None,
    attack: Annotated[
        list[str] | None, typer.Option(help="Only this attack, with its controls; may be given again.")
    ] = None,
    target: Annotated[
        list[int] | None, typer.Option(help="Only pairs that aim at this class; may be given again.")
    ] = None,
) -> None:
    """Write a part of a lake as a lake of its own, to share.

    It holds what a study wants, or what --limit, --method, --attack and --target leave of it: partitions,
    the rows that say what their ids mean, and results of the part. `sql`, `check` and `report` work there,
    and a run of the study goes on from it. What is there already is not copied again.
    """
    from flows.export import export as write
    from flows.export import narrowed
    from flows.lake import Lake
    from flows.plan import opened
    from flows.progress import progress_display

    loaded, source = opened(study, lake)
    source.must_exist()
    part = narrowed(loaded, method or (), attack or (), limit)
    with progress_display():
        written, found = write(part, source, Lake(output), target or ())
    print(f"export: {written} files written to {output}, {found} found current")
    print(f'Next: relevance-lake sql "from study_overview" --lake {output}; with the study file also')
    print(f"      relevance-lake report {study} --lake {output}")
