"""A lake's bucket as DuckDB may see it: what lies under one root, for reading.

DuckDB's `allowed_directories` compares the text of a path, and leaves it to a registered file system what
`root/../other` means: some (SFTP, a local folder, a server that decodes %2e) climb out. So DuckDB is given
this file system in place of the bucket's own. It looks for files in one listing of the lake, made when the
lake is opened: a query asks the bucket for nothing but bytes.
"""

from __future__ import annotations

import glob
from typing import Any, NoReturn
from urllib.parse import unquote

from fsspec import AbstractFileSystem

from sql.remote import Bucket

AHEAD = 2**20
"""Bytes read beyond what DuckDB asks for."""


class ReadOnlyBucket(AbstractFileSystem):
    """What is under the root of a bucket; has nothing that writes."""

    cachable = False

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self.protocol = bucket.protocol
        self._bucket = bucket
        self._remote = bucket.remote
        self._root = bucket.root
        self._plain_root = self._plain(bucket.root)

    def open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> Any:
        """The file at `path`; PermissionError for any mode but reading."""
        if mode != "rb":
            self._refuse(path, "is read only")
        return self._bucket.open(self._within(path), AHEAD)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Facts of a file or folder; exists, isfile, isdir and size follow from it."""
        listed = self._bucket.listed(self._within(path))
        if listed is None:  # a folder, or a file that was written since
            return self._remote.info(path)
        return {"name": self._plain(path), "size": listed.size, "type": "file"}

    def modified(self, path: str) -> Any:
        """Time of the last change."""
        listed = self._bucket.listed(self._within(path))
        return (listed and listed.modified) or self._remote.modified(path)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What a folder holds."""
        self._within(path)
        return self._remote.ls(path, detail=detail)

    def glob(self, path: str, *_: Any, **__: Any) -> list[str]:
        """Paths of the files that match a pattern; in it the root may stand with its own *?[ made plain."""
        within = self._within(path)
        found = self._bucket.matches(within) if glob.has_magic(within) else [within]
        return [f"{self._plain_root}/{file}" for file in found]

    def unstrip_protocol(self, name: str) -> str:
        """`name` as an address under the root, as it was given."""
        return self._root + self._plain(name).removeprefix(self._plain_root)

    def _plain(self, path: str) -> str:
        return str(self._remote._strip_protocol(path))

    def _within(self, path: str) -> str:
        """The path below the root; PermissionError for one that is outside."""
        plain = self._plain(path)
        for root in (self._plain_root, glob.escape(self._plain_root)):
            if plain == root or plain.startswith(root + "/"):
                if ".." in unquote(plain).split("/"):
                    break
                return plain.removeprefix(root).removeprefix("/")
        self._refuse(path, "holds no such path")

    def _refuse(self, path: str, why: str) -> NoReturn:
        raise PermissionError(f"{path} is refused: the lake at {self._root} {why}")
