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
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from flows.counts import Counts
from flows.errors import LakeMismatch, UserError
from flows.storage_faults import steadily
from flows.whole_files import write_whole
from sql.files import PARTITION_FILE
from sql.footers import FOOTER_KEY
from sql.storage import Storage
from sql.tables import ID_PATTERN, NULL_PARTITION, ROW_GROUP, SHARD, TABLES, Table

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

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/") or "/"
        try:
            self.fs, self.root = fsspec.core.url_to_fs(self.url)
        except (ValueError, ImportError) as error:
            raise UserError(f"lake {url!r} cannot be opened: {error}") from None
        self.is_local = "file" in (
            (self.fs.protocol,) if isinstance(self.fs.protocol, str) else self.fs.protocol
        )
        self.written = self.skipped = self._bytes = 0
        self._rows: Counter[str] = Counter()
        self._opened = time.monotonic()
        self._fingerprints: dict[str, str] = {}

    @cached_property
    def _listing(self) -> dict[str, dict[str, int]]:
        """Folder -> {file name: bytes} of all files but temporary ones."""
        listing: dict[str, dict[str, int]] = {}
        prefix = self.root.rstrip("/") + "/"
        for path, facts in steadily(self.url, "listed", self._find).items():
            folder, _, name = path.removeprefix(prefix).rpartition("/")
            if name.endswith(".parquet") and not name.startswith("."):
                listing.setdefault(folder, {})[name] = int(facts["size"] or 0)
        return listing

    def _find(self) -> dict[str, Any]:
        if not self.fs.exists(self.root):
            return {}
        self.fs.invalidate_cache()
        return self.fs.find(self.root, detail=True)

    @property
    def counts(self) -> Counts:
        """What was written since the lake was opened here, and found current."""
        seconds = time.monotonic() - self._opened
        return Counts(self.written, self.skipped, dict(self._rows), self._bytes, seconds)

    def must_exist(self) -> None:
        """LakeError where there is no lake."""
        Storage(self.url).require_lake()

    def refresh(self) -> None:
        """Forget what files there are: another process may have written."""
        self.__dict__.pop("_listing", None)
        self._fingerprints.clear()

    def _shard_files(self, partition: Partition) -> list[tuple[int, str]]:
        """(rows, or images tried, and path) of the files in place for the partition's shard, most first."""
        found = []
        for name in self._listing.get(partition.folder, {}):
            match = PARTITION_FILE.fullmatch(name)
            if match and int(match[1]) == partition.shard * SHARD:
                found.append((int(match[4]), f"{partition.folder}/{name}"))
        return sorted(found, reverse=True)

    def find(self, partition: Partition) -> str | None:
        """Path of the file that already holds the partition, or None; LakeMismatch if made from else."""
        files = self._shard_files(partition)
        if not files:
            return None
        rows, path = files[0]
        footer = self.footer(path)
        if footer.get("made_from", {}) != partition.made_from:
            raise LakeMismatch(
                _disagreement(f"{self.url}/{path}", partition.made_from, footer.get("made_from", {}))
            )
        return path if rows >= partition.rows else None

    def footer(self, path: str) -> dict[str, Any]:
        """What the file's Parquet footer says of its making."""
        metadata = self._read(path, lambda file: pq.read_metadata(file).metadata) or {}
        return json.loads(metadata.get(FOOTER_KEY, b"{}"))

    def read(self, path: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one file of the lake."""
        names = list(columns) if columns else None
        return self._read(path, lambda file: pq.ParquetFile(file).read(columns=names))

    def bytes(self, path: str) -> bytes:
        """One file of the lake as it is."""
        return self._read(path, lambda file: file.read())

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
        with self.fs.open(f"{self.root}/{path}") as file:
            yield from pq.ParquetFile(file).iter_batches(rows, columns=list(columns), use_threads=False)

    def _read(self, path: str, read: Callable[[Any], Found]) -> Found:
        """read(open file)."""

        def attempt() -> Found:
            with self.fs.open(f"{self.root}/{path}") as file:
                return read(file)

        return self._steadily(path, attempt)

    def _steadily(self, path: str, attempt: Callable[[], Found]) -> Found:
        """attempt(); what is wrong with the file comes as a UserError that names it."""
        place = f"{self.url}/{path}"
        try:
            return steadily(place, "read", attempt)
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
        outdated = [path for _, path in self._shard_files(partition) if path != partition.file]
        # removed first: a stop in between leaves a gap, which is filled again, and never a row twice
        for path in outdated:
            self.delete(path)
        self._put(
            TABLES[partition.table], partition.file, rows, partition.made_from, recorded, dict(partition.keys)
        )
        self.written += 1
        self._rows[partition.table] += rows.num_rows
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
        if path not in self._fingerprints:
            self._fingerprints[path] = self._read(path, _digest_of_footer)
        return self._fingerprints[path]

    def digest(self, tables: Iterable[Table]) -> str:
        """Digest of the files of some tables, names and fingerprints."""
        digest = hashlib.sha256()
        for table in tables:
            for path in self.paths(table.name):
                digest.update(f"{path} {self.fingerprint(path)}\n".encode())
        return digest.hexdigest()

    def exists(self, path: str) -> bool:
        """Whether a file of the lake is there."""
        folder, _, name = path.rpartition("/")
        return name in self._listing.get(folder, {})

    def bytes_of(self, path: str) -> int:
        """Size of a file of the lake."""
        folder, _, name = path.rpartition("/")
        return self._listing[folder][name]

    def names(self, folder: str) -> list[str]:
        """Names of the Parquet files of one folder, sorted."""
        return sorted(self._listing.get(folder, {}))

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
        return sum(size for names in self._listing.values() for size in names.values())

    def delete(self, path: str) -> None:
        """Delete a file of the lake; another run may have done so before."""
        with suppress(FileNotFoundError):
            steadily(f"{self.url}/{path}", "deleted", lambda: self.fs.rm_file(f"{self.root}/{path}"))
        folder, _, name = path.rpartition("/")
        if name.endswith(".parquet"):
            self._listing.get(folder, {}).pop(name, None)
        self._fingerprints.pop(path, None)

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
        data = buffer.getvalue().to_pybytes()
        self.put(path, data)
        self._bytes += len(data)
        return path

    def put(self, path: str, data: bytes) -> str:
        """Write a file of the lake whole, in place of one that is there; its path."""
        target = f"{self.root}/{path}"
        if self.is_local:
            steadily(f"{self.url}/{path}", "written", lambda: write_whole(target, data))
        else:
            try:
                steadily(f"{self.url}/{path}", "written", lambda: self._put_object(target, data))
            except BaseException:
                self._remove_half(target, len(data))
                raise
        folder, _, name = path.rpartition("/")
        if name.endswith(".parquet"):
            self._listing.setdefault(folder, {})[name] = len(data)
        self._fingerprints.pop(path, None)
        return path

    def _put_object(self, target: str, data: bytes) -> None:
        """Put one object; some file systems end early without a word, which its size tells."""
        self.fs.pipe_file(target, data)
        if (size := self.fs.size(target)) != len(data):
            raise OSError(errno.EIO, f"{size} of {len(data)} bytes arrived")

    def _remove_half(self, target: str, whole: int) -> None:
        """What a failed put left under the file's name would be taken for a damaged file."""
        with suppress(Exception):
            if self.fs.size(target) != whole:
                steadily(target, "deleted", lambda: self.fs.rm_file(target))


VECTORS = ("float32[n]", "rank[n]", "float32[k]")
"""Column types stored as BYTE_STREAM_SPLIT."""


def _digest_of_footer(file: Any) -> str:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(end - 8, 0))
    length = int.from_bytes(file.read(4), "little")
    if length + 8 > end:
        raise pa.ArrowInvalid(f"{end} bytes, too few for its footer")
    file.seek(end - 8 - length)
    return hashlib.sha256(file.read(length)).hexdigest()


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
