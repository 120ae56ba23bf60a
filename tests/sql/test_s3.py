"""A lake in a bucket: an S3 server on loopback (moto), the s3fs client, all that a query may try there."""

from __future__ import annotations

import glob
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from lakes import toy_rows, write_lake

from sql.bucket import ReadOnlyBucket
from sql.catalog import LakeDatabase, LakeError, open_lake
from sql.remote import Bucket

SECRET = b"not of the lake"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lake(tmp_path_factory.mktemp("s3") / "lake", toy_rows(image_ids=(0, 1)))


@pytest.fixture(scope="module")
def bucket(local: Path) -> Iterator[Any]:
    """An S3 file system with the lake at s3://bucket/lake, and secrets beside it."""
    server = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patched.setenv("AWS_ACCESS_KEY_ID", "key")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        files = s3fs.S3FileSystem()
        for name in ("bucket", "other"):
            files.mkdir(name)
        files.put(str(local), "bucket/lake", recursive=True)
        for place in ("bucket", "bucket/secret", "bucket/lake-secret", "bucket/lake2", "other"):
            files.pipe(f"{place}/note.txt", SECRET)
        yield files
        s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


@pytest.fixture(scope="module")
def lake(bucket: Any) -> Iterator[LakeDatabase]:
    with open_lake("s3://bucket/lake", threads=2) as opened:
        yield opened


def keys(bucket: Any) -> list[str]:
    bucket.invalidate_cache()
    return sorted(bucket.find("bucket") + bucket.find("other"))


@pytest.mark.parametrize("url", ["s3://bucket/lake", "s3://bucket/lake/", "s3a://bucket/lake"])
def test_a_bucket_answers_as_the_folder_does(bucket: Any, local: Path, url: str) -> None:
    question = "select method, subject, image_id, target, rank from relevance order by all"
    with open_lake(url) as remote, open_lake(str(local)) as folder:
        assert remote.query(question).equals(folder.query(question))
        for name in ("study_overview", "topk_overlap"):
            assert remote.analyse(name).equals(folder.analyse(name))
        assert remote.query(f"from glob('{remote.url}/images/*/*.parquet')").height == 1


def test_no_lake_in_the_bucket(bucket: Any) -> None:
    with pytest.raises(LakeError, match="no lake at s3://bucket/secret"):
        open_lake("s3://bucket/secret")


OUTSIDE = [
    "s3://bucket/note.txt",
    "s3://bucket/secret/note.txt",
    "s3://bucket/lake-secret/note.txt",
    "s3://bucket/lake2/note.txt",
    "s3://bucket/lake*/note.txt",
    "s3://bucket/*",
    "s3://other/note.txt",
    "s3://bucket/lake/../note.txt",
    "s3://bucket/lake/../secret/note.txt",
    "s3://bucket/lake/../../other/note.txt",
    "s3://bucket/lake/images/../../secret/note.txt",
    "s3://bucket/lake/*/../../secret/note.txt",
    "s3://bucket/lake/**/../secret/*",
    "s3://bucket/lake/%2e%2e/secret/note.txt",
    "s3://bucket/lake/%2E%2E/%2E%2E/other/note.txt",
    "s3://bucket//lake/../note.txt",
    "s3a://bucket/note.txt",
    "s3a://bucket/lake/../note.txt",
    "S3://bucket/note.txt",
    "http://server/other/note.txt",
    "/etc/passwd",
    "file:///etc/passwd",
]
READERS = ("read_text", "read_blob", "read_csv", "read_json", "read_parquet", "glob", "parquet_metadata")


@pytest.mark.parametrize("address", OUTSIDE)
def test_nothing_outside_the_lake_is_reached(bucket: Any, lake: LakeDatabase, address: str) -> None:
    address = address.replace("http://server", os.environ["AWS_ENDPOINT_URL"])
    for read in READERS:
        with pytest.raises(LakeError) as refused:
            lake.query(f"from {read}('{address}')")
        assert SECRET.decode() not in str(refused.value)
        assert "Traceback" not in str(refused.value)
    for statement in (f"from '{address}'", f"from query_table('{address}')"):
        with pytest.raises(LakeError):
            lake.query(statement)


@pytest.mark.parametrize("dots", ["[.][.]", "?.", ".*"])
def test_no_pattern_climbs_out(lake: LakeDatabase, dots: str) -> None:
    for read in ("read_text", "glob"):
        assert lake.query(f"from {read}('s3://bucket/lake/{dots}/secret/*')").height == 0


WRITING = [
    "copy (select 1) to '{place}/evil.csv'",
    "copy images to '{place}/evil.parquet'",
    "copy (select 1 as a, 2 as b) to '{place}/evil' (format parquet, partition_by a)",
    "with x as (copy (select 1) to '{place}/evil.csv') from x",
    "explain analyze copy (select 1) to '{place}/evil.csv'",
    "export database '{place}/evil'",
    "attach '{place}/evil.duckdb' as evil",
]


