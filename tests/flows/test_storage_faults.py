"""Storage that fails now and then: what passes is waited out, the rest is said, and no partition is wrong."""

import errno
import os
import pickle
from collections import Counter
from contextlib import suppress
from hashlib import md5
from pathlib import Path
from random import Random
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileOpener, LocalFileSystem

from flows import storage_faults, whole_files
from flows.errors import UserError
from flows.lake import Lake
from flows.storage_faults import WAITS, StorageFault, passes, steadily
from sql.errors import LakeError, StorageSilent
from sql.remote import BucketFault
from tests.flows import worker
from tests.flows.stored import assert_same_lakes
from tests.flows.test_lake import images, partition


class Faults:
    """A seeded schedule of faults. rate: of the operations that are asked about."""

    def __init__(self) -> None:
        self.rate, self.random, self.injected = 0.0, Random(0), Counter()

    def maybe(self, operation: str, *kinds: str) -> str:
        """Raise a fault, or return the kind of one that the operation is to play; mostly nothing."""
        if self.random.random() >= self.rate:
            return ""
        kind = self.random.choice(kinds)
        if kind == "ENOSPC" and self.random.random() < 0.8:  # each ends a run
            kind = "EIO"
        self.injected[f"{operation} {kind}"] += 1
        if kind == "timeout":
            raise TimeoutError("the storage does not answer")
        if kind in ("EIO", "ENOSPC", "ECONNRESET"):
            raise OSError(getattr(errno, kind), os.strerror(getattr(errno, kind)))
        return kind


FAULTS = Faults()
READING = ("EIO", "timeout", "ECONNRESET")


class FaultyOpener(LocalFileOpener):
    def read(self, *arguments: Any) -> Any:
        FAULTS.maybe("read", *READING)
        assert self.f is not None
        return self.f.read(*arguments)


def faulty_open(self: Any, path: str, mode: str = "rb", block_size: Any = None, **rest: Any) -> Any:
    FAULTS.maybe("open", *READING)
    return FaultyOpener(path, mode, fs=self, **rest)


