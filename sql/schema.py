"""What every lake looks like in DuckDB, before any file is read: macros, empty tables, analyses over them."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Collection, Iterable
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

import duckdb

from sql import package
from sql.errors import LakeError
from sql.package import analyses
from sql.tables import TABLES, Table

if TYPE_CHECKING:
    import polars

DUCKDB_TYPES = {
    "string": "varchar",
    "bool": "boolean",
    "int32": "integer",
    "int64": "bigint",
    "uint8": "utinyint",
    "float32": "float",
    "float64": "double",
    "rank": "usmallint",
    "timestamp": "timestamp",
}


def data_dictionary() -> polars.DataFrame:
    """Every column of tables, partial results and analyses: table, column, type (DuckDB's), unit, meaning."""
    import polars

    from_tables = {c.name: c for table in reversed(TABLES.values()) for c in table.keys + table.columns}
    rows = []
    for table in TABLES.values():
        for column in table.keys + table.columns:
            rows.append((table.name, column.name, duckdb_type(column.type), column.unit, column.meaning))
    connection = connect()
    create_contract(connection)
    for name, analysis in (package.partials() | analyses()).items():
        for column, kind in view_columns(connection, name):
            unit, meaning = analysis.columns.get(column, ("", ""))
            if not meaning and column in from_tables:
                unit, meaning = from_tables[column].unit, from_tables[column].meaning
            rows.append((name, column, kind, unit, meaning))
    connection.close()
    return polars.DataFrame(rows, schema=["table", "column", "type", "unit", "meaning"], orient="row")


def view_columns(connection: duckdb.DuckDBPyConnection, view: str) -> list[tuple[str, str]]:
    """Names and types (DuckDB's) of a view's columns, without a look at the files that it reads."""
    return connection.execute(
        "select column_name, lower(data_type) from duckdb_columns() "
        "where table_name = ? order by column_index",
        [view],
    ).fetchall()


def connect(
    memory_limit: str | None = None, threads: int | None = None, reorder_joins: bool = True
) -> duckdb.DuckDBPyConnection:
    """An empty DuckDB in memory; see open_lake."""
    config: dict[str, Any] = {
        # A name in a user's SQL must not find a variable of the calling program.
        "python_enable_replacements": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": os.path.join(tempfile.gettempdir(), f"relevance-lake-{os.getpid()}"),
    }
    if memory_limit is not None:
        config["memory_limit"] = memory_limit
    if threads is not None:
        config["threads"] = threads
    if not reorder_joins:
        config["disabled_optimizers"] = "join_order,build_side_probe_side"
    try:
        return duckdb.connect(config=config)
    except duckdb.Error as error:
        limits = f"memory_limit={memory_limit!r}, threads={threads!r}"
        raise LakeError(f"DuckDB refuses {limits}: {error}") from None


def create_contract(connection: duckdb.DuckDBPyConnection, only: Collection[str] | None = None) -> None:
    """Create macros, empty tables as the contract has them, and every analysis over these.

    only: views that are wanted, with those that they read; without macros that are tables.

    DuckDB binds a view when it is created, with all that it reads. So that none is bound more than twice,
    each is bound over stand-ins: a view that others read is first an empty one with its columns, and is
    put in place after them. Over empty tables too, all are ready in a fraction of a second; `create or
    replace` then puts the files under them.
    """
    for script in package.macros():
        connection.execute(script)
    for table in TABLES.values():
        connection.execute(f"create view {quoted(table.name)} as {empty_table(table)}")
    _create_published_figures(connection)
    views = package.views(only)
    uses = {name: views.keys() & view.sources - {name} for name, view in views.items()}
    read = set().union(*uses.values())
    order = list(TopologicalSorter(uses).static_order())
    for name in order:
        if name in read:
            bound = connection.sql(views[name].sql)
            columns = zip(bound.columns, map(str, bound.types), strict=True)
            connection.execute(f"create view {quoted(name)} as {empty_rows(columns)}")
    for name in reversed(order):
        connection.execute(f"create or replace view {quoted(name)} as {views[name].sql}")
    if only is None:
        _create_table_macros(connection)
    connection.execute("create schema results")


def _create_table_macros(connection: duckdb.DuckDBPyConnection) -> None:
    macros = package.table_macros()
    uses = {name: macros.keys() & macro.sources for name, macro in macros.items()}
    for name in TopologicalSorter(uses).static_order():
        parameters = ", ".join(map(quoted, macros[name].parameters))
        connection.execute(f"create macro {quoted(name)}({parameters}) as table {macros[name].sql}")


def empty_table(table: Table) -> str:
    """A select statement without rows that has the table's columns."""
    return empty_rows((c.name, duckdb_type(c.type)) for c in table.keys + table.columns)


def empty_rows(columns: Iterable[tuple[str, str]]) -> str:
    """A select statement without rows that has these columns: names and types (DuckDB's)."""
    return f"select {', '.join(f'null::{kind} as {quoted(name)}' for name, kind in columns)} where false"


def _create_published_figures(connection: duckdb.DuckDBPyConnection) -> None:
    header, *rows = csv.reader(io.StringIO(package.published_figures()))
    types = {"level": "double", "value": "double", "likely": "double"}
    columns = ", ".join(f"nullif({name}, '')::{types.get(name, 'varchar')} as {name}" for name in header)
    values = ", ".join("(" + ", ".join(map(literal, row)) + ")" for row in rows)
    connection.execute(
        f"create view published_figures as select {columns} from (values {values}) as t ({', '.join(header)})"
    )


def duckdb_type(contract: str) -> str:
    """DuckDB's type for a type of the table contract."""
    base, bracket, _ = contract.partition("[")
    return DUCKDB_TYPES[base] + ("[]" if bracket and base != "timestamp" else "")


def quoted(name: str) -> str:
    """`name` as a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as a SQL string."""
    return "'" + text.replace("'", "''") + "'"
