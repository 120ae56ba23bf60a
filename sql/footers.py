"""Parquet files of a lake, read without DuckDB: what they say of themselves, and rows that are as written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sql.guard import LakeError
from sql.storage import Storage

FOOTER_KEY = b"relevance_lake"
"""Where the lake's writer notes what it has to say, in JSON."""


@dataclass(frozen=True)
class Footer:
    """What a Parquet file says of itself."""

    metadata: pq.FileMetaData
    schema: pa.Schema
    said: Mapping[str, Any]
    """What the lake's writer noted: made_from, recorded, keys; nothing in files of others."""

    def length(self, column: str) -> int:
        """Length of a vector column; 0 where it has none."""
        index = self.schema.get_field_index(column)
        kind = self.schema.field(index).type if index >= 0 else pa.null()
        return kind.list_size if isinstance(kind, pa.FixedSizeListType) else 0

    def bounds(self, column: str) -> list[tuple[Any, Any]]:
        """Smallest and largest value of a plain column in each row group, where the footer has them."""
        index = self.metadata.schema.names.index(column)
        groups = map(self.metadata.row_group, range(self.metadata.num_row_groups))
        found = [group.column(index).statistics for group in groups]
        return [(one.min, one.max) for one in found if one is not None and one.has_min_max]


def read_footers(storage: Storage, paths: list[str]) -> Iterator[tuple[str, Footer | str]]:
    """The footers of files, read side by side; of a file without one why; nothing of files that are gone."""

    def read(path: str) -> Footer | str | None:
        try:
            with storage.open(path) as file:
                metadata = pq.read_metadata(file)
            said = json.loads((metadata.metadata or {}).get(FOOTER_KEY, b"{}"))
            return Footer(metadata, metadata.schema.to_arrow_schema(), said)
        except FileNotFoundError:  # a study that runs beside this replaced it by a longer one
            return None
        except (pa.ArrowException, OSError, ValueError) as error:
            if isinstance(error, TimeoutError) or (isinstance(error, OSError) and error.errno is not None):
                raise LakeError(
                    f"{storage.root}/{path} could not be read ({error}): the file may be sound, its storage "
                    "does not answer. Run the same command again"
                ) from None
            return reason(error)

    with ThreadPoolExecutor(storage.readers) as pool:
        for path, footer in zip(paths, pool.map(read, paths), strict=True):
            if footer:
                yield path, footer


def reason(error: Exception) -> str:
    """The first line of what pyarrow says of a damaged file."""
    return str(error).partition("\n")[0] or type(error).__name__


def read_rows(storage: Storage, path: str, keys: Mapping[str, pa.Scalar]) -> Iterator[pa.Table]:
    """The rows of a partition file by row groups, as the views show them: its keys beside, vectors as lists.

    The checksums of its pages are compared, which DuckDB does not do. Raises OSError or pa.ArrowException
    where the file is damaged.
    """
    with storage.open(path) as source:
        parquet = pq.ParquetFile(source, page_checksum_verification=True)
        for number in range(parquet.num_row_groups):
            rows = parquet.read_row_group(number, use_threads=False)
            columns = {name: _as_lists(rows[name]) for name in rows.column_names}
            yield pa.table(columns | {name: pa.repeat(value, rows.num_rows) for name, value in keys.items()})


def _as_lists(column: pa.ChunkedArray) -> pa.ChunkedArray:
    fixed = isinstance(column.type, pa.FixedSizeListType)
    return column.cast(pa.list_(column.type.value_field)) if fixed else column
