"""What a user's SQL may do, and what its failures are called.

DuckDB's `enable_external_access = false` keeps statements inside the lake's folder, but COPY and ATTACH
may still write there. So only statements that read are let through, judged by DuckDB's own parser: one
statement of type SELECT (DESCRIBE, SHOW, SUMMARIZE, VALUES, FROM and WITH are such) or EXPLAIN of one.
The type alone is not enough: a WITH clause may hold COPY or INSERT, `explain analyze` runs what it
explains, and some table functions run a statement or a function that they are given as text
(`destroy_external_resource('json_execute_serialized_sql', ...)`). So table functions are let through by
name: a later DuckDB may bring more of that kind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import duckdb

from sql.errors import LakeError, StorageSilent

READING_NODES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
"""Nodes of a parsed query that only read; others (COPY_QUERY_NODE, INSERT_QUERY_NODE, ...) write."""

READING_FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        """
        unnest range generate_series repeat repeat_row summary query_table test_all_types
        glob read_text read_blob read_csv read_csv_auto sniff_csv json_each json_tree
        read_json read_json_auto read_json_objects read_json_objects_auto
        read_ndjson read_ndjson_auto read_ndjson_objects read_ndjson_objects_auto
        read_parquet parquet_scan parquet_metadata parquet_file_metadata parquet_full_metadata
        parquet_kv_metadata parquet_schema parquet_bloom_probe
        duckdb_columns duckdb_constraints duckdb_databases duckdb_dependencies duckdb_extensions
        duckdb_functions duckdb_indexes duckdb_keywords duckdb_memory duckdb_optimizers duckdb_schemas
        duckdb_sequences duckdb_settings duckdb_tables duckdb_temporary_files duckdb_types duckdb_variables
        duckdb_views pragma_collations pragma_database_size pragma_platform pragma_show pragma_storage_info
        pragma_table_info pragma_user_agent pragma_version pg_timezone_names icu_calendar_names
        """,
    )
)
"""Table functions that only read; table macros are such too, and `query` where what it runs is."""

DAMAGE = re.compile(
    r"magic bytes|too small to be a Parquet|Failed to read file|corrupt|TProtocol|decompress", re.IGNORECASE
)
"""What DuckDB says of a damaged Parquet file."""


def require_reading(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise LakeError unless `sql` is exactly one statement that only reads."""
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise LakeError(f"SQL: {_message(error)}") from None
    if len(statements) != 1:
        count = "no statement" if not statements else f"{len(statements)} statements"
        raise LakeError(f"SQL: {count} given; give exactly one SELECT")
    kind = _kind(statements[0])
    if kind == "EXPLAIN":
        sql = _explained(connection, sql)
    elif kind == "MULTI":
        raise LakeError("SQL: PIVOT needs its values named here: pivot ... on column in (value, ...)")
    elif kind != "SELECT":
        raise LakeError(f"SQL: {kind} is refused, the lake is read only; use SELECT, DESCRIBE or EXPLAIN")
    _require_reading_tree(connection, sql)


def _kind(statement: duckdb.Statement) -> str:
    try:
        return statement.type.name
    except ValueError:  # a type that the Python client has no name for, such as that of `update extensions`
        return "this kind of statement"


def _explained(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """The statement behind `explain`, `explain analyze` or `explain (options)`."""
    tokens = [start for start, kind in duckdb.tokenize(sql) if kind != duckdb.token_type.comment]
    for start in tokens[1:]:
        try:
            statements = connection.extract_statements(sql[start:])
        except duckdb.Error:
            continue
        if len(statements) == 1 and _is_option(sql[tokens[1] : start]):
            return sql[start:]
    raise LakeError("SQL: EXPLAIN is allowed of SELECT statements only")


def _is_option(text: str) -> bool:
    bare = re.sub(r"/\*.*?\*/|--[^\n]*", " ", text, flags=re.DOTALL).strip().lower()
    return bare in ("", "analyze", "verbose") or re.fullmatch(r"\([\w\s,]*\)", bare) is not None


def _require_reading_tree(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    [(serialized,)] = connection.execute("select json_serialize_sql($1)", [sql]).fetchall()
    tree = json.loads(serialized)
    if tree["error"]:
        raise LakeError(f"SQL: only statements that read are allowed ({tree['error_message']})")
    for node in _nodes(tree["statements"]):
        kind = str(node.get("type", ""))
        if kind.endswith("_NODE") and kind not in READING_NODES:
            verb = kind.removesuffix("_NODE").removesuffix("_QUERY").replace("_", " ")
            raise LakeError(f"SQL: {verb} inside the statement is refused; the lake is read only")
        if kind == "TABLE_FUNCTION":
            _require_reading_function(connection, node["function"])


def _require_reading_function(connection: duckdb.DuckDBPyConnection, call: dict[str, Any]) -> None:
    name = str(call.get("function_name", "")).lower()
    if name == "query":
        texts = [argument["expression"].get("literal", {}) for argument in call.get("arguments", [])]
        if len(texts) != 1 or texts[0].get("kind") != "STRING":
            raise LakeError("SQL: query(...) takes one plain text here; or write the statement itself")
        _require_reading_tree(connection, texts[0]["text"])
    elif name not in READING_FUNCTIONS and name not in _table_macros(connection):
        raise LakeError(f"SQL: the table function {name} is refused; the lake is read only")


def _table_macros(connection: duckdb.DuckDBPyConnection) -> set[str]:
    found = "select distinct lower(function_name) from duckdb_functions() where function_type = 'table_macro'"
    return {name for (name,) in connection.execute(found).fetchall()}


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            yield from _nodes(branch)


STORAGE_FAULT = re.compile(r"^\S*(?:BucketFault|OSError|TimeoutError|Connection\w*Error): .*", re.MULTILINE)
"""The line in which Python says that a bucket's file system failed under a query."""


def lake_error(error: duckdb.Error, find_damaged: Callable[[], str | None]) -> LakeError:
    """What a failure of DuckDB means to a user: a damaged file, or a statement with a mistake.

    `find_damaged` looks for a damaged file in the lake; it is asked only where DuckDB does not name it.
    """
    message = _message(error)
    if fault := STORAGE_FAULT.search(str(error)):
        return StorageSilent(f"the lake's storage did not answer ({fault[0]}): run the same command again")
    if isinstance(error, duckdb.ParserException | duckdb.BinderException | duckdb.CatalogException):
        return LakeError(f"SQL: {message}")
    if "Out of Memory Error" in message:
        said = message.partition("\n")[0]
        return LakeError(f"DuckDB: {said}; allow more memory (memory_limit, --memory-limit) or fewer threads")
    # DuckDB raises its bare base class where it trips over bytes inside a file.
    if type(error) is duckdb.Error or DAMAGE.search(message):
        named = re.search(r"[\"']([^\"'\n]*\.parquet)[\"']", message)
        path = named.group(1) if named else find_damaged()
        if path:
            return damaged(path, message)
    return LakeError(f"DuckDB: {message}")


def damaged(path: str, reason: str) -> LakeError:
    """The error for a Parquet file that cannot be read."""
    return LakeError(f"{path} is damaged; delete it and run the study again, which writes it anew ({reason})")


def _message(error: duckdb.Error) -> str:
    said = str(error).strip()
    # what fails in a bucket's file system comes with Python's traceback
    return said.splitlines()[-1] if said.startswith("Traceback") else said
