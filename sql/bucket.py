"""A lake's bucket as DuckDB may see it: what lies under one root, for reading.

DuckDB's `allowed_directories` compares the text of a path, and leaves it to a registered file system what
`root/../other` means: some (SFTP, a local folder, a server that decodes %2e) climb out. So DuckDB is given
this file system in place of the bucket's own.
"""

from __future__ import annotations

import glob
from typing import Any, NoReturn
from urllib.parse import unquote

from fsspec import AbstractFileSystem


class ReadOnlyBucket(AbstractFileSystem):
    """The part of an fsspec file system under `root` (protocol://path); has nothing that writes."""

    cachable = False

    def __init__(self, remote: Any, root: str) -> None:
        super().__init__()
        self.protocol = root.partition("://")[0]
        self._remote = remote
        self._root = root
        self._plain_root = self._plain(root)

    def open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> Any:
        """The file at `path`; PermissionError for any mode but reading."""
        if mode != "rb":
            self._refuse(path, "is read only")
        return self._remote.open(self._inside(path), mode)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Facts of a file or folder; exists, isfile, isdir and size follow from it."""
        return self._remote.info(self._inside(path))

    def modified(self, path: str) -> Any:
        """Time of the last change."""
        return self._remote.modified(self._inside(path))

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What a folder holds."""
        return self._remote.ls(self._inside(path), detail=detail)

    def glob(self, path: str, *_: Any, **__: Any) -> list[str]:
        """Paths that match a pattern; in it the root may stand with its own *?[ made plain."""
        return [found for found in self._remote.glob(self._inside(path)) if self._holds(found)]

    def unstrip_protocol(self, name: str) -> str:
        """`name` as an address under the root, as it was given."""
        return self._root + self._plain(name).removeprefix(self._plain_root)

    def _plain(self, path: str) -> str:
        return str(self._remote._strip_protocol(path))

    def _holds(self, path: str) -> bool:
        plain = self._plain(path)
        roots = (self._plain_root, glob.escape(self._plain_root))
        within = any(plain == root or plain.startswith(root + "/") for root in roots)
        return within and ".." not in unquote(plain).split("/")

    def _inside(self, path: str) -> str:
        return path if self._holds(path) else self._refuse(path, "holds no such path")

    def _refuse(self, path: str, why: str) -> NoReturn:
        raise PermissionError(f"{path} is refused: the lake at {self._root} {why}")