class FaultyFileSystem(LocalFileSystem):
    """A folder as a bucket whose requests fail; listings have digests, as those of S3."""

    protocol = "faulty"
    _open = faulty_open  # type: ignore[assignment]

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, str):
            path = path.removeprefix("faulty://")
        return super()._strip_protocol(path)

    def __init__(self, **options: Any) -> None:
        super().__init__(auto_mkdir=True)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        kind = FAULTS.maybe("put", "EIO", "ENOSPC", "timeout", "partial", "silently partial")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(value[: len(value) // 2] if kind else value)
        if kind == "partial":
            raise OSError(errno.EIO, "the connection was lost")

    def find(self, *arguments: Any, **options: Any) -> Any:
        FAULTS.maybe("list", *READING)
        found: Any = super().find(*arguments, **options)
        if isinstance(found, dict):
            for path, facts in found.items():
                with suppress(FileNotFoundError):  # gone since
                    facts["ETag"] = f'"{md5(Path(path).read_bytes()).hexdigest()}"'
        return found

    def rm_file(self, path: str) -> None:
        FAULTS.maybe("delete", *READING)
        super().rm_file(path)


fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)


class FaultyOS:
    """`os` as flows/whole_files.py sees it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, handle: int) -> None:
        FAULTS.maybe("sync", "EIO", "ENOSPC")
        os.fsync(handle)

    def replace(self, source: str, target: str) -> None:
        FAULTS.maybe("rename", "EIO")
        os.replace(source, target)


class FaultyFile:
    """An open file whose writes end early."""

    def __init__(self, path: str, mode: str) -> None:
        FAULTS.maybe("create", "EIO", "ENOSPC")
        self.file = open(path, mode)  # noqa: SIM115

    def __enter__(self) -> "FaultyFile":
        return self

    def __exit__(self, *_: Any) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: bytes) -> None:
        if FAULTS.maybe("write", "EIO", "ENOSPC", "partial"):
            self.file.write(data[: len(data) // 2])
            raise OSError(errno.EIO, "Input/output error")
        self.file.write(data)


@pytest.fixture
def faults(monkeypatch):
    """Both kinds of lakes on storage that fails, without waiting between attempts."""
    monkeypatch.setattr(storage_faults, "WAITS", (0.0,) * len(WAITS))
    monkeypatch.setattr(whole_files, "os", FaultyOS())
    monkeypatch.setattr(whole_files, "open", FaultyFile, raising=False)
    monkeypatch.setattr(LocalFileSystem, "_open", faulty_open)
    FAULTS.__init__()
    yield FAULTS
    FAULTS.rate = 0.0


@pytest.fixture
def waits(monkeypatch):
    """Seconds that were slept, without sleeping."""
    slept: list[float] = []
    monkeypatch.setattr(storage_faults.time, "sleep", slept.append)
    return slept


def failing(times: int, error: Exception):
    left = [error] * times

    def attempt() -> str:
        if left:
            raise left.pop()
        return "done"

    return attempt


def test_a_fault_that_passes_is_waited_out_for_longer_and_longer(waits):
    assert steadily("lake/x", "read", failing(3, OSError(errno.EIO, "I/O error"))) == "done"
    assert waits == [1.0, 2.0, 4.0]


def test_a_fault_that_stays_is_said_with_place_and_remedy(waits):
    with pytest.raises(StorageFault) as caught:
        steadily("lake/x", "written", failing(99, TimeoutError("no answer")))
    assert waits == list(WAITS)
    said = str(caught.value)
    assert said.startswith("lake/x could not be written (TimeoutError: no answer), 6 times in 31 s.")
    assert "run the same command" in said
    assert passes(caught.value)
    assert passes(pickle.loads(pickle.dumps(caught.value)))


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "disk is full"), (errno.EACCES, "your rights"), (errno.EROFS, "your rights")],
)
def test_what_does_not_pass_is_said_at_once(waits, number, said):
    with pytest.raises(StorageFault, match=said) as caught:
        steadily("lake/x", "written", failing(1, OSError(number, os.strerror(number))))
    assert waits == [] and not passes(caught.value)


@pytest.mark.parametrize("error", [ValueError("a bug"), FileNotFoundError("gone"), KeyError("a bug")])
def test_nothing_else_is_tried_again(waits, error):
    with pytest.raises(type(error)):
        steadily("lake/x", "read", failing(1, error))
    assert waits == []


def test_faults_of_an_s3_client_pass():
    botocore = pytest.importorskip("botocore.exceptions")
    s3fs = pytest.importorskip("s3fs.errors")
    assert passes(botocore.EndpointConnectionError(endpoint_url="http://x"))
    assert passes(botocore.ReadTimeoutError(endpoint_url="http://x"))
    assert not passes(botocore.NoCredentialsError())
    for code, is_passing in (("SlowDown", True), ("InternalError", True), ("AccessDenied", False)):
        error = botocore.ClientError({"Error": {"Code": code, "Message": code}}, "PutObject")
        assert passes(s3fs.translate_boto_error(error)) is is_passing


@pytest.mark.parametrize("url", ["{}", "faulty://{}"])
def test_of_a_thousand_faults_none_leaves_a_wrong_file(faults, tmp_path, url):
    """Writes, longer files in place of shorter ones, reads: a file is there as it should be, or not."""
    rows = {n: images(n) for n in range(1, 40)}
    lake = Lake(url.format(tmp_path / "lake"))
    _ = lake.paths()
    said: list[str] = []
    faults.rate = 0.3
    while faults.injected.total() < 1000:
        n = faults.random.randint(1, 39)
        try:
            wanted = partition(n, shard=faults.random.randint(0, 3))
            path = lake.find(wanted) or lake.write(wanted, rows[n], {})
            assert lake.read(path).num_rows >= n
            if faults.random.random() < 0.3:
                batches = lake.batches(path, ["image_id"], 3)
                assert sum(batch.num_rows for batch in batches) == lake.read(path).num_rows
            if faults.random.random() < 0.2:
                lake.delete(path)
        except StorageFault as fault:
            said.append(str(fault))
        if faults.random.random() < 0.1:
            try:
                lake.refresh()
                _ = lake.paths()
            except StorageFault:
                lake.refresh()
    faults.rate = 0.0
    assert said and all(str(tmp_path) in one for one in said)
    again = Lake(str(tmp_path / "lake"))
    for path in again.paths():
        n = int(path.rpartition("-")[2].removesuffix(".parquet"))
        assert again.read(path).replace_schema_metadata(None).equals(rows[n]), path
    assert list((tmp_path / "lake").rglob(".tmp-*")) == []


@pytest.fixture(scope="module")
def undisturbed(study_file, tmp_path_factory):
    lake = tmp_path_factory.mktemp("undisturbed") / "lake"
    worker.run(str(study_file), str(lake), lambda text: None)
    return lake


@pytest.mark.slow
@pytest.mark.parametrize(("url", "rate"), [("{}", 0.05), ("faulty://{}", 0.3)])
def test_a_study_survives_a_hundred_faults_each(faults, study_file, undisturbed, tmp_path, url, rate):
    """All steps of a real study, as often as it takes; a run that a fault ends is started again, as a person
    would. A bucket is asked less often, since small files that were read are kept. What DuckDB itself reads
    of it is not tried again: there faults are rare.
    """
    reported: list[str] = []

    def say(text: str) -> None:
        is_querying = text in ("begin analyse", "begin report") and "://" in url
        faults.rate = 0.02 if is_querying else rate

    def finish(lake: Path) -> None:
        while len(reported) < 60:
            try:
                return worker.run(str(study_file), url.format(lake), say)
            except (UserError, LakeError, BucketFault) as error:
                reported.append(str(error))
        raise AssertionError(reported)

    for rounds in range(10):
        lake = tmp_path / f"lake-{rounds}"
        finish(lake)
        faults.rate = 0.0
        worker.run(str(study_file), str(lake), lambda text: None)
        assert_same_lakes(lake, undisturbed)
        if faults.injected.total() >= 100:
            break
    assert faults.injected.total() >= 100
    print(f"\n{url}: {dict(faults.injected)}; reported: {len(reported)}", *reported, sep="\n")


@pytest.mark.prefect
def test_a_task_is_run_again_for_a_passing_fault_of_storage_only(prefect_server):
    from prefect import flow, task

    errors = {
        "passes": StorageFault("the bucket does not answer", passes=True),
        "under a query": StorageSilent("the lake's storage did not answer"),
        "stays": StorageFault("the disk is full"),
        "a bug": ValueError("a bug"),
    }
    tried = Counter()

    at_once: dict[str, Any] = storage_faults.RETRIED | {"retry_delay_seconds": 0}

    @task(**at_once)
    def work(kind):
        tried[kind] += 1
        if tried[kind] < 3:
            raise errors[kind]

    @flow
    def works(kind):
        work(kind)

    for kind in ("passes", "under a query"):
        works(kind)
    for kind in ("stays", "a bug"):
        with pytest.raises(type(errors[kind])):
            works(kind)
    assert tried == {"passes": 3, "under a query": 3, "stays": 1, "a bug": 1}
