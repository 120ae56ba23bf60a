"""Where a lake lies: a local folder, or a bucket through fsspec. Lists it; reads no rows."""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sql.guard import LakeError
from sql.tables import TABLES

if TYPE_CHECKING:
    import duckdb

HOW_TO_MAKE_ONE = "make one with: relevance-lake run demo --lake"


class Storage:
    """The folder or bucket of one lake. Paths given and returned are relative to its root."""

    def __init__(self, url: str) -> None:
        self.protocol, separator, _ = url.partition("://")
        self._remote: Any = None
        if not separator or self.protocol == "file":
            self.root = os.path.realpath(url.removeprefix("file://"))
            if "\\" in self.root.replace(os.sep, "/"):
                raise LakeError(f"{self.root}: DuckDB takes \\ for a separator; rename the folder")
            return
        self.root = url
        try:
            import fsspec

            self._remote = fsspec.filesystem(self.protocol)
        except (ImportError, ValueError) as error:
            raise LakeError(
                f"no way to read {url}: {error}; install the fsspec package for {self.protocol}://"
            ) from None
        path = self._remote._strip_protocol(url.rstrip("/"))
        self.root = f"{self.protocol}://{path}"

    def require_lake(self) -> None:
        """Raise LakeError unless the root exists and holds at least one table of a lake."""
        known = [*TABLES, "results"]
        if self._remote is not None:
            if not any(self._remote.exists(f"{self.root}/{name}") for name in known):
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
        if self._remote is not None:
            from sql.bucket import ReadOnlyBucket

            connection.register_filesystem(ReadOnlyBucket(self._remote, self.root))

    def folders(self, pattern: str) -> list[str]:
        """Names of the folders that match `pattern`, sorted."""
        if self._remote is not None:
            return sorted(
                os.path.basename(path.rstrip("/"))
                for path in self._remote.glob(f"{self.root}/{pattern}")
                if self._remote.isdir(path)
            )
        found = glob.iglob(f"{pattern}/", root_dir=self.root)
        return sorted(os.path.basename(path.rstrip(os.sep)) for path in found)

    def files(self, folder: str) -> list[str]:
        """Paths of all files below a folder, sorted, but those behind a name that starts with a dot."""
        if self._remote is not None:
            prefix = self._remote._strip_protocol(self.root).rstrip("/") + "/"
            found = [path.removeprefix(prefix) for path in self._remote.find(f"{self.root}/{folder}")]
            return sorted(path for path in found if "/." not in path)
        paths = []
        for place, folders, names in os.walk(os.path.join(self.root, folder), followlinks=True):
            folders[:] = [name for name in folders if not name.startswith(".")]
            within = os.path.relpath(place, self.root).replace(os.sep, "/")
            paths += [f"{within}/{name}" for name in names if not name.startswith(".")]
        return sorted(paths)

    def open(self, path: str) -> Any:
        """A file of the lake, to read bytes from."""
        if self._remote is not None:
            # the end of a file is all that a footer takes
            return self._remote.open(f"{self.root}/{path}", block_size=2**16)
        return pa.OSFile(os.path.join(self.root, path))

    @property
    def readers(self) -> int:
        """How many files are best opened side by side."""
        return 32 if self._remote is not None else 4

    def has(self, pattern: str, under: str = "") -> bool:
        """Whether a file matches `pattern` in the folder `under`."""
        if self._remote is not None:
            return bool(self._remote.glob("/".join(part for part in (self.root, under, pattern) if part)))
        found = glob.iglob(pattern, root_dir=os.path.join(self.root, under))
        return next(iter(found), None) is not None

    def matches(self, pattern: str, under: str = "") -> list[str]:
        """Paths of the files that match `pattern` in the folder `under`, sorted."""
        if self._remote is not None:
            prefix = self._remote._strip_protocol(self.root).rstrip("/") + "/"
            found = self._remote.glob("/".join(part for part in (self.root, under, pattern) if part))
            return sorted(path.removeprefix(prefix) for path in found)
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

        if self._remote is not None:
            return None
        for path in sorted(glob.iglob(f"{self.pattern_root}/**/*.parquet", recursive=True)):
            try:
                with pq.ParquetFile(path) as file:
                    for _ in file.iter_batches():
                        pass
            except (pa.ArrowException, OSError):
                return path
        return None
