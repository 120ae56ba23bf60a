"""The commands `sql` (one query, or a prompt) and `catalog` (a database file for other programs)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from flows.answer_files import Format, format_of, whole_file, write
from flows.errors import UserError
from flows.options import LakeOption

if TYPE_CHECKING:
    from sql.answer import Watch
    from sql.catalog import LakeDatabase, Scope

Narrow = partial(typer.Option, rich_help_panel="Only a part of the lake, for tables and analyses alike")

EXAMPLES = (
    'Example: relevance-lake sql "select method, count(*) from relevance group by all"\n\n'
    "Example: relevance-lake sql --method lrp-0 --target 3 'from topk_overlap'\n\n"
    "Example: relevance-lake sql --file question.sql --output answer.parquet\n\n"
    "Example: relevance-lake sql"
)

CATALOG_EXAMPLES = (
    "Example: relevance-lake catalog --lake ./lake\n\n"
    "Example: relevance-lake catalog --lake s3://bucket/lake --output lake.duckdb"
)


def sql(
    query: Annotated[
        str | None,
        typer.Argument(
            help="One SELECT statement in DuckDB's SQL; - reads standard input.",
            show_default="a prompt; where there is no terminal, standard input",
        ),
    ] = None,
    lake: LakeOption = "./lake",
    file: Annotated[Path | None, typer.Option(help="Read the query from a file.")] = None,
    format: Annotated[
        Format | None,
        typer.Option(help="How the answer is given.", show_default="table, or as the name of --output says"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write all rows to a .csv, .json or .parquet file.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="A table shows at most so many rows.")] = 100,
    memory_limit: Annotated[
        str, typer.Option(help="Memory of a query; what needs more spills to disk (TMPDIR), or says so.")
    ] = "1GB",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads.", show_default="all cores")] = None,
    dataset: Annotated[str | None, Narrow(help="One dataset.")] = None,
    model: Annotated[str | None, Narrow(help="One model.")] = None,
    method: Annotated[list[str] | None, Narrow(help="A method; may be given again.")] = None,
    attack: Annotated[list[str] | None, Narrow(help="An attack; may be given again.")] = None,
    label: Annotated[list[int] | None, Narrow(help="A true class, by number; may be given again.")] = None,
    target: Annotated[list[int] | None, Narrow(help="A class aimed at; may be given again.")] = None,
) -> None:
    """Ask the lake anything, in SQL. See `relevance-lake schema` for tables and columns.

    The lake is only read. Without a query a prompt opens, with history and completion.
    """
    from sql.catalog import Scope

    asked = _query(query, file)
    kind = format or (format_of(output) if output else Format.table)
    if output and asked is None:
        raise UserError("--output goes with a query: give one, or --file, or - for standard input")
    if output and kind is Format.table:
        raise UserError(f"{output}: a table is for the terminal; give --format csv, json or parquet")
    if kind is Format.parquet and not output:
        raise UserError("--format parquet needs --output FILE")
    scope = Scope(
        dataset,
        model,
        attacks=tuple(attack) if attack else None,
        methods=tuple(method) if method else None,
        labels=tuple(label) if label else None,
        targets=tuple(target) if target else None,
    )
    with _opened(lake, scope, memory_limit, threads) as database:
        if asked is None:
            from flows.prompt import Prompt

            Prompt(database, partial(answer, database, format=kind, rows=rows)).run()
        elif output:
            written = save(database, asked, kind, output)
            Console(stderr=True).print(f"{output}: {written:,} rows", highlight=False)
        else:
            answer(database, asked, format=kind, rows=rows)


def catalog(
    lake: LakeOption = "./lake",
    output: Annotated[
        str | None,
        typer.Option(
            help="Where the file goes; of a lake in a bucket it must be said.",
            show_default="catalog.duckdb in the lake's folder",
        ),
    ] = None,
) -> None:
    """Write a DuckDB database file of the lake's views, for the DuckDB command line, DBeaver or Python.

    It holds tables, views, analyses, macros and stored results, and what each column means.

    It holds no rows: it reads the lake where it lies. Write it anew when the lake was moved or has grown.

    DuckDB 2 answers everything; earlier versions open the file, but cannot read ranks.

    A bucket is read by DuckDB's own client (httpfs), with the credentials that DuckDB is given.
    """
    from sql.database import write_catalog

    print(f"{write_catalog(lake, output)} written. Open it with: duckdb -readonly FILE")
    if lake.startswith(("s3://", "s3a://")):
        print("and there: install httpfs; load httpfs; create secret (type s3, provider credential_chain);")


def _query(query: str | None, file: Path | None) -> str | None:
    """The query, from wherever it is to come; None where it is to be asked for."""
    if query is not None and file is not None:
        raise UserError("give a query or --file, not both")
    if file is not None:
        try:
            return file.read_text("utf-8")
        except UnicodeDecodeError:
            raise UserError(f"{file} is not UTF-8 text") from None
    if query == "-" or (query is None and not sys.stdin.isatty()):
        return sys.stdin.read()
    return query


@contextmanager
def _opened(lake: str, scope: Scope, memory_limit: str, threads: int | None) -> Iterator[LakeDatabase]:
    """The lake, narrowed to a scope of ids that it has."""
    from flows.partials import keep_current
    from sql.catalog import open_lake

    asked = {
        "dataset": [scope.dataset] if scope.dataset else [],
        "model": [scope.model] if scope.model else [],
        "attack": scope.attacks or (),
        "method": scope.methods or (),
    }
    with open_lake(lake, scope=scope, memory_limit=memory_limit, threads=threads) as database:
        for name, ids in asked.items():
            unknown = set(ids) - set(_ids(database, name))
            if unknown:
                database.narrow(None)
                known = ", ".join(_ids(database, name))
                raise UserError(
                    f"--{name} {min(unknown)}: the lake {database.url} has only {known or 'none'}"
                )
        if scope.labels is None and scope.targets is None:
            keep_current(database, scope)
        yield database


def _ids(database: LakeDatabase, name: str) -> list[str]:
    return database.arrow(f"select {name} from {name}s order by all").column(0).to_pylist()


def answer(database: LakeDatabase, query: str, *, format: Format, rows: int) -> None:
    """Print the answer of `query` on standard output."""
    started = monotonic()
    if format is Format.table:
        from flows.answer_table import tabled

        console = Console(width=None if sys.stdout.isatty() else 100_000)
        with _watched() as watch, database.stream(query, watch=watch) as found:
            table, said = tabled(found, rows, console.width)
        console.print(table)
        console.print(f"{said}, {monotonic() - started:.2f} s", style="dim", highlight=False)
        return
    sys.stdout.flush()
    try:
        with _watched(not sys.stdout.isatty()) as watch, database.stream(query, watch=watch) as found:
            write(found, format, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # whoever reads has enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def save(database: LakeDatabase, query: str, format: Format, path: Path) -> int:
    """Write the answer of `query` to a file; returns how many rows it has."""
    with _watched() as watch, database.stream(query, watch=watch) as found, whole_file(path) as file:
        return write(found, format, file)


@contextmanager
def _watched(shown: bool = True) -> Iterator[Watch]:
    """A bar on standard error for a query that takes long, on a terminal; gone when its answer is there."""
    columns = (SpinnerColumn(), TextColumn("query"), BarColumn(24), TaskProgressColumn(), TimeElapsedColumn())
    silent = not (shown and sys.stderr.isatty())
    with Progress(*columns, console=Console(stderr=True), disable=silent, transient=True) as display:
        task = display.add_task("query", total=None, visible=False)
        yield lambda share: display.update(task, visible=True, total=share and 1.0, completed=share or 0)
