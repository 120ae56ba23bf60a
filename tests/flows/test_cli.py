"""The command line as people type it: answers, refusals with exit code 2, and what it does not load."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flows import cli
from flows.lake import Lake
from flows.plan import Plan
from flows.study import load_study
from flows.summary import to_come

COMMAND = [sys.executable, "-c", "from flows.cli import main; main()"]


def run_apart(*words, **environment):
    """Run a command in a process of its own, which prints at its end what heavy packages it loaded."""
    script = (
        "import atexit, sys\n"
        "heavy = {'tensorflow', 'keras', 'prefect'}\n"
        "atexit.register(lambda: print('loaded', sorted(heavy & set(sys.modules))))\n"
        "sys.argv = ['relevance-lake', *sys.argv[1:]]\n"
        "from flows.cli import main\n"
        "main()"
    )
    command = [sys.executable, "-c", script, *map(str, words)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return done


def test_version_and_help(typed):
    assert re.fullmatch(r"relevance-lake \d+\.\d+\.\d+\n", typed("--version")[1])
    code, out, _ = typed("--help")
    assert code == 0
    for command in ("run", "ingest", "train", "attack", "explain", "analyse", "report",
                    "evaluate", "sql", "catalog", "status", "init", "schema", "serve", "import",
                    "import-maps", "clean", "export"):  # fmt: skip
        assert f" {command} " in out
        assert "Example: relevance-lake " + command in typed(command, "--help")[1]


def test_sql_answers_in_every_format(typed, finished_lake):
    query = "select subject, count(*) as maps from relevance group by subject order by subject"
    assert (
        typed("sql", query, "--lake", finished_lake, "--format", "csv")[1]
        == "subject,maps\nlbfgs,54\noriginal,6\n"
    )
    answer = json.loads(typed("sql", query, "--lake", finished_lake, "--format", "json")[1])
    assert answer == [{"subject": "lbfgs", "maps": 54}, {"subject": "original", "maps": 6}]
    assert "lbfgs" in typed("sql", query, "--lake", finished_lake)[1]


def test_sql_with_lists_and_with_one_name_twice(typed, finished_lake):
    query = "select image_id, rank[1:3] as first from relevance order by all limit 1"
    out = typed("sql", query, "--lake", finished_lake, "--format", "csv")[1]
    assert re.fullmatch(r'image_id,first\n0,"\[\d+,\d+,\d+\]"\n', out)
    code, _, err = typed("sql", "select 1 as a, 2 as a", "--lake", finished_lake, "--format", "csv")
    assert code == 2
    assert "name each column once" in " ".join(err.split())


def test_schedules_are_checked_before_they_are_served(typed, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    code, _, err = typed("serve", "demo", "--cron", "99 99 99 99 99")
    assert code == 2
    assert "is no schedule" in err


def test_a_prefect_server_that_does_not_answer_is_said_before_any_work(study_file, tmp_path):
    address = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    for words in (["serve", "demo"], ["run", "demo"]):
        command = [*COMMAND, *words, "--lake", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | address)
        assert done.returncode == 2, done.stderr
        said = " ".join(done.stderr.split())
        assert "no Prefect server answers at http://127.0.0.1:9/api" in said and "refused" in said
        assert "Traceback" not in said
    assert not (tmp_path / "images").exists()


def test_analyse_wants_the_whole_study(typed, study_file, lake_copy):
    next((lake_copy / "relevance").rglob("*target=3/*.parquet")).unlink()
    code, _, err = typed("analyse", study_file, "--lake", lake_copy)
    assert code == 2
    assert "run `relevance-lake run" in " ".join(err.split())


def test_status_and_dry_run_tell_what_is_missing(typed, study_file, finished_lake, lake_copy):
    code, out, _ = typed("status", study_file, "--lake", finished_lake)
    assert code == 0
    assert "11 of 11" in out
    next((lake_copy / "relevance").rglob("*target=3/*.parquet")).unlink()
    assert "10 of 11" in typed("status", study_file, "--lake", lake_copy)[1]
    out = typed("run", study_file, "--lake", lake_copy, "--dry-run")[1]
    assert re.search(r"relevance\s+│\s+1\s+│\s+[12] ", out)
    assert "GB free" in out
    fresh = typed("run", "demo", "--lake", "none", "--dry-run")[1]
    assert re.search(r"adversarials\s+│\s+30\s+│\s+380", fresh)
    assert not Path("none").exists()


def test_hours_to_come_count_how_often_a_method_asks_the_network(tmp_path):
    def seconds(method: str) -> float:
        study = load_study("demo").model_copy(update={"methods": (method,)})
        found, _ = to_come(Plan(study, Lake(str(tmp_path))))
        return found["relevance"].seconds / found["relevance"].rows

    assert seconds("gradient") == seconds("lrp-0")
    for method in ("integrated-gradients-n64", "smoothgrad-n50-sigma0.1", "occlusion-window4-stride2"):
        assert 40 < seconds(method) / seconds("gradient") < 400


def test_run_of_a_finished_study_computes_nothing_and_loads_neither(study_file, lake_copy):
    done = run_apart("run", study_file, "--lake", lake_copy)
    assert "nothing to compute" in done.stdout
    assert str(lake_copy / "reports" / "small.html") in done.stdout.replace("\n", "")
    assert "loaded []" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["sql", "select count(*) from relevance"],
        ["status", "STUDY"],
        ["report", "STUDY", "--output", "OUT"],
        ["schema"],
    ],
    ids=lambda words: words[0],
)
def test_light_commands_load_neither_tensorflow_nor_prefect(words, study_file, finished_lake, tmp_path):
    named = {"STUDY": str(study_file), "OUT": str(tmp_path / "r.html")}
    done = run_apart(*(named.get(word, word) for word in words), RELEVANCE_LAKE=str(finished_lake))
    assert "loaded []" in done.stdout


def test_report_is_written_where_it_is_asked_for(typed, study_file, finished_lake, tmp_path):
    code, out, _ = typed("report", study_file, "--lake", finished_lake, "--output", "own.html")
    assert (code, out.strip()) == (0, str(tmp_path / "own.html"))
    assert (tmp_path / "own.html").stat().st_size > 500_000


def test_report_compares_studies_and_writes_its_charts(typed, study_file, finished_lake, lake_copy, tmp_path):
    words = ("report", study_file, "--lake", finished_lake, "--output", "both.html")
    code, out, _ = typed(*words, "--compare", lake_copy, "--charts", "figures")
    assert (code, out.strip()) == (0, str(tmp_path / "both.html"))
    text = (tmp_path / "both.html").read_text("utf-8")
    assert f"small in {finished_lake}" in text and f"small in {lake_copy}" in text
    assert (tmp_path / "figures" / "overlap-1-0.svg").exists()
    assert (tmp_path / "figures" / "summary-0.csv").exists()
    for wrong, said in ((finished_lake, "compared with itself"), ("nowhere", "neither a study")):
        code, _, err = typed(*words, "--compare", wrong)
        assert code == 2 and said in err and "Traceback" not in err


def test_init_writes_a_study_that_is_valid(typed, tmp_path):
    assert typed("init", "My Study.toml")[0] == 0
    from flows.study import load_study

    study = load_study("My Study.toml")
    assert study.name == "my-study"
    assert study.methods == load_study("demo").methods
    code, _, err = typed("init", "My Study.toml")
    assert code == 2
    assert "already there" in err


def test_schema_names_every_column(typed):
    rows = json.loads(typed("schema", "--format", "json")[1])
    assert {"table", "column", "type", "unit", "meaning"} == set(rows[0])
    assert {"images", "predictions", "adversarials", "relevance", "methods", "runs"} <= {
        r["table"] for r in rows
    }
    assert all(row["meaning"] for row in rows)
    assert "explained_class" in typed("schema", "relevance")[1]
    assert typed("schema", "relevances")[0] == 2


def test_evaluate_prints_the_accuracy(typed):
    out = typed("evaluate", "--dataset", "cifar10-samples")[1]
    assert re.search(r"accuracy (1\.0000|0\.\d{4}) \(\d+ of 20\)", out)


def write_bad_study(folder):
    (folder / "typo.toml").write_text('name = "x"\nmetods = ["lrp-0"]\n')


def write_text_among_images(folder):
    (folder / "images" / "cat").mkdir(parents=True)
    (folder / "images" / "cat" / "readme.txt").write_text("hello")
    (folder / "s.toml").write_text(
        'name = "x"\nmethods = ["lrp-0"]\n[dataset]\nsource = "folder"\npath = "images"\n'
    )


def write_study_without_model(folder):
    (folder / "s.toml").write_text('name = "x"\nmethods = ["lrp-0"]\n[model]\nfile = "gone.keras"\n')


def write_latin_study(folder):
    (folder / "s.toml").write_bytes('name = "caf\u00e9"'.encode("latin-1"))


def write_foreign_folder(folder):
    (folder / "photos").mkdir()
    (folder / "photos" / "a.txt").write_text("x")


@pytest.mark.parametrize(
    ("prepare", "words", "said"),
    [
        (write_bad_study, ["run", "typo.toml"], r"typo.toml: unknown key 'metods'. Did you mean 'methods'\?"),
        (None, ["run", "demmo"], "no study 'demmo'"),
        (None, ["sql", "select 1", "--lake", "none"], "none"),
        (None, ["status", "demo", "--lake", "none"], "there is no lake at"),
        (None, ["report", "demo", "--lake", "none"], "relevance-lake"),
        (None, ["attack", "demo", "--lake", "none"], "run `relevance-lake ingest demo --lake none` first"),
        (write_study_without_model, ["run", "s.toml"], "no model file .*gone.keras"),
        (None, ["evaluate", "--model", "gone.keras"], "no model file gone.keras"),
        (None, ["evaluate", "--dataset", "gone"], "no dataset 'gone'"),
        (write_text_among_images, ["run", "s.toml"], r"readme.txt is not a PNG file: remove or convert it"),
        (write_text_among_images, ["evaluate", "--dataset", "images"], r"readme.txt is not a PNG file"),
        (write_foreign_folder, ["sql", "select 1", "--lake", "photos"], "photos"),
        (write_foreign_folder, ["status", "demo", "--lake", "photos"], "photos is no lake"),
        (write_latin_study, ["run", "s.toml"], "s.toml is not UTF-8 text"),
        (None, ["run", "demo", "--lake", "foo://bar"], "foo://bar cannot be opened"),
        (None, ["init", "gone/x.toml"], "gone/x.toml"),
        (None, ["serve", "demo"], "no Prefect server"),
        (None, ["train", "--output", "x.h5", "--dataset", "cifar10-samples"], "train and test split"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(typed, tmp_path, prepare, words, said):
    if prepare:
        prepare(tmp_path)
    code, _, err = typed(*words)
    assert code == 2
    assert re.search(said, " ".join(err.split()))
    assert "Traceback" not in err


def test_bad_sql_is_explained(typed, finished_lake):
    for query, said in (
        ("selec 1", "selec"),
        ("select nothing from relevance", "nothing"),
        ("select * from relevanc", "relevanc"),
        ("drop view relevance", "SELECT"),
        ("copy (select 1) to 'x.csv'", "SELECT"),
    ):
        code, _, err = typed("sql", query, "--lake", finished_lake)
        assert code == 2
        assert said.lower() in err.lower()
        assert "Traceback" not in err


def test_corrupt_partition_is_named(typed, study_file, lake_copy):
    victim = next((lake_copy / "relevance").rglob("*target=3/*.parquet"))
    victim.write_bytes(b"PAR1 no more PAR1")
    for words in (["status", study_file], ["run", study_file], ["sql", "select sum(rank[1]) from relevance"]):
        code, _, err = typed(*words, "--lake", lake_copy)
        assert code == 2
        assert victim.name in err.replace("\n", "")
        assert "delete" in err


def test_a_bug_keeps_its_traceback(monkeypatch):
    def broken():
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError("3 GB wanted"), "not enough memory (3 GB wanted): lower `batch_size`"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_what_the_machine_lacks_is_one_message(monkeypatch, capsys, error, said):
    def lacking():
        raise error

    monkeypatch.setattr(cli, "app", lacking)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    printed = capsys.readouterr()
    assert caught.value.code == 2
    assert said in printed.err.replace("\n", " ")
