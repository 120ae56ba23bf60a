"""Answers as they come: in batches, of bounded memory, with the share that is done, stopped by Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from lakes import toy_rows, write_lake

from sql.catalog import LakeDatabase, LakeError, open_lake

LONG = "select sum(sqrt(a.i * b.i)) as sum from range(100000) as a(i), range({}) as b(i)"
LONG_STREAM = "select a.i from range(1000000) as a(i), range(1000000) as b(i) where (a.i * b.i) % 1000003 = 7"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeDatabase]:
    root = write_lake(tmp_path_factory.mktemp("streamed") / "lake", toy_rows(image_ids=(0, 1)))
    with open_lake(str(root), threads=2) as opened:
        yield opened


def read_all(lake: LakeDatabase, sql: str) -> None:
    with lake.stream(sql) as answer:
        for _ in answer:
            pass


@pytest.mark.parametrize(
    "sql",
    [
        "select * from relevance order by all",
        "select i, i % 7 as rest from range(200000) as t(i)",
        "select 1 as one where false",
        "describe relevance",
        "explain select count(*) from images",
    ],
)
def test_batches_add_up_to_the_table(lake: LakeDatabase, sql: str) -> None:
    with lake.stream(sql) as answer:
        streamed = pl.from_arrow(pa.Table.from_batches(answer, answer.schema))
    assert isinstance(streamed, pl.DataFrame)
    assert streamed.equals(lake.query(sql))


def test_vectors_come_in_small_batches_and_numbers_in_large_ones(lake: LakeDatabase) -> None:
    with lake.stream("select [i, i] as v from range(200000) as t(i)") as answer:
        assert {batch.num_rows for batch in answer} >= {2_048}
    with lake.stream("select i from range(200000) as t(i)") as answer:
        assert max(batch.num_rows for batch in answer) == 65_536


def test_parameters(lake: LakeDatabase) -> None:
    with lake.stream("select ? || 'b' as text", ["'; drop"]) as answer:
        assert [batch.to_pydict() for batch in answer] == [{"text": ["'; dropb"]}]


def test_an_answer_that_is_not_read_to_its_end_blocks_nothing(lake: LakeDatabase) -> None:
    with lake.stream("from range(1000000000)") as answer:
        assert next(iter(answer)).num_rows
    with lake.stream("select 1 as one") as answer:
        assert [batch.to_pydict() for batch in answer] == [{"one": [1]}]


def test_a_long_answer_is_not_held(lake: LakeDatabase) -> None:
    """20 million rows of text, over a gigabyte as a table, grow the process by less than 150 MB."""
    question = "select repeat('text', 10) || i as text from range(20000000) as t(i)"
    script = (
        "from sql.catalog import open_lake\n"
        "def resident():\n"
        "    return int(open('/proc/self/status').read().split('VmRSS:')[1].split()[0]) / 1024\n"
        f"with open_lake({lake.url!r}, memory_limit='200MB', threads=2) as lake:\n"
        "    before, most, rows = resident(), 0, 0\n"
        f"    with lake.stream({question!r}) as answer:\n"
        "        for batch in answer:\n"
        "            rows, most = rows + batch.num_rows, max(most, resident())\n"
        "    print(rows, most - before)\n"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("reads /proc")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    rows, grown = done.stdout.split()
    assert int(rows) == 20_000_000
    assert float(grown) < 150


def test_the_share_that_is_done_grows(lake: LakeDatabase) -> None:
    shares: list[float | None] = []
    with lake.stream(LONG.format(600), watch=shares.append) as answer:
        [batch] = answer
    assert batch.num_rows == 1
    known = [share for share in shares if share is not None]
    assert len(known) > 1 and known == sorted(known) and 0 <= known[0] < known[-1] <= 1


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as in a terminal: a shell ignores it for what runs in its background, tests included."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("sql", [LONG.format(10_000_000), LONG_STREAM], ids=["before the first row", "amid"])
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_stops_the_query_and_the_lake_answers_on(lake: LakeDatabase, sql: str) -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        read_all(lake, sql)
    assert time.monotonic() - started < 5
    assert lake.query("select 1").item() == 1
    with lake.stream("select 2 as two") as answer:
        assert [batch.to_pydict() for batch in answer] == [{"two": [2]}]


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("selec 1", "syntax error"),
        ("select nonsense from images", "nonsense"),
        ("copy images to 'x.csv'", "read only"),
        ("select if(i > 500000, ('x' || i)::integer, 1) from range(1000000) as t(i)", "'x500001' to INT32"),
    ],
)
def test_mistakes_are_lake_errors_wherever_they_show(lake: LakeDatabase, sql: str, said: str) -> None:
    with pytest.raises(LakeError, match=said):
        read_all(lake, sql)
    assert lake.query("select 1").item() == 1


def test_too_little_memory_says_how_to_give_more(lake: LakeDatabase) -> None:
    with open_lake(lake.url, memory_limit="50MB", threads=1) as small, pytest.raises(LakeError) as refused:
        small.query("select list(i order by i) as all from range(50000000) as t(i)")
    assert "--memory-limit" in str(refused.value)


def test_a_file_damaged_in_its_midst_is_named(tmp_path: Path) -> None:
    root = write_lake(tmp_path / "lake", toy_rows(shape=(16, 16, 3)))
    file = sorted((root / "relevance").rglob("*.parquet"))[-1]
    data = file.read_bytes()
    file.write_bytes(data[:40] + bytes(255 - b for b in data[40:-4000]) + data[-4000:])
    with open_lake(str(root)) as lake, pytest.raises(LakeError) as refused:
        read_all(lake, "select relevance, rank from relevance")
    assert str(file) in str(refused.value)
    assert "delete it and run the study again" in str(refused.value)