@pytest.mark.parametrize("place", ["s3://bucket/lake", "s3://bucket/lake/../secret", "s3://other", "/tmp"])
@pytest.mark.parametrize("statement", WRITING)
def test_nothing_is_written(bucket: Any, lake: LakeDatabase, statement: str, place: str) -> None:
    before = keys(bucket)
    with pytest.raises(LakeError, match=r"read only|only statements that read"):
        lake.query(statement.replace("{place}", place))
    # and not past the guard either: the file system that DuckDB has cannot write
    with pytest.raises(duckdb.Error), lake.connection.cursor() as cursor:
        cursor.execute(statement.replace("{place}", place))
    assert keys(bucket) == before
    assert not list(Path("/tmp").glob("evil*"))


def test_statements_hidden_in_text_are_refused(bucket: Any, lake: LakeDatabase) -> None:
    before = keys(bucket)
    copy = "json_serialize_sql('with x as (copy (select 1) to ''s3://bucket/lake/evil.csv'') from x')"
    hidden = (
        f"json_execute_serialized_sql({copy})",
        f"destroy_external_resource('json_execute_serialized_sql', {copy})",
    )
    for call in hidden:
        inside = call.replace("'", "''")
        for statement in (f"from {call}", f"explain analyze from {call}", f"from query('from {inside}')"):
            with pytest.raises(LakeError, match="read only"):
                lake.query(statement)
    assert keys(bucket) == before


def test_the_command_asks_a_bucket_and_refuses_the_same(bucket: Any) -> None:
    def ask(query: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-c",
            "from flows.cli import main; main()",
            "sql",
            query,
            "--format",
            "csv",
        ]
        environment = {**os.environ, "RELEVANCE_LAKE": "s3://bucket/lake"}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    before = keys(bucket)
    answer = ask("select count(*) as images from images")
    assert (answer.returncode, answer.stdout) == (0, "images\n2\n"), answer.stderr
    for query in (
        "copy (select 1) to 's3://bucket/lake/evil.csv'",
        "from read_text('s3://bucket/lake/../note.txt')",
        "from read_text('/etc/passwd')",
    ):
        refused = ask(query)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith("error: ") and "Traceback" not in refused.stderr
    assert keys(bucket) == before


@pytest.mark.parametrize("protocol", ["memory", "dir", "local"])
def test_any_file_system_is_held_to_its_root(tmp_path: Path, protocol: str) -> None:
    """One that takes `..` for the folder above, as a local folder and SFTP do, among them."""
    fsspec = pytest.importorskip("fsspec")
    remote = {
        "memory": lambda: fsspec.filesystem("memory"),
        "dir": lambda: fsspec.filesystem("dir", path=str(tmp_path), fs=fsspec.filesystem("file")),
        "local": lambda: fsspec.filesystem("file"),
    }[protocol]()
    home = str(tmp_path) if protocol == "local" else "/held" if protocol == "memory" else "held"
    remote.makedirs(f"{home}/lake [1]/a", exist_ok=True)
    remote.pipe(f"{home}/lake [1]/a/x.txt", b"x")
    remote.pipe(f"{home}/note.txt", SECRET)
    root = f"{protocol}://{remote._strip_protocol(f'{home}/lake [1]')}"
    held = ReadOnlyBucket(Bucket(root, remote))
    with held.open(f"{root}/a/x.txt") as file:
        assert file.read() == b"x"
    assert held.isfile(f"{root}/a/x.txt") and held.isdir(f"{root}/a") and held.size(f"{root}/a/x.txt") == 1
    assert [held.unstrip_protocol(path) for path in held.ls(f"{root}/a", detail=False)] == [f"{root}/a/x.txt"]
    assert held.glob(f"{glob.escape(root)}/*/*.txt") == [remote._strip_protocol(f"{root}/a/x.txt")]
    for path in (f"{root}/../note.txt", f"{root}/a/../../note.txt", f"{root}/%2e%2e/note.txt", f"{root}2"):
        for look in (held.open, held.info, held.ls, held.glob, held.modified, held.size):
            with pytest.raises(PermissionError, match="is refused"):
                look(path)
    for write in (
        lambda: held.open(f"{root}/evil", "wb"),
        lambda: held.open(f"{root}/a/x.txt", "ab"),
        lambda: held.open(f"{root}/a/x.txt", "r+b"),
    ):
        with pytest.raises(PermissionError, match="read only"):
            write()
    for write in (held.rm_file, held.touch, lambda path: held.pipe_file(path, b""), held.created):
        with pytest.raises((PermissionError, NotImplementedError)):
            write(f"{root}/a/x.txt")
    assert remote.cat_file(f"{home}/lake [1]/a/x.txt") == b"x"
