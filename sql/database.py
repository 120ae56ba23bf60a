"""The lake's views as a DuckDB database file, for the DuckDB command line, DBeaver, Python and the like.

The file holds no rows: its views read the lake's files where they lie. A lake that was moved, or that got
another dataset or result, needs it written anew. Views of a bucket are read through DuckDB's extension httpfs
with a secret of its own, or from Python through fsspec (`connection.register_filesystem`).
"""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from sql.catalog import LakeDatabase
from sql.errors import LakeError
from sql.package import analyses, partials, shared_views
from sql.schema import create_contract, data_dictionary, literal, quoted
from sql.storage import Storage
from sql.tables import TABLES

FILE = "catalog.duckdb"

STORAGE_VERSION = "v1.0.0"
"""DuckDB 1.0 and later open the file; before 2.0 they cannot read ranks (byte stream split of integers)."""

MAGIC = b"DUCK"
"""Stands at byte 8 of every DuckDB database."""


def write_catalog(url: str, output: str | None = None) -> Path:
    """Write the database file, by default catalog.duckdb in the lake's folder; returns its path.

    Raises LakeError where there is no lake, where a file in it is not what its name says (sql/files.py), and
    where `output` is something else than a DuckDB database.
    """
    place = url.removeprefix("file://") if output is None else output
    if "://" in place:
        raise LakeError(f"{place} is no folder: say where on this machine the file goes, --output {FILE}")
    with LakeDatabase(url) as lake:
        target = Path(output or os.path.join(lake.url, FILE)).absolute()
        _require_replaceable(target)
        views = _views(lake.connection)
    temporary = target.with_name(f".tmp-{os.getpid()}-{target.name}")
    try:
        with _database(temporary) as connection:
            Storage(url).register(connection)
            create_contract(connection)
            empty = _views(connection)
            for name, create in views.items():
                if empty.get(name) != create:
                    connection.execute(create.replace("CREATE VIEW", "CREATE OR REPLACE VIEW", 1))
            _comment(connection)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _database(path: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(path, config={"storage_compatibility_version": STORAGE_VERSION})


def _require_replaceable(path: Path) -> None:
    if not path.parent.is_dir():
        raise LakeError(f"there is no folder {path.parent} for {path.name}; make it first")
    if path.is_dir():
        raise LakeError(f"{path} is a folder; name a file, such as {path / FILE}")
    if path.exists():
        with path.open("rb") as file:
            if file.read(12)[8:] != MAGIC:
                raise LakeError(f"{path} is there and is no DuckDB database; give another name, or delete it")


def _views(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], str]:
    """The statement that creates each view, by schema and name."""
    found = connection.execute("select schema_name, view_name, sql from duckdb_views() where not internal")
    return {(schema, name): create for schema, name, create in found.fetchall()}


def _comment(connection: duckdb.DuckDBPyConnection) -> None:
    """Give views and columns their meanings, which clients show beside them."""
    titles = {name: table.grain for name, table in TABLES.items()}
    titles |= {name: view.title for name, view in (shared_views() | partials() | analyses()).items()}
    for name, title in titles.items():
        connection.execute(f"comment on view {quoted(name)} is {literal(title)}")
    for table, column, _, unit, meaning in data_dictionary().iter_rows():
        text = f"{meaning} [{unit}]" if unit else meaning
        connection.execute(f"comment on column {quoted(table)}.{quoted(column)} is {literal(text)}")
