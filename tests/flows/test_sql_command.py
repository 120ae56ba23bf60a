"""`relevance-lake sql` and `catalog` as people type them: sources, formats, files, scopes, the prompt."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from flows.answer_table import brief, cell, fitting_table
from flows.prompt import Names, SqlCompleter
from sql.answer import Answer
from sql.catalog import open_lake
from tests.sql.lakes import ATTACKS, DATASET, METHODS, MODEL, toy_rows, write_lake

COMMAND = [sys.executable, "-c", "from flows.cli import main; main()"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    return write_lake(tmp_path_factory.mktemp("asked") / "lake", toy_rows())


@pytest.fixture(scope="module")
def relevance(lake) -> pl.DataFrame:
    with open_lake(str(lake)) as database:
        return database.query("select * from relevance order by all")


@pytest.fixture
def asked(typed, lake, monkeypatch):
    monkeypatch.setenv("RELEVANCE_LAKE", str(lake))

    def ask(*words):
        code, out, err = typed("sql", *words)
        assert code == 0, err
        return out

    return ask


@pytest.fixture
def piped(monkeypatch):
    """Standard input that holds a text, as behind a pipe."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_a_query_comes_from_the_argument_a_file_or_standard_input(asked, piped, tmp_path):
    expected = "n\n8\n"
    query = "select count(*) as n -- how many?\nfrom images;\n"
    file = tmp_path / "question.sql"
    file.write_text(query)
    assert asked(query, "--format", "csv") == expected
    assert asked("--file", file, "--format", "csv") == expected
    piped(query)
    assert asked("-", "--format", "csv") == expected
    piped(query)
    assert asked("--format", "csv") == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["select 1", "--file", "q.sql"], "not both"),
        (["--file", "gone.sql"], "gone.sql"),
        (["select 1", "--format", "parquet"], "needs --output"),
        (["select 1", "--output", "answer.txt"], "name it .csv, .json or .parquet"),
        (["select 1", "--output", "answer.csv", "--format", "table"], "a table is for the terminal"),
        (["select 1", "--output", "gone/answer.csv"], "gone"),
        (["select 1 as a, 2 as a", "--format", "csv"], "name each column once"),
        (["select interval 1 day as i", "--format", "json"], "i::varchar"),
        (["select 'x'::blob as b", "--format", "csv"], "b::varchar"),
        (["select 1; select 2"], "2 statements"),
        (["copy images to 'x.csv'"], "read only"),
        (["selec 1"], "syntax error"),
        (["select 1", "--method", "lrp-o"], f"has only {', '.join(METHODS)}"),
        (["select 1", "--attack", "lbgfs"], f"--attack lbgfs: .* has only {', '.join(ATTACKS)}"),
        (["select 1", "--dataset", "x"], DATASET),
        (["select 1", "--model", "it's"], MODEL),
        (["select 1", "--memory-limit", "plenty"], "plenty"),
    ],
)
def test_refusals_are_one_message(typed, lake, monkeypatch, words, said):
    monkeypatch.setenv("RELEVANCE_LAKE", str(lake))
    code, out, err = typed("sql", *words)
    assert (code, out) == (2, "")
    assert re.search(said, squeezed(err))
    assert "Traceback" not in err
    assert not list(Path.cwd().iterdir())


SELECT_MAPS = (
    "select method, subject, image_id, target, status, scale, relevance, rank from relevance "
    "order by method, subject, image_id, target"
)


