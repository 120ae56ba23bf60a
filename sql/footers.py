"""Parquet files of a lake, read without DuckDB: what they say of themselves, and rows that are as written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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
    digest: str
    """SHA-256 of the footer: sizes, places and extremes of all that is in the file."""

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


AT_A_TIME = 512
"""Files whose ends are held in memory."""


def read_footers(storage: Storage, paths: Sequence[str]) -> Iterator[tuple[str, Footer | str]]:
    """The footers of files, read side by side; of a file without one why; nothing of files that are gone.

    Digests and what files were made from stay in `storage.noted`.
    """
    for path, end in _read_ends(storage, paths):
        if isinstance(end, str):
            yield path, end
            continue
        try:
            footer = _parsed(end)
        except (pa.ArrowException, OSError, ValueError) as error:
            yield path, reason(error)
        else:
            storage.note(path, footer.digest, footer.said.get("made_from", {}))
            yield path, footer


def _read_ends(storage: Storage, paths: Sequence[str]) -> Iterator[tuple[str, bytes | str]]:
    """The same as the bytes that stand in the files (FileMetaData in Thrift, without length and magic)."""

    def read(path: str, tail: bytes | None = None) -> bytes | str | None:
        try:
            return _end(storage, path, storage.tail(path) if tail is None else tail)
        except FileNotFoundError:  # a study that runs beside this replaced it by a longer one
            return None
        except (pa.ArrowException, OSError) as error:
            if is_fault_of_storage(error):
                raise
            return reason(error)

    with ThreadPoolExecutor(4) as pool:  # starts no thread before it has work
        for first in range(0, len(paths), AT_A_TIME):
            some = paths[first : first + AT_A_TIME]
            if storage.bucket is None:
                ends = zip(some, (pool.map if len(some) > 1 else map)(read, some), strict=True)
            else:
                tails = storage.bucket.tails(some)
                ends = ((path, None if tail is None else read(path, tail)) for path, tail in tails)
            yield from ((path, end) for path, end in ends if end is not None)


def _end(storage: Storage, path: str, tail: bytes) -> bytes:
    """The footer that a file ends with, of which `tail` are the last bytes."""
    length = int.from_bytes(tail[-8:-4], "little")
    if tail[-4:] == b"PAR1" and length + 8 <= len(tail):
        return tail[-8 - length : -8]
    with storage.open(path) as file:
        file.seek(0, 2)
        if tail[-4:] != b"PAR1" or length + 8 > file.tell():
            raise pa.ArrowInvalid("it does not end as a Parquet file does")
        file.seek(-8 - length, 2)
        return file.read(length)


def _parsed(end: bytes) -> Footer:
    file = pa.BufferReader(end + len(end).to_bytes(4, "little") + b"PAR1")
    metadata = pq.read_metadata(file)
    digest = hashlib.sha256(end).hexdigest()
    return Footer(metadata, metadata.schema.to_arrow_schema(), said_in(metadata), digest)


def said_in(metadata: pq.FileMetaData) -> dict[str, Any]:
    """What the lake's writer noted in a file."""
    return json.loads((metadata.metadata or {}).get(FOOTER_KEY, b"{}"))


def is_fault_of_storage(error: Exception) -> bool:
    """Whether an error is of the disk or the network, which says nothing about the file."""
    return isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None)


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
