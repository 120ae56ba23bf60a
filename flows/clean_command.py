"""The command `clean`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from flows.errors import UserError
from flows.options import STUDIES, LakeOption

if TYPE_CHECKING:
    from flows.clean import Findings

EXAMPLES = (
    "Example: relevance-lake clean --lake big --dry-run\n\n"
    "Example: relevance-lake clean my-study.toml --lake big --forget old-study --yes"
)
NAMED = 10
"""Foreign files that are named one by one."""


def clean(
    studies: Annotated[
        list[str] | None,
        typer.Argument(help=f"Studies that count besides those of the lake: {STUDIES}", metavar="[STUDY]..."),
    ] = None,
    lake: LakeOption = "./lake",
    forget: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A study of the lake that counts no more; may be given again."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Delete the files of a lake that no study refers to, after showing them.

    The lake knows the studies that have run in it, each as it last ran: a method or attack that a study has
    no more goes, and what was made with other parameters than now. More images than a study asks for stay,
    and so does what a study has made that the lake does not know. No dataset or model need be at hand.

    Files that are none of the lake's are named and stay. Half-written files of dead runs go, too.
    """
    from flows.clean import delete, look
    from flows.lake import Lake
    from flows.progress import progress_display, track
    from flows.runs import record_run
    from flows.study import load_study
    from flows.whole_files import leftovers

    target, given = Lake(lake), [load_study(name) for name in studies or []]
    target.must_exist()
    if dry_run:
        _show(target.url, look(target, given, forget or []))
        if target.is_local and (half := list(leftovers(target.root))):
            print(f"{len(half)} half-written files of dead runs, such as {half[0]}")
        return
    with record_run(None, target, "clean"):
        found = look(target, given, forget or [])
        _show(target.url, found)
        if not found.superfluous:
            return
        if not yes and not sys.stdin.isatty():
            raise UserError("nothing is deleted without an answer: give --yes, or --dry-run to only look")
        if not yes and not typer.confirm("Delete these files?"):
            print("nothing is deleted")
            return
        files = len(found.superfluous)
        with progress_display(), track("deleting", files, "files") as advance:
            for one in delete(target, found.superfluous):
                advance(1, one.table)
    print(f"{files} files deleted")


def _show(url: str, found: Findings) -> None:
    """What is superfluous, by table and id, and what stays though no study asks for it."""
    print(f"studies that count: {', '.join(found.studies)}")
    table = Table("table", "what", "why", "files", "rows", "MB", title=f"superfluous in {url}")
    groups: dict[tuple[str, str, str], list[int]] = {}
    for one in found.superfluous:
        sums = groups.setdefault((one.table, one.identity, one.why), [0, 0, 0])
        for place, more in enumerate((1, one.rows, one.size)):
            sums[place] += more
    for (name, identity, why), (files, rows, size) in sorted(groups.items()):
        table.add_row(name, identity, why, f"{files:,}", f"{rows:,}" if rows else "", f"{size / 1e6:.1f}")
    if groups:
        files, rows, size = (sum(sums) for sums in zip(*groups.values(), strict=True))
        table.add_section()
        table.add_row("together", "", "", f"{files:,}", f"{rows:,}", f"{size / 1e6:.1f}")
        Console().print(table)
    else:
        print(f"{url}: every file is of a study, nothing is to be deleted")
    for study, files in sorted(found.unknown.items()):
        print(
            f"kept: {files:,} files of study {study or 'without a name'}, which has no run in this lake: "
            f"--forget {study or 'NAME'} lets them go"
        )
    for path in found.faulty:
        print(f"kept: {path} is faulty, as `relevance-lake check --lake {url}` tells")
    for path in found.foreign[:NAMED]:
        print(f"kept: {path} is no file of the lake")
    if len(found.foreign) > NAMED:
        print(f"kept: {len(found.foreign) - NAMED} more files that are none of the lake's")