def as_json(value):
    if isinstance(value, list):
        return [as_json(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def float32(value):
    if isinstance(value, list):
        return [float32(one) for one in value]
    return float(np.float32(value)) if isinstance(value, float) else value


def test_json_holds_every_value(asked, lake, tmp_path):
    with open_lake(str(lake)) as database:
        rows = database.query(SELECT_MAPS).to_dicts()
    expected = [{name: as_json(value) for name, value in row.items()} for row in rows]
    assert any(None in row["relevance"] for row in expected)
    text = asked(SELECT_MAPS, "--format", "json")
    assert "NaN" not in text and len(text.splitlines()) == len(rows) + 2
    found = [{name: float32(value) for name, value in row.items()} for row in json.loads(text)]
    assert found == expected
    asked(SELECT_MAPS, "--output", tmp_path / "maps.json")
    assert (tmp_path / "maps.json").read_text() == text


def test_csv_holds_every_value(asked, lake, tmp_path):
    with open_lake(str(lake)) as database:
        rows = database.query(SELECT_MAPS).to_dicts()
    text = asked(SELECT_MAPS, "--format", "csv")
    found = list(csv.DictReader(io.StringIO(text)))
    assert len(found) == len(rows)
    for ours, row in zip(found, rows, strict=True):
        assert float32(json.loads(ours["relevance"])) == as_json(row["relevance"])
        assert (json.loads(ours["rank"]) if ours["rank"] else None) == row["rank"]
        assert ours["target"] == ("" if row["target"] is None else str(row["target"]))
    asked(SELECT_MAPS, "--output", tmp_path / "MAPS.CSV")
    assert (tmp_path / "MAPS.CSV").read_text() == text


def test_parquet_is_the_answer_itself(asked, relevance, tmp_path):
    asked("select * from relevance order by all", "--output", tmp_path / "maps.parquet")
    assert pl.read_parquet(tmp_path / "maps.parquet").equals(relevance)
    asked("from images", "--output", tmp_path / "any.name", "--format", "parquet")
    assert pq.read_table(tmp_path / "any.name").num_rows == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["any.name", "maps.parquet"]


def test_numbers_texts_and_structs_in_every_format(asked, tmp_path):
    query = (
        "select sum(i) as total, 1::hugeint << 80 as huge, 1.25::decimal(5, 2) as price, [sum(i)] as sums, "
        "{'a': sum(i), 'b': null} as s, map {'k': 1} as m, 'x, \"y\"\nz' as t, null as nothing, true as yes, "
        "date '2026-01-02' as day, 'nan'::float as nan from range(4) as r(i)"
    )
    [row] = json.loads(asked(query, "--format", "json"))
    assert row == {
        "total": 6, "huge": 2.0**80, "price": 1.25, "sums": [6], "s": {"a": 6, "b": None}, "m": {"k": 1},
        "t": 'x, "y"\nz', "nothing": None, "yes": True, "day": "2026-01-02", "nan": None,
    }  # fmt: skip
    [row] = csv.DictReader(io.StringIO(asked(query, "--format", "csv")))
    assert row["total"] == "6" and row["price"] == "1.25" and row["sums"] == "[6]" and row["m"] == '{"k":1}'
    assert (
        row["huge"] == str(2**80) and row["t"] == 'x, "y"\nz' and row["nothing"] == "" and row["nan"] == "NaN"
    )
    asked(query, "--output", tmp_path / "a.parquet")
    assert pq.read_table(tmp_path / "a.parquet").column("total").to_pylist() == [6]


@pytest.mark.parametrize(("format", "expected"), [("csv", "a,b\n"), ("json", "[]\n")])
def test_an_answer_without_rows(asked, format, expected):
    assert asked("select 1 as a, [2] as b where false", "--format", format) == expected
    assert "0 rows" in asked("select 1 as a where false")


def test_a_file_is_whole_or_not_there(typed, lake, tmp_path):
    """The query fails at its 500,001st row, after batches were written."""
    query = "select if(i > 500000, ('x' || i)::integer, 1) as a from range(1000000) as t(i)"
    (tmp_path / "old.csv").write_text("as before")
    for name in ("old.csv", "new.json", "new.parquet"):
        assert typed("sql", query, "--lake", lake, "--output", name)[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["old.csv"]
    assert (tmp_path / "old.csv").read_text() == "as before"


@pytest.mark.parametrize("format", ["csv", "json", "parquet"])
def test_long_answers_take_no_more_memory(lake, tmp_path, format):
    """250 MB of vectors after 75 MB of them, by the high-water mark of one process."""
    query = "select repeat([i::float], 3072) as v from range({}) as t(i)"
    limits = ["--memory-limit", "200MB", "--threads", "2", "--lake", str(lake), "--output", f"big.{format}"]
    script = (
        "import resource, sys\n"
        "from flows.cli import main\n"
        "for rows in (6000, 20000):\n"
        f"    sys.argv = ['relevance-lake', 'sql', {query!r}.format(rows), *{limits!r}]\n"
        "    try:\n        main()\n    except SystemExit:\n        pass\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (tmp_path / f"big.{format}").unlink()
    assert f"big.{format}: 20,000 rows" in done.stderr
    small, large = map(float, done.stdout.split())
    assert large < small + 100


def test_tables_shorten_vectors_and_say_how_many_rows_there_are(asked, relevance):
    out = asked("select image_id, label, relevance, rank from relevance order by all", "--rows", "5")
    assert re.search(r"\[-?[\d.e-]+, -?[\d.e-]+, -?[\d.e-]+, \.\.\. 48 values\]", out)
    assert f"the first 5 of {relevance.height:,} rows" in out
    assert len([line for line in out.splitlines() if "values]" in line]) == 5
    assert "8 rows" in asked("from images")
    assert "1 row," in asked("select 1")
    assert max(map(len, asked("from images", "--rows", "2").splitlines())) < 200


def test_counting_stops_after_a_while(asked, monkeypatch):
    monkeypatch.setattr("flows.answer_table.COUNTING_SECONDS", 0.05)
    started = time.monotonic()
    out = asked("from range(100000000000)", "--rows", "3")
    assert "the first 3 of more than" in out
    assert time.monotonic() - started < 20


def test_explain_is_printed_as_it_is(asked):
    out = asked("explain analyze select count(*) from images where image_id < 3")
    assert "Scanning Files" in out or "READ_PARQUET" in out.upper().replace(" ", "_")
    assert "explain_value" not in out


def rendered(names, rows, numeric, width):
    printed = io.StringIO()
    Console(width=width, file=printed).print(fitting_table(names, rows, numeric, width))
    return printed.getvalue()


def test_wide_rows_stand_one_below_the_other():
    names = ["dataset", "a_rather_long_name", "another_long_name", "value"]
    rows = [["toy", 1, 2, 0.5], ["toy", 3, 4, 0.25]]
    numeric = [False, True, True, True]
    assert "a_rather_long_name" in rendered(names, rows, numeric, 60).splitlines()[1]
    narrower = rendered(names, rows, numeric, 48)
    assert "in every row below: dataset toy" in narrower and "a_rather_long_name" in narrower
    broken = rendered(names, rows, numeric, 30)
    assert "rather_" in broken and "a_rather_long_name" not in broken
    below = rendered(names, rows, numeric, 20)
    assert "row 2" in below and re.search(r"value +0\.25", below)
    for text in (narrower, broken, below):
        assert max(map(len, text.splitlines())) <= 48


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"), (True, "true"), (1234567, "1234567"), (0.1 + 0.2, "0.3"), (1234567.25, "1234567"),
        (1e300, "1e+300"), (float("nan"), "nan"), ([1.23456, 2], "[1.23, 2]"), (b"\x00\xff", "00ff"),
        ([0.5] * 3072, "[0.5, 0.5, 0.5, ... 3072 values]"), ({"a": 1, "b": None}, "{a: 1, b: null}"),
        (["cat", None], "[cat, null]"), ([("k", 1)], "[k: 1]"), ("text", "text"),
    ],
)  # fmt: skip
def test_values_in_short(value, text):
    assert brief(value) == text
    assert cell(value).plain == text


def test_control_characters_do_not_reach_the_terminal():
    assert "\x1b" not in cell("\x1b[31mred").plain
    assert cell("two\nlines").plain == "two\nlines"


def test_a_scope_narrows_tables_and_analyses(asked, relevance):
    words = [
        "--method",
        METHODS[0],
        "--attack",
        ATTACKS[0],
        "--target",
        "2",
        "--target",
        "3",
        "--format",
        "json",
    ]
    kept = relevance.filter(
        (pl.col("method") == METHODS[0])
        & pl.col("subject").is_in(["original", ATTACKS[0]])
        & (pl.col("target").is_null() | pl.col("target").is_in([2, 3]))
    )
    [row] = json.loads(asked("select count(*) as n from relevance", *words))
    assert 0 < row["n"] == kept.height < relevance.height
    [row] = json.loads(asked("select count(*) as n from relevance", *words, "--label", "1"))
    assert row["n"] == kept.filter(pl.col("label") == 1).height
    found = json.loads(asked("select distinct method, attack from topk_overlap", *words))
    assert found == [{"method": METHODS[0], "attack": ATTACKS[0]}]
    with open_lake(str(os.environ["RELEVANCE_LAKE"])) as database:
        every = database.query("from topk_overlap")
    both = json.loads(asked("from topk_overlap", "--format", "json"))
    assert len(both) == every.height
    assert [row["method"] for row in json.loads(asked("from methods", "--format", "json",
            "--method", METHODS[1], "--method", METHODS[0]))] == sorted(METHODS)  # fmt: skip


def test_what_reads_only_a_part_ends_it_quietly(lake):
    """`relevance-lake sql ... | head -2`."""
    command = [*COMMAND, "sql", "from range(20000000)", "--format", "csv", "--lake", str(lake)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout and running.stderr
        assert [running.stdout.readline() for _ in range(2)] == [b"range\n", b"0\n"]
        running.stdout.close()
        assert running.wait(60) == 0
        assert running.stderr.read() == b""


def test_it_starts_without_heavy_packages(lake):
    script = (
        "import sys\nfrom flows.cli import main\n"
        f"sys.argv = ['relevance-lake', 'sql', 'select 1 as one', '--lake', {str(lake)!r}]\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'prefect', 'polars', 'pandas', 'prompt_toolkit'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# the prompt


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def prompted(typed, lake, monkeypatch, tmp_path):
    """Type into the prompt and leave it; what it printed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(sys, "stdin", Terminal())

    def run(text, *words):
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            keys.send_text(text + "\r.quit\r")
            code, out, err = typed("sql", "--lake", lake, *words)
        assert (code, err) == (0, "")
        return out

    return run


def test_a_statement_has_many_lines_and_ends_with_a_semicolon(prompted):
    out = prompted("select 40 +\r2 as answer\r;\rselect 'next' as again;", "--format", "csv")
    assert out.splitlines()[1:] == ["answer", "42", "again", "next"]


def test_mistakes_leave_the_prompt_open(prompted):
    out = prompted("selec 1;\rdrop view images;\r.nonsense\r.schema nothing\rselect 7 as seven;")
    for said in (
        "syntax error",
        "DROP is refused",
        "no command .nonsense",
        "nothing does not exist",
        "seven",
    ):
        assert said in out
    assert "Traceback" not in out


def test_dot_commands(prompted):
    out = prompted(".help\r.tables\r.schema relevance\r.schema topk_overlap\rexit")
    assert ".schema NAME" in out
    for listed in ("adversarials", "band_pairs", "topk_overlap", "band_size"):
        assert listed in out
    assert "place of each component, 0 = most relevant" in squeezed(out)
    assert "mean over pairs of the share" in squeezed(out)


def test_an_empty_line_and_ctrl_c_ask_again_and_ctrl_d_leaves(typed, prompted, lake, monkeypatch):
    assert "one" in prompted("\r\rselect 'lost\x03select 1 as one;")
    monkeypatch.setattr(sys, "stdin", Terminal())
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text("\x04")
        assert typed("sql", "--lake", lake)[0] == 0


def test_ctrl_c_stops_a_long_query_and_the_prompt_goes_on(prompted, monkeypatch):
    """The interrupt comes a second after the query has begun, however long the prompt took to open."""
    long = "select sum(sqrt(a.i * b.i)) from range(200000) as a(i), range(100000) as b(i);"
    begin, interrupted = Answer._start, []

    def begun(answer, sql, parameters):
        if sql.startswith("select sum(sqrt") and not interrupted:
            interrupted.append(time.monotonic() + 1)
            threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        return begin(answer, sql, parameters)

    monkeypatch.setattr(Answer, "_start", begun)
    # what other tests of this process imported may have a handler of its own
    others = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        out = prompted(f"{long}\rselect 'still here' as words;")
    finally:
        signal.signal(signal.SIGINT, others)
    assert "stopped" in out and "still here" in out
    assert time.monotonic() - interrupted[0] < 30


def test_history_is_kept_for_the_next_time(prompted, tmp_path):
    prompted("select 1 as first_question;")
    history = tmp_path / "state" / "relevance-lake" / "history"
    assert "select 1 as first_question;" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0
    assert "first_question" in prompted("\x1b[A\x1b[A\r")  # up: .quit, up: the question


def test_a_prompt_writes_no_file(typed, lake, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Terminal())
    code, _, err = typed("sql", "--lake", lake, "--output", "a.csv")
    assert code == 2 and "goes with a query" in err


@pytest.fixture(scope="module")
def completer(lake) -> SqlCompleter:
    with open_lake(str(lake)) as database:
        return SqlCompleter(Names.of(database))


@pytest.mark.parametrize(
    ("typed_so_far", "first", "absent"),
    [
        ("select * from relev", "relevance", "relevance_sum"),
        ("from study_", "study_overview", "struct_extract"),
        ("sel", "select", "relevance"),
        ("SEL", "SELECT", "select"),
        ("from images where hei", "height", "head"),
        ("select band_si", "band_size", "band_pairs"),
        ("select quantile_c", "quantile_cont", None),
        ("select r.explained_| from relevance as r", "explained_class", "explained"),
        ("select relevance.ran| from relevance", "rank", "range"),
        ("select r.stat| from images, relevance r", "status", "stats"),
        (".sch", ".schema", ".tables"),
        (".schema adv", "adversarials", "adversarial_k"),
        ("from relevance where ", None, "status"),
    ],
)
def test_completion(completer, typed_so_far, first, absent):
    cursor = typed_so_far.find("|") if "|" in typed_so_far else len(typed_so_far)
    document = Document(typed_so_far.replace("|", ""), cursor)
    found = [
        one.text for one in completer.get_completions(document, CompleteEvent(completion_requested=True))
    ]
    assert found[:1] == ([first] if first else [])
    assert absent not in found and len(found) == len(set(found))


def test_names_are_of_every_kind(completer):
    names = completer.names
    assert names.columns["images"][0] == "dataset" and "topk_overlap" in names.columns
    assert "band_size" in names.macros and "select" in names.keywords and "list_transform" in names.functions
    assert not set(names.macros) & set(names.functions)


# catalog


def test_catalog_is_written_where_it_is_asked_for(typed, tmp_path):
    root = write_lake(tmp_path / "lake", toy_rows(image_ids=(0, 1)))
    code, out, _ = typed("catalog", "--lake", root)
    assert code == 0 and f"{root}/catalog.duckdb written" in out.replace("\n", "")
    assert typed("catalog", "--lake", root, "--output", "own.duckdb")[0] == 0
    assert (tmp_path / "own.duckdb").stat().st_size == (root / "catalog.duckdb").stat().st_size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake", "own.duckdb"]


def test_catalog_refuses_a_damaged_lake(typed, tmp_path):
    root = write_lake(tmp_path / "lake", toy_rows(image_ids=(0, 1)))
    victim = next((root / "relevance").rglob("*.parquet"))
    victim.write_bytes(victim.read_bytes()[:100])
    code, _, err = typed("catalog", "--lake", root)
    assert code == 2 and victim.name in err.replace("\n", "") and "Traceback" not in err
    assert not (root / "catalog.duckdb").exists()
