"""The writer of the lake: deterministic partition files, written whole or not at all.

A partition's file name says what it holds (range of image ids, number of rows); its Parquet footer
says what made it, and for which keys. `made_from` is compared when a partition is found in place, the
keys when a lake is opened or checked (sql/files.py), everything else in the footer is only recorded.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from errno import ENOENT
from functools import cached_property
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from flows.errors import LakeMismatch, UserError
from sql.files import PARTITION_FILE
from sql.footers import FOOTER_KEY, is_fault_of_storage, read_footers, said_in
from sql.remote import named_faults
from sql.storage import Storage
from sql.tables import ID_PATTERN, NULL_PARTITION, ROW_GROUP, SHARD, TABLES, Table


@dataclass(frozen=True)
class Partition:
    """One partition file that a study wants: a shard of one table under given keys.

    made_from: what decides its content, as JSON values. A file with more rows of the same shard is
    as good: it holds the images of a longer prefix of the shard.
    parts: over how many partitions the rows fall, where only the work tells over which: an untargeted
    attack ends at any class. Each of them holds those of the `rows` images that came to it, maybe none,
    and its file is named by how many images were tried.
    """

    table: str
    keys: tuple[tuple[str, str | int | None], ...]
    shard: int
    rows: int
    made_from: Mapping[str, Any] = field(hash=False)
    parts: int = 1

    @property
    def aimed(self) -> int:
        """The class that its rows aim at or reached: its key `target`, which a map of an original lacks."""
        return int(dict(self.keys)["target"] or 0)

    @property
    def expected_rows(self) -> float:
        """Rows in its file; where that is not known beforehand, the mean over the parts."""
        return self.rows / self.parts

    @property
    def folder(self) -> str:
        parts = [self.table]
        for name, value in self.keys:
            text = NULL_PARTITION if value is None else str(value)
            if value is not None and not ID_PATTERN.fullmatch(text):
                raise UserError(
                    f"{name} {text!r} cannot be part of a path: use a to z, 0 to 9, dot and hyphen"
                )
            parts.append(f"{name}={text}")
        return "/".join(parts)

    @property
    def file(self) -> str:
        first, counted = self.shard * SHARD, "rows" if self.parts == 1 else "images"
        return f"{self.folder}/ids-{first}-{first + SHARD - 1}-{counted}-{self.rows}.parquet"


class Lake:
    """A lake under a path or an fsspec URL."""

    def __init__(self, url: str, storage: Storage | None = None) -> None:
        """`storage`: the place at `url` where it has been looked at already."""
        self.storage = Storage(url) if storage is None else storage
        self.url = url.rstrip("/") or "/"
        self.is_local = self.storage.bucket is None
        if self.storage.bucket is None:
            self.fs, self.root = fsspec.core.url_to_fs(self.url)
        else:
            self.fs, self.root = self.storage.bucket.remote, self.storage.bucket.path
        self.written = self.skipped = 0
        self._narrow: dict[tuple[str, ...], pa.Table] = {}

    @cached_property
    def _listing(self) -> dict[str, set[str]]:
        """Folder -> names of its Parquet files, but temporary ones."""
        listing: dict[str, set[str]] = {}
        for path in _files_below(self.root) if self.storage.bucket is None else self.storage.bucket.paths():
            folder, _, name = path.rpartition("/")
            if name.endswith(".parquet") and not name.startswith("."):
                # the same few names stand in every folder
                listing.setdefault(folder, set()).add(sys.intern(name))
        return listing

    @cached_property
    def _shards(self) -> dict[str, dict[int, list[tuple[int, str]]]]:
        """Folder -> first image id of a shard -> (rows, or images tried, and name) of its files."""
        return {}

    def must_exist(self) -> None:
        """LakeError where there is no lake."""
        self.storage.require_lake()

    def refresh(self) -> None:
        """Forget what files there are and what they say: another process may have written."""
        for name in ("_listing", "_shards"):
            self.__dict__.pop(name, None)
        self.storage.refresh()
        self._narrow.clear()

    def _shard_files(self, partition: Partition) -> list[tuple[int, str]]:
        """(rows, or images tried, and path) of the files in place for the partition's shard, most first."""
        folder = partition.folder
        if folder not in self._shards:
            shards: dict[int, list[tuple[int, str]]] = {}
            for name in self._listing.get(folder, ()):
                if match := PARTITION_FILE.fullmatch(name):
                    shards.setdefault(int(match[1]), []).append((int(match[4]), name))
            self._shards[folder] = shards
        found = self._shards[folder].get(partition.shard * SHARD, ())
        return sorted(((rows, f"{folder}/{name}") for rows, name in found), reverse=True)

    def find(self, partition: Partition) -> str | None:
        """Path of the file that already holds the partition, or None; LakeMismatch if made from else."""
        files = self._shard_files(partition)
        if not files:
            return None
        rows, path = files[0]
        made_from = self.made_from(path)
        if made_from != partition.made_from:
            raise LakeMismatch(_disagreement(f"{self.url}/{path}", partition.made_from, made_from))
        return path if rows >= partition.rows else None

    def look_up(self, partitions: Iterable[Partition]) -> None:
        """Read what the files in place for these partitions say, side by side, for `find` to compare."""
        found = (self._shard_files(partition) for partition in partitions)
        self.read_footers([files[0][1] for files in found if files])

    def read_footers(self, paths: Iterable[str]) -> None:
        """Read what these files say, side by side; of those that are damaged nothing."""
        for _ in read_footers(self.storage, [path for path in paths if path not in self.storage.noted]):
            pass

    def _noted(self, path: str) -> tuple[str, dict[str, Any]]:
        if path not in self.storage.noted:
            with self._reading(path):
                for _, footer in read_footers(self.storage, [path]):
                    if isinstance(footer, str):
                        raise pa.ArrowInvalid(footer)
                if path not in self.storage.noted:
                    raise FileNotFoundError(ENOENT, "it is gone since the lake was listed", path)
        return self.storage.noted[path]

    def made_from(self, path: str) -> dict[str, Any]:
        """What the file's footer says that it was made from; read once until `refresh`."""
        return self._noted(path)[1]

    def footer(self, path: str) -> dict[str, Any]:
        """All that the file's Parquet footer says of its making."""
        with self._reading(path), self._open(path) as file:
            return said_in(pq.read_metadata(file))

    def read(self, path: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one file of the lake."""
        with self._reading(path), self._open(path) as file:
            return pq.ParquetFile(file).read(columns=list(columns) if columns else None)

    def read_again(self, path: str, columns: Sequence[str]) -> pa.Table:
        """Read narrow columns of a file that are asked for more than once; kept until `refresh`."""
        key = (path, *columns)
        if key not in self._narrow:
            self._narrow[key] = self.read(path, columns)
        return self._narrow[key]

    def read_ahead(self, paths: Iterable[str], columns: Sequence[str]) -> None:
        """Let `read_again` find these columns of many files; of a bucket they are read side by side."""
        if self.storage.bucket is not None:
            with ThreadPoolExecutor(READERS) as pool:
                list(pool.map(lambda path: self.read_again(path, columns), paths))

    def batches(self, path: str, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Read one file of the lake, so many rows at a time."""
        with self._reading(path), self._open(path) as file:
            yield from pq.ParquetFile(file).iter_batches(rows, columns=list(columns), use_threads=False)

    def _open(self, path: str) -> Any:
        bucket = self.storage.bucket
        return self.fs.open(f"{self.root}/{path}") if bucket is None else bucket.open(path)

    @contextmanager
    def _reading(self, path: str) -> Iterator[None]:
        """What is wrong with a file that is read in here comes as a UserError that names it.

        A fault of the disk or the network passes: it is no reason to delete the file.
        """
        bucket = self.storage.bucket
        try:
            with nullcontext() if bucket is None else named_faults(bucket.root):
                yield
        except (pa.ArrowException, OSError) as error:
            if is_fault_of_storage(error):
                raise
            raise UserError(
                f"{self.url}/{path} is not a readable Parquet file ({error}): "
                "delete it and run the study again"
            ) from None

    def write(self, partition: Partition, rows: pa.Table, recorded: Mapping[str, Any]) -> str:
        """Write a partition whole and remove the shorter files of its shard; its path."""
        if rows.num_rows > partition.rows or (partition.parts == 1 and rows.num_rows < partition.rows):
            raise ValueError(f"{partition.file}: {rows.num_rows} rows given, {partition.rows} planned")
        outdated = [path for _, path in self._shard_files(partition) if path != partition.file]
        # removed first: a stop in between leaves a gap, which is filled again, and never a row twice
        for path in outdated:
            self._remove(path)
        self._put(
            TABLES[partition.table], partition.file, rows, partition.made_from, recorded, dict(partition.keys)
        )
        self.written += 1
        return partition.file

    def write_entity(self, table: Table, row: Mapping[str, Any]) -> str:
        """Write the one-row file of a table without keys, named by its first column."""
        identity = str(row[table.columns[0].name])
        if not ID_PATTERN.fullmatch(identity):
            raise UserError(
                f"{table.columns[0].name} {identity!r} cannot be part of a path: "
                "use a to z, 0 to 9, dot and hyphen"
            )
        path = f"{table.name}/{identity}.parquet"
        schema = table.arrow_schema()
        rows = pa.table({name: [row.get(name)] for name in schema.names}, schema=schema)
        if self.exists(path):
            found, wanted = self.read(path).to_pylist()[0], rows.to_pylist()[0]
            if found != wanted:
                raise LakeMismatch(_disagreement(f"{self.url}/{path}", wanted, found))
            return path
        return self._put(table, path, rows, {}, {})

    def write_rows(self, path: str, rows: pa.Table, made_from: Mapping[str, Any]) -> str:
        """Write rows that are no table's: results, partial results, what a check found."""
        return self._put(None, path, rows, made_from, {})

    def fingerprint(self, path: str) -> str:
        """Digest of the file's Parquet footer: sizes, places and extremes of all that is in it.

        Read once until `refresh`.
        """
        return self._noted(path)[0]

    def digest(self, tables: Iterable[Table]) -> str:
        """Digest of the files of some tables, names and fingerprints."""
        digest = hashlib.sha256()
        for table in tables:
            paths = self.paths(table.name)
            self.read_footers(paths)
            for path in paths:
                digest.update(f"{path} {self.fingerprint(path)}\n".encode())
        return digest.hexdigest()

    def exists(self, path: str) -> bool:
        """Whether a file of the lake is there."""
        folder, _, name = path.rpartition("/")
        return name in self._listing.get(folder, ())

    def bytes_of(self, path: str) -> int:
        """Size of a file of the lake."""
        if self.storage.bucket is None:
            return os.path.getsize(f"{self.root}/{path}")
        listed = self.storage.bucket.listed(path)
        return listed.size if listed else 0

    def names(self, folder: str) -> list[str]:
        """Names of the Parquet files of one folder, sorted."""
        return sorted(self._listing.get(folder, ()))

    def paths(self, prefix: str = "") -> list[str]:
        """Paths of the lake's Parquet files below a folder, sorted."""
        return sorted(
            f"{folder}/{name}" if folder else name
            for folder, names in self._listing.items()
            if folder == prefix or folder.startswith(prefix + "/") or not prefix
            for name in names
        )

    def size(self) -> int:
        """Bytes of all Parquet files."""
        return sum(map(self.bytes_of, self.paths()))

    def _remove(self, path: str) -> None:
        if self.storage.bucket is None:
            self.fs.rm_file(f"{self.root}/{path}")
        else:
            self.storage.bucket.remove(path)
        folder, _, name = path.rpartition("/")
        self._listing.get(folder, set()).discard(name)
        self._shards.pop(folder, None)

    def _put(
        self,
        table: Table | None,
        path: str,
        rows: pa.Table,
        made_from: Mapping[str, Any],
        recorded: Mapping[str, Any],
        keys: Mapping[str, Any] | None = None,
    ) -> str:
        said = {"made_from": made_from, "recorded": recorded} | ({"keys": keys} if keys else {})
        footer = json.dumps(said, sort_keys=True)
        rows = rows.replace_schema_metadata({FOOTER_KEY: footer.encode()})
        floats = [f"{c.name}.list.element" for c in table.columns if c.type in VECTORS] if table else []
        no_floats = [f.name for f in rows.schema if not (floats or pa.types.is_floating(f.type))]
        buffer = pa.BufferOutputStream()
        pq.write_table(
            rows, buffer, row_group_size=ROW_GROUP if floats else None, compression="zstd",
            compression_level=1, use_dictionary=no_floats,  # type: ignore[arg-type]
            use_byte_stream_split=floats or False,  # type: ignore[arg-type]
            write_page_checksum=True,
        )  # fmt: skip
        data = buffer.getvalue()
        if self.storage.bucket is None:
            _write_atomically(f"{self.root}/{path}", data)
        else:
            self.storage.bucket.put(path, data.to_pybytes())
        folder, _, name = path.rpartition("/")
        self._listing.setdefault(folder, set()).add(name)
        self._shards.pop(folder, None)
        self.storage.noted.pop(path, None)
        return path


READERS = 32
"""Files of a bucket that are read side by side."""

VECTORS = ("float32[n]", "rank[n]", "float32[k]")
"""Column types stored as BYTE_STREAM_SPLIT."""


def _files_below(root: str) -> Iterator[str]:
    """Paths of all files below a folder, from there."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            entries = os.scandir(f"{root}/{folder}")
        except FileNotFoundError:  # no lake yet, or a folder that is gone since
            continue
        with entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir():
                    waiting.append(path)
                else:
                    yield path


def _write_atomically(target: str, data: pa.Buffer) -> None:
    """Write under a temporary name in the same folder, reach the disk, rename."""
    folder, name = os.path.split(target)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".tmp-{os.getpid()}-{name}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _disagreement(place: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """What a mismatch error says."""
    differing = _differences(wanted, found)
    return (
        f"{place} was made from other inputs than this study's: "
        + "; ".join(f"{key} was {old!r}, the study has {new!r}" for key, new, old in differing)
        + ". Use another lake, another id in the study, or delete that file"
    )


def _differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(key, wanted value, found value) where the two disagree, nested keys joined by dots."""
    differing = []
    for key in sorted(set(wanted) | set(found)):
        new, old = wanted.get(key), found.get(key)
        if isinstance(new, Mapping) and isinstance(old, Mapping):
            differing += [(f"{key}.{inner}", a, b) for inner, a, b in _differences(new, old)]
        elif new != old:
            differing.append((key, new, old))
    return differing
