"""A study in a bucket, from the first image to the report: a real S3 server on loopback, the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from sql.catalog import open_lake
from tests.s3_server import Request, S3Server, s3_server

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

STUDY = """
name = "small"
limit = 2
batch_size = 16
methods = ["lrp-epsilon-0.01", "gradient"]

[[attacks]]
id = "lbfgs"
history = 8
"""
LAKE = "s3://bucket/lake"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@dataclass
class Told:
    """What a command gave back, and what it asked the server for."""

    code: int
    out: str
    err: str
    requests: list[Request]

    @property
    def of_files(self) -> list[Request]:
        """But for the lease, which comes, is extended, and goes, and for the log, which grows."""
        by_itself = ("/bucket/lake/lease.json", "/bucket/lake/logs/")
        return [request for request in self.requests if not request.path.startswith(by_itself)]

    @property
    def kinds(self) -> Counter[str]:
        return Counter(request.kind for request in self.requests)


class CommandLine:
    """`relevance-lake` in a process of its own, which knows the server from environment variables alone."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        self._server, self.folder = server, folder
        (folder / "small.toml").write_text(STUDY)

    def __call__(self, *words: str, **variables: str) -> Told:
        ours = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PREFECT_"))
        }
        ours["COLUMNS"] = "200"
        environment = ours | self._server.environment | {"AWS_EC2_METADATA_DISABLED": "true"} | variables
        command = [sys.executable, "-m", "flows.cli", *words]
        self._server.requests()
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.folder, timeout=1200,
            env={name: value for name, value in environment.items() if value},
        )  # fmt: skip
        return Told(done.returncode, done.stdout, done.stderr, self._server.requests())


