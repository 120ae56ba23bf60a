"""Answers written as CSV, JSON or Parquet, batch by batch: as much as a disk holds, of little memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from flows.errors import UserError

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from sql.answer import Answer

ROW_GROUP_BYTES = 64 * 2**20
"""About what a row group of a Parquet file holds, before compression."""

PART_BYTES = 4 * 2**20
"""About what is turned into text at once."""


class Format(StrEnum):
    """How an answer is printed or written."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


def format_of(path: Path) -> Format:
    """The format that a file's name asks for."""
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in ("csv", "json", "parquet"):
        raise UserError(f"{path}: name it .csv, .json or .parquet, or say --format csv, json or parquet")
    return Format(suffix)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is there when all of it is written, and not before."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        with temporary.open("wb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write(answer: Answer, format: Format, file: BinaryIO) -> int:
    """Write all rows of `answer` to `file`; returns how many.

    CSV and JSON: vectors and structs are JSON, without NaN and infinity, which JSON does not have: null.
    JSON: one array with an object for each row, on a line of its own.
    """
    _require_writable(answer.schema, format)
    writers = {Format.csv: _write_csv, Format.json: _write_json, Format.parquet: _write_parquet}
    return writers[format](answer, file)


def _write_csv(answer: Answer, file: BinaryIO) -> int:
    rows = 0
    file.write(_csv_columns(_frame(answer.schema.empty_table())).write_csv().encode())
    for part in _parts(answer):
        frame = _csv_columns(_frame(_json_numbers(part, nested_only=True)))
        file.write(frame.write_csv(include_header=False).encode())
        rows += part.num_rows
    return rows


def _csv_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with vectors, structs and maps as JSON text."""
    import polars as pl

    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    # polars encodes structs only: {"":[1,2]} is cut to [1,2]
    encoded = (pl.struct(pl.col(name).alias("")).struct.json_encode().str.slice(4) for name in nested)
    return frame.with_columns(
        pl.when(pl.col(name).is_not_null()).then(text.str.head(-1)).alias(name)
        for name, text in zip(nested, encoded, strict=True)
    )


def _write_json(answer: Answer, file: BinaryIO) -> int:
    rows = 0
    file.write(b"[")
    for part in _parts(answer):
        lines = _frame(_json_numbers(part)).write_ndjson().rstrip("\n")
        file.write(b",\n" if rows else b"\n")
        file.write(lines.replace("\n", ",\n").encode())
        rows += part.num_rows
    file.write(b"\n]\n" if rows else b"]\n")
    return rows


def _parts(answer: Answer) -> Iterator[pa.RecordBatch]:
    """The rows in parts whose text is small."""
    for batch in answer:
        rows = max(1, batch.num_rows * PART_BYTES // max(1, batch.nbytes))
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


def _json_numbers(batch: pa.RecordBatch, nested_only: bool = False) -> pa.RecordBatch:
    """The batch with decimals, such as DuckDB's sums of integers, as the plain numbers that JSON knows."""
    import pyarrow as pa

    columns: list[Any] = []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        whole, real = _json_type(field.type, pa.int64()), _json_type(field.type, pa.float64())
        if whole != field.type and not (nested_only and pa.types.is_decimal(field.type)):
            try:
                column = column.cast(whole)
            except pa.ArrowInvalid:  # beyond 64 bits
                column = column.cast(real)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _json_type(kind: pa.DataType, integer: pa.DataType) -> pa.DataType:
    """`kind` with decimals as `integer`, as float64 where they have a fraction."""
    import pyarrow as pa

    if pa.types.is_decimal(kind):
        return integer if kind.scale == 0 else pa.float64()
    if pa.types.is_list(kind):
        return pa.list_(_json_type(kind.value_type, integer))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_json_type(field.type, integer)) for field in kind])
    return kind


def _write_parquet(answer: Answer, file: BinaryIO) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, held = 0, []
    with pq.ParquetWriter(file, answer.schema, compression="zstd") as writer:
        for batch in answer:
            held.append(batch)
            rows += batch.num_rows
            if sum(one.nbytes for one in held) >= ROW_GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(held))
                held.clear()
        if held:
            writer.write_table(pa.Table.from_batches(held))
    return rows


def _frame(rows: Any) -> pl.DataFrame:
    import polars as pl

    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _require_writable(schema: pa.Schema, format: Format) -> None:
    """UserError for columns of one name, and for types that no such file has."""
    import pyarrow as pa

    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise UserError(
            f"the answer has several columns {', '.join(twice)}: name each column once, with `as`"
        )
    for field in schema:
        foreign = pa.types.is_interval(field.type) or pa.types.is_union(field.type)
        if foreign or (format is not Format.parquet and pa.types.is_binary(field.type)):
            raise UserError(
                f"the column {field.name} is of a type that {format} has not ({field.type}): "
                f"cast it, {field.name}::varchar"
            )
