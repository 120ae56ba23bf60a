"""The writer of the lake: deterministic partition files, written whole or not at all.

A partition's file name says what it holds (range of image ids, number of rows); its Parquet footer
says what made it, and for which keys. `made_from` is compared when a partition is found in place, the
keys when a lake is opened or checked (sql/files.py), everything else in the footer is only recorded.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from flows.counts import Counts
from flows.encoding import parquet
from flows.errors import LakeMismatch, UserError
from flows.storage_faults import passes, steadily
from flows.whole_files import write_whole
from sql.files import PARTITION_FILE
from sql.footers import FOOTER_KEY, read_footers, said_in
from sql.remote import S3, named_faults
from sql.storage import Storage
from sql.tables import ID_PATTERN, NULL_PARTITION, SHARD, Table

Found = TypeVar("Found")


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
        self.written = self.skipped = self._bytes = 0
        self._rows: Counter[str] = Counter()
        self._opened = time.monotonic()
        self._narrow: dict[tuple[str, ...], pa.Table] = {}

    @cached_property
    def _listing(self) -> dict[str, set[str]]:
        """Folder -> names of its Parquet files, but temporary ones."""
        listing: dict[str, set[str]] = {}
        for path in steadily(self.url, "listed", self._files):
            folder, _, name = path.rpartition("/")
            if name.endswith(".parquet") and not name.startswith("."):
                # the same few names stand in every folder
                listing.setdefault(folder, set()).add(sys.intern(name))
        return listing

    def _files(self) -> Sequence[str]:
        bucket = self.storage.bucket
        return list(_files_below(self.root)) if bucket is None else bucket.paths()

    @cached_property
    def _shards(self) -> dict[str, dict[int, list[tuple[int, str]]]]:
        """Folder -> first image id of a shard -> (rows, or images tried, and name) of its files."""
        return {}

    @property
    def counts(self) -> Counts:
        """What was written since the lake was opened here, and found current."""
        seconds = time.monotonic() - self._opened
        return Counts(self.written, self.skipped, dict(self._rows), self._bytes, seconds)

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
        """Read what these files say, side by side; of those that are damaged nothing.

        Where the storage fails meanwhile, what is left is read when it is asked for, one by one.
        """
        try:
            for _ in read_footers(self.storage, [path for path in paths if path not in self.storage.noted]):
                pass
        except Exception as error:
            if not passes(error):
                raise

    def _noted(self, path: str) -> tuple[str, dict[str, Any]]:
        def attempt() -> tuple[str, dict[str, Any]]:
            for _, footer in read_footers(self.storage, [path]):
                if isinstance(footer, str):
                    raise pa.ArrowInvalid(footer)
            if path not in self.storage.noted:
                raise FileNotFoundError(errno.ENOENT, "it is gone since the lake was listed", path)
            return self.storage.noted[path]

        return self.storage.noted[path] if path in self.storage.noted else self._steadily(path, attempt)

    def made_from(self, path: str) -> dict[str, Any]:
        """What the file's footer says that it was made from; read once until `refresh`."""
        return self._noted(path)[1]

    def footer(self, path: str) -> dict[str, Any]:
        """All that the file's Parquet footer says of its making."""
        return self._read(path, lambda file: said_in(pq.read_metadata(file)))

    def read(self, path: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one file of the lake."""
        names = list(columns) if columns else None
        return self._read(path, lambda file: pq.ParquetFile(file).read(columns=names))

    def bytes(self, path: str) -> bytes:
        """One file of the lake as it is."""
        return self._read(path, lambda file: file.read())

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
        done, found = 0, None

        def following() -> pa.RecordBatch | None:
            nonlocal found
            try:
                found = found or islice(self._batches(path, columns, rows), done, None)
                return next(found, None)
            except Exception:
                found = None  # an iterator that failed is at its end
                raise

        while (batch := self._steadily(path, following)) is not None:
            done += 1
            yield batch

    def _batches(self, path: str, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        with self._open(path) as file:
            yield from pq.ParquetFile(file).iter_batches(rows, columns=list(columns), use_threads=False)

    def _read(self, path: str, read: Callable[[Any], Found]) -> Found:
        """read(open file)."""

        def attempt() -> Found:
            with self._open(path) as file:
                return read(file)

        return self._steadily(path, attempt)

    def _open(self, path: str) -> Any:
        bucket = self.storage.bucket
        return self.fs.open(f"{self.root}/{path}") if bucket is None else bucket.open(path)

    def _steadily(self, path: str, attempt: Callable[[], Found]) -> Found:
        """attempt(); what is wrong with the file comes as a UserError that names it."""
        place, bucket = f"{self.url}/{path}", self.storage.bucket

        def named() -> Found:
            with nullcontext() if bucket is None else named_faults(bucket.root):
                return attempt()

        try:
            return steadily(place, "read", named)
        except FileNotFoundError:
            raise UserError(
                f"{place} is gone: another run replaced it, or somebody deleted it. Run it again"
            ) from None
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{place} is not a readable Parquet file ({error}): delete it and run the study again"
            ) from None

    def write(self, partition: Partition, rows: pa.Table, recorded: Mapping[str, Any]) -> str:
        """Write a partition whole and remove the shorter files of its shard; its path."""
        if rows.num_rows > partition.rows or (partition.parts == 1 and rows.num_rows < partition.rows):
            raise ValueError(f"{partition.file}: {rows.num_rows} rows given, {partition.rows} planned")
        self._put(
            partition.file, rows, partition.made_from, recorded,
            dict(partition.keys), self.outdated(partition),
        )  # fmt: skip
        self.written += 1
        self._rows[partition.table] += rows.num_rows
        return partition.file

    def write_copy(self, partition: Partition, data: bytes) -> str:
        """Write the file that another lake has of a partition, byte for byte; its path."""
        self.put(partition.file, data, self.outdated(partition))
        self.written += 1
        self._rows[partition.table] += pq.read_metadata(pa.BufferReader(data)).num_rows
        return partition.file

    def outdated(self, partition: Partition) -> list[str]:
        """Paths of the other files of a partition's shard, which go when it is written."""
        return [path for _, path in self._shard_files(partition) if path != partition.file]

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
        return self._put(path, rows, {}, {})

    def write_rows(self, path: str, rows: pa.Table, made_from: Mapping[str, Any]) -> str:
        """Write rows that are no table's: results, partial results, what a check found."""
        return self._put(path, rows, made_from, {})

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

    def delete(self, path: str) -> None:
        """Delete a file of the lake; another run may have done so before."""
        bucket = self.storage.bucket

        def attempt() -> None:
            self.fs.rm_file(f"{self.root}/{path}") if bucket is None else bucket.remove(path)

        with suppress(FileNotFoundError):
            steadily(f"{self.url}/{path}", "deleted", attempt)
        self._note(path, is_there=False)

    def _put(
        self,
        path: str,
        rows: pa.Table,
        made_from: Mapping[str, Any],
        recorded: Mapping[str, Any],
        keys: Mapping[str, Any] | None = None,
        outdated: Sequence[str] = (),
    ) -> str:
        said = {"made_from": made_from, "recorded": recorded} | ({"keys": keys} if keys else {})
        footer = json.dumps(said, sort_keys=True)
        rows = rows.replace_schema_metadata({FOOTER_KEY: footer.encode()})
        data = parquet(rows)
        return self.put(path, data, outdated)

    def put(self, path: str, data: bytes | memoryview, outdated: Sequence[str] = ()) -> str:
        """Write a file of the lake whole, in place of one that is there, and of those outdated; its path.

        These go right before it comes: a stop in between leaves a gap, which is filled again, and never a
        row twice; where the disk is full they stay.
        """
        place, target = f"{self.url}/{path}", f"{self.root}/{path}"

        def first() -> None:
            for one in outdated:
                self.delete(one)

        if self.storage.bucket is None:
            steadily(place, "written", lambda: write_whole(target, data, first))
        else:
            first()
            try:
                steadily(place, "written", lambda: self._put_object(path, bytes(data)))
            except BaseException:
                self._remove_half(target, len(data))
                raise
        self._note(path, is_there=True)
        if path.endswith(".parquet"):
            self._bytes += len(data)
        return path

    def _put_object(self, path: str, data: bytes) -> None:
        """Put one object: S3 takes all or nothing, others may end early in silence, which its size tells."""
        bucket = self.storage.bucket
        assert bucket is not None
        bucket.put(path, data)
        if bucket.protocol not in S3 and (size := self.fs.size(f"{self.root}/{path}")) != len(data):
            raise OSError(errno.EIO, f"{size} of {len(data)} bytes arrived")

    def _remove_half(self, target: str, whole: int) -> None:
        """What a failed put left under the file's name would be taken for a damaged file.

        S3 leaves nothing: what is there is what was there before.
        """
        bucket = self.storage.bucket
        with suppress(Exception):
            if bucket and bucket.protocol not in S3 and self.fs.size(target) != whole:
                steadily(target, "deleted", lambda: self.fs.rm_file(target))

    def _note(self, path: str, is_there: bool) -> None:
        """Keep the listing as it is now, and forget what the file said before."""
        folder, _, name = path.rpartition("/")
        if name.endswith(".parquet"):
            names = self._listing.setdefault(folder, set())
            names.add(name) if is_there else names.discard(name)
            self._shards.pop(folder, None)
        self.storage.noted.pop(path, None)


READERS = 32
"""Files of a bucket that are read side by side."""


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


def _disagreement(place: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """What a mismatch error says."""
    differing = _differences(wanted, found)
    return (
        f"{place} was made from other inputs than this study's: "
        + "; ".join(f"{key} was {old!r}, the study has {new!r}" for key, new, old in differing)
        + ". Use another lake, another id in the study, or delete that file; `relevance-lake clean` deletes "
        "what was made with parameters that no study has any more. Nothing is mixed, by --force neither"
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
