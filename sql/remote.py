"""A bucket through fsspec: listed once, its files read by ranges, what is wrong with it said in one sentence.

A listing costs a request for 1,000 files, and every look at a single file another: so what there is, and
how large, is taken from one listing, and of a file's end (sql/footers.py) one range is read, many side by
side.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from hashlib import md5
from io import BytesIO
from threading import Lock
from typing import Any, NamedTuple

from fsspec.utils import glob_translate

from sql.errors import LakeError

S3 = ("s3", "s3a")
"""Protocols of s3fs, the client that the extra `s3` of this package brings."""

TAIL = 2**16
"""Bytes of a file's end that are read at once: more than the footer of a partition file has."""

SMALL = 2 * TAIL
"""Bytes of a file that is read whole where its end is asked for: mostly it is read later on."""

WHOLE = 2**20
"""Bytes of a file that is read whole, and kept, where it is opened."""

AHEAD = 2**16
"""Bytes read beyond what is asked for: narrow columns stand side by side."""

SIDE_BY_SIDE = 128
"""Ranges that are asked for at a time."""

LARGEST_PUT = 5 * 2**30
"""What S3 takes in one request."""


class BucketFault(OSError):
    """A fault of the network or of the server, which may be over at the next try."""


class Listed(NamedTuple):
    """What a listing says of a file: its bytes, when it changed last, and a digest of what is in it."""

    size: int
    modified: Any = None
    tag: str | None = None


class _Kept:
    """Files that were read, up to so many bytes: those that were asked for last."""

    def __init__(self, bytes: int) -> None:
        self._left = bytes
        self._files: OrderedDict[tuple[Any, ...], bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[Any, ...]) -> bytes | None:
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
            return self._files.get(key)

    def put(self, key: tuple[Any, ...], data: bytes) -> None:
        with self._lock:
            self._left += len(self._files.pop(key, b"")) - len(data)
            self._files[key] = data
            while self._left < 0:
                self._left += len(self._files.popitem(last=False)[1])


KEPT = _Kept(2**27)
"""Of all lakes of this process: every step of a run opens its lake anew."""