@pytest.fixture(scope="module")
def typed(server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    return CommandLine(server, tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def run(typed: CommandLine) -> Told:
    """The study's first run."""
    told = typed("run", "small.toml", "--lake", LAKE)
    assert told.code == 0, told.err
    return told


@pytest.fixture(scope="module")
def files(run: Told, server: S3Server) -> list[str]:
    """Keys of the bucket after the first run."""
    import s3fs

    place = s3fs.S3FileSystem(key="key", secret="secret", endpoint_url=server.url)
    found = place.find("bucket")
    server.requests()
    return [path.removeprefix("bucket/lake/") for path in found]


@pytest.mark.prefect
def test_every_file_is_written_by_one_request(run: Told, files: list[str], typed: CommandLine) -> None:
    assert "Report: s3://bucket/lake/reports/small.html" in run.out
    assert "reports/small.html" in files and not any(name.startswith(".") for name in files)
    puts = Counter(request.path for request in run.of_files if request.method == "PUT")
    written = {path.removeprefix("/bucket/lake/").partition("?")[0] for path in puts}
    assert written == {name for name in files if not name.startswith("logs/")}
    assert max(puts.values()) <= 2  # what was checked is noted before and after the analyses
    assert not any(request.method in ("POST", "DELETE") for request in run.of_files)  # no upload in parts
    assert not list(typed.folder.glob("s3:*"))  # a URL that was taken for a folder


@pytest.mark.prefect
def test_status_asks_for_one_listing_and_the_end_of_each_file(files: list[str], typed: CommandLine) -> None:
    told = typed("status", "small.toml", "--lake", LAKE)
    assert told.code == 0 and "20 of 20" in told.out
    partitions = sum(
        name.startswith(("images", "predictions", "adversarials", "relevance")) for name in files
    )
    examples = sum(name.startswith("adversarials") for name in files)
    assert told.kinds["LIST"] == 1 and told.kinds["HEAD"] == 0
    # of examples also which of them succeeded, what the dataset and its predictions are, lease and last runs
    runs = sum(name.startswith("runs/") for name in files)
    assert told.kinds["GET"] <= partitions + examples + 4 + 1 + runs
    assert told.kinds.keys() <= {"LIST", "GET"}


@pytest.mark.prefect
def test_sql_reads_each_file_no_more_than_twice(files: list[str], typed: CommandLine) -> None:
    query = "select method, count(*) as maps from relevance group by all order by all"
    told = typed("sql", query, "--lake", LAKE, "--format", "csv")
    assert (told.code, told.out) == (0, "method,maps\ngradient,20\nlrp-epsilon-0.01,20\n"), told.err
    assert told.kinds["LIST"] == 1 and told.kinds["HEAD"] == 0
    assert told.kinds["GET"] <= 2 * len(files)
    assert told.kinds.keys() <= {"LIST", "GET"}


@pytest.mark.prefect
def test_a_second_run_computes_nothing_and_asks_little(files: list[str], typed: CommandLine) -> None:
    told = typed("run", "small.toml", "--lake", LAKE)
    assert told.code == 0 and "nothing to compute" in told.out, told.err
    heads = [request.path for request in told.of_files if request.method == "HEAD"]  # a lease is looked for
    assert told.kinds["LIST"] <= 5 and heads == []
    assert told.kinds["GET"] <= 4 * len(files)
    written = [request.path for request in told.of_files if request.method == "PUT"]
    paths = [path.removeprefix("/bucket/lake/").partition("?")[0] for path in written]
    assert [path for path in paths if not path.startswith("runs/")] == ["reports/small.html"]


@pytest.mark.prefect
def test_check_catalog_and_report(files: list[str], typed: CommandLine, server: S3Server) -> None:
    import duckdb
    import s3fs

    told = typed("check", "--lake", LAKE)
    assert told.code == 0 and "The lake is sound." in told.out, told.err
    told = typed("catalog", "--lake", LAKE, "--output", "views.duckdb")
    assert told.code == 0 and "httpfs" in told.out, told.err
    place = s3fs.S3FileSystem(key="key", secret="secret", endpoint_url=server.url)
    with duckdb.connect(typed.folder / "views.duckdb", read_only=True) as database:
        database.register_filesystem(place)
        assert database.execute("select count(*) from relevance").fetchone() == (40,)
    told = typed("report", "small.toml", "--lake", LAKE, "--output", "s3://bucket/shown/small.html")
    assert told.code == 0 and "s3://bucket/shown/small.html" in told.out, told.err
    assert place.info("bucket/shown/small.html")["ContentType"].startswith("text/html")
    told = typed("report", "small.toml", "--lake", LAKE, "--output", "here.html")
    assert told.code == 0, told.err
    page = (typed.folder / "here.html").read_text("utf-8")
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")


@pytest.mark.prefect
def test_a_bucket_holds_what_a_folder_does(
    files: list[str], server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    place = s3fs.S3FileSystem(key="key", secret="secret", endpoint_url=server.url)
    place.get("bucket/lake", str(tmp_path / "lake"), recursive=True)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    with open_lake(LAKE) as remote, open_lake(str(tmp_path / "lake")) as local:
        for query in ("select * from results.topk_overlap order by all", "select * from pairs order by all"):
            assert remote.query(query).equals(local.query(query))
    s3fs.S3FileSystem.clear_instance_cache()


CLOSED = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        (("run", "small.toml", "--lake", "s3://nowhere/lake"), {}, "there is no bucket nowhere at http"),
        (("sql", "select 1", "--lake", "s3://nowhere/lake"), {}, "there is no bucket nowhere at http"),
        (("status", "small.toml", "--lake", "s3://bucket/none"), {}, "there is no lake at s3://bucket/none"),
        (
            ("run", "small.toml", "--lake", LAKE),
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SHARED_CREDENTIALS_FILE": "/none"},
            "no credentials (Unable to locate credentials): set AWS_ACCESS_KEY_ID",
        ),
        pytest.param(  # after half a minute of attempts
            ("run", "small.toml", "--lake", LAKE),
            {"AWS_ENDPOINT_URL": CLOSED},
            f"{CLOSED} does not answer",
            marks=pytest.mark.slow,
        ),
        (("run", "small.toml", "--lake", "s3://"), {}, "s3:// names no bucket: give s3://bucket/prefix"),
        (("run", "small.toml", "--lake", "s3://b ad/x"), {}, 'Invalid bucket name "b ad"'),
        (("catalog", "--lake", LAKE, "--output", "s3://bucket/c.duckdb"), {}, "c.duckdb is no folder"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_work_starts(
    typed: CommandLine, words: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    told = typed(*words, **variables)
    assert told.code == 2
    assert said in told.err and "Traceback" not in told.err
    assert not any(request.method == "PUT" for request in told.requests)
    assert not list(typed.folder.glob("s3:*"))


@contextmanager
def refusing(status: int, code: str) -> Iterator[str]:
    """A server that refuses every request in words of its own; its address."""
    page = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as its maker says</Message></Error>"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object, **__: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "AccessDenied", "refuses access (as its maker says): look at AWS_ACCESS_KEY_ID"),
        (403, "InvalidAccessKeyId", "refuses access (as its maker says): look at AWS_ACCESS_KEY_ID"),
        (404, "NoSuchBucket", "there is no bucket bucket at http"),
    ],
)
def test_what_a_server_refuses_is_told_by_its_code(
    typed: CommandLine, status: int, code: str, said: str
) -> None:
    with refusing(status, code) as address:
        told = typed("sql", "select 1", "--lake", LAKE, AWS_ENDPOINT_URL=address)
    assert told.code == 2, told.err
    assert said in told.err and "Traceback" not in told.err


def test_a_missing_client_names_the_extra(typed: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "s3fs.py").write_text("raise ImportError('No module named s3fs')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", ""), os.getcwd()])
    told = typed("status", "small.toml", "--lake", LAKE, PYTHONPATH=path)
    assert told.code == 2
    assert "pip install 'relevance-lake[s3]'" in told.err and "Traceback" not in told.err
