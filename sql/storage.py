"""Where a lake lies: a local folder, or a bucket through fsspec. Lists it; reads no rows."""

from __future__ import annotations

import glob
import json
import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sql.errors import LakeError
from sql.tables import TABLES

if TYPE_CHECKING:
    import duckdb

    from sql.remote import Bucket

TAIL = 2**14
"""Bytes of a file's end that are read at once: more than the footer of most files of a lake."""

HOW_TO_MAKE_ONE = "make one with: relevance-lake run demo --lake"


class Storage:
    """The folder or bucket of one lake. Paths given and returned are relative to its root."""

    def __init__(self, url: str) -> None:
        self.noted: dict[str, tuple[str, dict[str, Any]]] = {}
        """Path -> digest of the file's footer, and what it was made from, of files that were looked at."""
        self._made_from: dict[str, dict[str, Any]] = {}
        protocol, separator, _ = url.partition("://")
        self.bucket: Bucket | None = None
        if separator and protocol != "file":
            from sql.remote import Bucket

            self.bucket = Bucket(url)
            self.root = self.bucket.root
            return
        self.root = os.path.realpath(url.removeprefix("file://"))
        if "\\" in self.root.replace(os.sep, "/"):
            raise LakeError(f"{self.root}: DuckDB takes \\ for a separator; rename the folder")

    def refresh(self) -> None:
        """Forget what files there are and what they say: another process may have written."""
        self.noted.clear()
        if self.bucket is not None:
            self.bucket.refresh()

    def note(self, path: str, digest: str, made_from: dict[str, Any]) -> None:
        """Keep what a footer says; what many files were made from is kept once."""
        text = json.dumps(made_from, sort_keys=True)
        self.noted[path] = digest, self._made_from.setdefault(text, made_from)

    def require_lake(self) -> None:
        """Raise LakeError unless the root exists and holds at least one table of a lake."""
        known = [*TABLES, "results"]
        if self.bucket is not None:
            if not any(self.bucket.paths(f"{name}/") for name in known):
                raise LakeError(f"there is no lake at {self.root}; {HOW_TO_MAKE_ONE} {self.root}")
        elif not os.path.exists(self.root):
            raise LakeError(f"there is no lake at {self.root}; {HOW_TO_MAKE_ONE} {self.root}")
        elif not any(os.path.isdir(os.path.join(self.root, name)) for name in known):
            raise LakeError(
                f"{self.root} is no lake: it holds none of the folders {', '.join(TABLES)}; "
                f"{HOW_TO_MAKE_ONE} PATH"
            )

    def register(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let `connection` read a bucket; a local folder needs nothing."""
        if self.bucket is not None:
            from sql.bucket import ReadOnlyBucket

            connection.register_filesystem(ReadOnlyBucket(self.bucket))

    def folders(self, pattern: str) -> list[str]:
        """Names of the folders that match `pattern`, sorted."""
        if self.bucket is not None:
            return sorted(path.rpartition("/")[2] for path in self.bucket.folders(pattern))
        found = glob.iglob(f"{pattern}/", root_dir=self.root)
        return sorted(os.path.basename(path.rstrip(os.sep)) for path in found)

    def files(self, folder: str) -> list[str]:
        """Paths of all files below a folder, sorted, but those behind a name that starts with a dot."""
        if self.bucket is not None:
            return [path for path in self.bucket.paths(f"{folder}/") if "/." not in path]
        paths = []
        for place, folders, names in os.walk(os.path.join(self.root, folder), followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(".")]
            within = os.path.relpath(place, self.root).replace(os.sep, "/")
            paths += [f"{within}/{name}" for name in names if not name.startswith(".")]
        return sorted(paths)

    def open(self, path: str) -> Any:
        """A file of the lake, to read bytes from."""
        if self.bucket is not None:
            return self.bucket.open(path)
        return pa.OSFile(os.path.join(self.root, path))

    def tail(self, path: str) -> bytes:
        """The last bytes of a file in a folder, its footer among them."""
        handle = os.open(os.path.join(self.root, path), os.O_RDONLY)
        try:
            size = os.fstat(handle).st_size
            return os.pread(handle, TAIL, max(0, size - TAIL))
        finally:
            os.close(handle)

    def has(self, pattern: str, under: str = "") -> bool:
        """Whether a file matches `pattern` in the folder `under`."""
        if self.bucket is not None:
            return next(self.bucket.matches(_below(under, pattern)), None) is not None
        found = glob.iglob(pattern, root_dir=os.path.join(self.root, under))
        return next(iter(found), None) is not None

    def matches(self, pattern: str, under: str = "") -> list[str]:
        """Paths of the files that match `pattern` in the folder `under`, sorted."""
        if self.bucket is not None:
            return list(self.bucket.matches(_below(under, pattern)))
        found = glob.iglob(pattern, root_dir=os.path.join(self.root, under))
        return sorted("/".join(part for part in (under, path.replace(os.sep, "/")) if part) for path in found)

    def glob_url(self, pattern: str, under: str = "") -> str:
        """The pattern for DuckDB's read_parquet, with what the root's own name may hold of *?[ made plain."""
        return "/".join(part for part in (self.pattern_root, glob.escape(under), pattern) if part)

    @property
    def pattern_root(self) -> str:
        """The root as it stands in a glob pattern."""
        return glob.escape(self.root)

    def find_damaged(self) -> str | None:
        """The first local Parquet file that cannot be read in full, or None. Reads the whole lake."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self.bucket is not None:
            return None
        for path in sorted(glob.iglob(f"{self.pattern_root}/**/*.parquet", recursive=True)):
            try:
                with pq.ParquetFile(path) as file:
                    for _ in file.iter_batches():
                        pass
            except (pa.ArrowException, OSError):
                return path
        return None


def _below(under: str, pattern: str) -> str:
    """A pattern in the folder `under`, whose name is taken as it is."""
    return f"{glob.escape(under)}/{pattern}" if under else pattern