class Bucket:
    """The part of an fsspec file system under one root; paths given and returned are relative to it."""

    def __init__(self, url: str, remote: Any = None) -> None:
        """`remote`: an fsspec file system; by default that of the URL's protocol."""
        self.protocol, _, place = url.partition("://")
        if not place.strip("/"):
            raise LakeError(f"{url} names no bucket: give {self.protocol}://bucket/prefix")
        self.remote = _file_system(url, self.protocol) if remote is None else remote
        self.path = str(self.remote._strip_protocol(url.rstrip("/")))
        self.root = f"{self.protocol}://{self.path}"

    @cached_property
    def _files(self) -> dict[str, Listed]:
        """What the listing says of every file, by path."""
        prefix = self.path.rstrip("/") + "/"
        with named_faults(self.root):
            self.remote.invalidate_cache()
            try:
                found = self.remote.find(self.path, detail=True)
            except FileNotFoundError:
                if self.protocol in S3:  # a prefix without files is no error there: the bucket is missing
                    raise
                found = {}
        self.remote.invalidate_cache()  # it keeps a second copy of the listing
        return {
            path: Listed(int(facts["size"] or 0), facts.get("LastModified"), facts.get("ETag"))
            for whole, facts in found.items()
            if (path := whole.removeprefix(prefix)) != self.path and not path.endswith("/")
        }

    @cached_property
    def _paths(self) -> list[str]:
        return sorted(self._files)

    def refresh(self) -> None:
        """Forget what files there are: another process may have written."""
        for name in ("_files", "_paths"):
            self.__dict__.pop(name, None)

    def paths(self, prefix: str = "") -> list[str]:
        """Paths that start with `prefix`, sorted."""
        first = bisect_left(self._paths, prefix)
        return self._paths[first : bisect_left(self._paths, prefix + "\U0010ffff", first)]

    def listed(self, path: str) -> Listed | None:
        """What the listing says of a file; None where it has no such file."""
        return self._files.get(path)

    def matches(self, pattern: str) -> Iterator[str]:
        """Paths of the files that match a glob pattern, sorted; no hidden ones, as in a folder."""
        plain = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
        regex = re.compile(glob_translate(pattern))
        return (path for path in self.paths(plain) if regex.match(path) and "/." not in f"/{path}")

    def folders(self, pattern: str) -> list[str]:
        """Paths of the folders that match a glob pattern, sorted."""
        plain = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
        regex, depth = re.compile(glob_translate(pattern)), pattern.count("/") + 1
        found = {
            "/".join(parts[:depth])
            for path in self.paths(plain)
            if len(parts := path.split("/", depth)) > depth
        }
        return sorted(folder for folder in found if regex.match(folder))

    def open(self, path: str, ahead: int = AHEAD) -> Any:
        """A file, to read bytes from. What the listing says of it saves a request for each.

        One that was replaced since it was listed is refused (OSError), not read in part; a small one that
        was read before comes as it was listed.
        """
        listed = self.listed(path)
        if listed is None or not listed.tag or not 0 < listed.size <= WHOLE:
            return self._open(path, listed, ahead)
        if (data := KEPT.get(key := self._key(path, listed))) is None:
            with self._open(path, listed, listed.size) as file:
                data = file.read()
            if len(data) == listed.size:
                KEPT.put(key, data)
        return BytesIO(data)

    def _open(self, path: str, listed: Listed | None, ahead: int) -> Any:
        if listed is None or self.protocol not in S3:
            return self.remote.open(f"{self.path}/{path}", "rb", block_size=ahead)
        file = self.remote.open(f"{self.path}/{path}", "rb", block_size=ahead, size=listed.size)
        file.details = {"name": f"{self.path}/{path}", "size": listed.size, "ETag": listed.tag}
        if listed.tag:
            file.read_kw = {**file.read_kw, "IfMatch": listed.tag}
        return file

    def tails(self, paths: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """The last bytes of files, None of a file that is gone; a request a file, many side by side.

        Small files that were read before come as they were listed, without a request.
        """
        for first in range(0, len(paths), SIDE_BY_SIDE):
            some = {path: self.listed(path) for path in paths[first : first + SIDE_BY_SIDE]}
            kept = {path: KEPT.get(self._key(path, listed)) for path, listed in some.items() if listed}
            wanted = [path for path in some if kept.get(path) is None]
            found = kept | dict(zip(wanted, self._ends(wanted), strict=True))
            yield from ((path, found[path]) for path in some)

    def _ends(self, paths: Sequence[str]) -> Iterator[bytes | None]:
        """The same, of files that are not kept; small ones are from then on."""
        if not paths:
            return
        listed = [self.listed(path) for path in paths]
        sizes = [one and one.size for one in listed]
        starts = [-TAIL if size is None else 0 if size <= SMALL else size - TAIL for size in sizes]
        with named_faults(self.root):
            full = [f"{self.path}/{path}" for path in paths]
            found = self.remote.cat_ranges(full, starts, sizes, on_error="return")
            for one in found:
                if isinstance(one, Exception) and not isinstance(one, FileNotFoundError):
                    raise one
        for path, facts, end in zip(paths, listed, found, strict=True):
            # a file that was replaced since it was listed is not what its digest says
            if facts and not isinstance(end, Exception) and _is(end, facts):
                KEPT.put(self._key(path, facts), end)
            yield None if isinstance(end, Exception) else end

    def put(self, path: str, data: bytes, kind: str | None = None) -> None:
        """Write a file, of a media type if one is given, in one request: a reader sees all of it or
        none, and a stop leaves nothing behind.

        (Parts of an upload in parts that was stopped stay, unseen, and cost money.)
        """
        whole: dict[str, Any] = {"chunksize": LARGEST_PUT} if self.protocol in S3 else {}
        whole |= {"ContentType": kind} if kind and self.protocol in S3 else {}
        with named_faults(self.root):
            self.remote.pipe_file(f"{self.path}/{path}", data, **whole)
        self._note(path, Listed(len(data), datetime.now(UTC)))

    def remove(self, path: str) -> None:
        """Delete a file."""
        with named_faults(self.root):
            self.remote.rm_file(f"{self.path}/{path}")
        self._note(path, None)

    def _key(self, path: str, listed: Listed) -> tuple[Any, ...]:
        """What tells this file from others, and from what it was; without a digest none is kept."""
        return self.root, path, listed.tag

    def _note(self, path: str, listed: Listed | None) -> None:
        """Keep the listing, where there is one, as it would be now."""
        if "_files" in self.__dict__:
            self._files.pop(path, None)
            if listed:
                self._files[path] = listed
            self.__dict__.pop("_paths", None)


def _is(data: bytes, listed: Listed) -> bool:
    """Whether this is all of the listed file: S3's digest of an object put at once is its MD5, as a rule."""
    return len(data) == listed.size and md5(data).hexdigest() == (listed.tag or "").strip('"')


def _file_system(url: str, protocol: str) -> Any:
    import fsspec

    region = os.environ.get("AWS_REGION")  # the AWS SDKs for other languages read it, Python's does not
    options = {"client_kwargs": {"region_name": region}} if region and protocol in S3 else {}
    try:
        return fsspec.filesystem(protocol, **options)
    except ImportError as error:
        how = (
            "pip install 'relevance-lake[s3]'"
            if protocol in S3
            else f"install fsspec's package for {protocol}"
        )
        raise LakeError(f"{url} needs a package that is not here ({error}): {how}") from None
    except ValueError as error:
        known = "a folder, or s3://bucket/prefix"
        raise LakeError(f"{url} cannot be opened ({error}): name {known}") from None


@contextmanager
def named_faults(root: str) -> Iterator[None]:
    """What a bucket refuses comes as a LakeError that says what to do, any other fault as a BucketFault."""
    try:
        yield
    except Exception as error:
        if (translated := _translated(root, error)) is None:
            raise
        raise translated from error


def _translated(root: str, error: Exception) -> Exception | None:
    """What an error of the S3 client means; None where it says so itself or is none of it."""
    protocol, _, path = root.partition("://")
    if protocol not in S3:
        is_named = isinstance(error, BucketFault | FileNotFoundError | PermissionError)
        is_fault = isinstance(error, OSError) and not is_named and (error.errno or type(error) is not OSError)
        return BucketFault(error.errno, f"{root}: {error}") if is_fault else None
    server = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "Amazon S3"
    said = str(error).partition(" or be an ARN")[0].replace("\n", " ")
    if isinstance(error, FileNotFoundError):
        name = path.partition("/")[0]
        missing = f"there is no bucket {name} at {server}: make it first, or mend the address {root}"
        answer = getattr(error.__cause__, "response", {})
        return LakeError(missing) if answer.get("Error", {}).get("Code") == "NoSuchBucket" else None
    if isinstance(error, PermissionError):
        return LakeError(
            f"{root}: {server} refuses access ({said}): look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
            "AWS_SESSION_TOKEN, and at what the key is allowed to do"
        )
    if isinstance(error, OSError):  # pyarrow has them of a damaged file, with no number
        return BucketFault(f"{root}: {server}: {said}") if error.errno is not None else None
    if not type(error).__module__.startswith(("botocore", "aiobotocore")):
        return None
    kind = type(error).__name__
    if kind in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
        return LakeError(
            f"{root}: no credentials ({said}): "
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    if kind in ("ParamValidationError", "InvalidRegionError", "ProfileNotFound", "NoRegionError"):
        return LakeError(f"{root}: {said}; mend the address, AWS_REGION or AWS_PROFILE")
    return BucketFault(f"{root}: {server} does not answer ({said}); AWS_ENDPOINT_URL says where it is")
