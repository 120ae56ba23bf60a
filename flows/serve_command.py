"""`relevance-lake serve`: studies on a schedule, without work pool and worker."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from flows.errors import UserError
from flows.options import STUDIES, LakeOption, LimitOption
from flows.steps import prefect_flows

EXAMPLES = (
    'Example: relevance-lake serve demo --cron "0 2 * * *" --lake ./lake\n\n'
    'Example: relevance-lake serve demo my-study.toml --cron "30 1 * * 1-5"'
)


def serve(
    studies: Annotated[
        list[str] | None, typer.Argument(help=STUDIES, metavar="[STUDY]...", show_default="demo")
    ] = None,
    cron: Annotated[
        str, typer.Option(help="When to run, in UTC: minute hour day month weekday.")
    ] = "0 2 * * *",
    lake: LakeOption = "./lake",
    limit: LimitOption = None,
) -> None:
    """Run studies on a schedule, on a Prefect server, until interrupted.

    Each becomes a deployment pipeline/STUDY, to be run at any time, too:
    prefect deployment run pipeline/demo

    Their runs wait for each other, since they write to one lake. A run that finds everything in the lake
    computes nothing.
    """
    from cronsim import CronSim, CronSimError

    from flows.plan import opened

    chosen = {opened(study, lake, limit)[0].name: study for study in studies or ["demo"]}
    target = opened((studies or ["demo"])[0], lake)[1]
    if len(chosen) < len(studies or ["demo"]):
        raise UserError("two of the studies have the same name: a name stands for one study in a lake")
    if not os.environ.get("PREFECT_API_URL"):
        raise UserError(
            "no Prefect server: start one with `prefect server start`, then set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api for this command"
        )
    try:
        CronSim(cron, datetime.now(UTC))
    except CronSimError as error:
        raise UserError(
            f'cron {cron!r} is no schedule ({error}): give minute hour day month weekday, as "0 2 * * *"'
        ) from None
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "INFO")
    where = str(Path(target.root).resolve()) if target.is_local else target.url
    print(f"{', '.join(chosen)} at {cron!r} into {where}; stop with Ctrl-C")
    flows = prefect_flows()
    import prefect
    from prefect.types.entrypoint import EntrypointType

    deployments = [
        flows.pipeline.to_deployment(
            name=name,
            cron=cron,
            parameters={
                "study": str(Path(study).resolve()) if study.endswith(".toml") else study,
                "lake": where,
                "limit": limit,
            },
            tags=["relevance-lake", name],
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        for name, study in chosen.items()
    ]
    prefect.serve(*deployments, limit=1)
