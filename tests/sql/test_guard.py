"""What user SQL may do: read the lake, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lakes import METHODS, toy_rows, write_lake

from sql.catalog import LakeDatabase, LakeError, Scope, open_lake
from sql.guard import require_reading
from sql.tables import TABLES


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LakeDatabase]:
    root = write_lake(tmp_path_factory.mktemp("guarded") / "lake", toy_rows(image_ids=(0, 1)))
    with open_lake(str(root)) as opened:
        yield opened


def files_below(folder: str) -> list[str]:
    return sorted(os.path.join(path, name) for path, _, names in os.walk(folder) for name in names)


READING = [
    "select count(*) from relevance",
    "SELECT 1;",
    "(select 1)",
    "from images",
    "with a as (select 1 as x) select x from a",
    "with recursive a as (select 1 as x union all select x + 1 from a where x < 3) from a",
    "select 1 union all select 2",
    "values (1, 'a')",
    "table images",
    "describe relevance",
    "describe select 1",
    "show tables",
    "summarize predictions",
    "pivot predictions on correct in (true, false) using count(*)",
    "explain select count(*) from images",
    "explain analyze select count(*) from images",
    "explain /* a note */ analyze -- and another\n select 1",
    "explain (format json) select 1",
    "explain (select 1)",
    "select 'copy (select 1) to x' as insert_into",
    "from query('select 1')",
    "from query('from query(''select 1'')')",
    "from query_table('images')",
    "from range(3)",
    "select unnest([1, 2])",
    "from images, unnest(pixels) as component",
    "from summary((from predictions))",
    "from duckdb_views()",
    "from histogram_values(predictions, label)",
    "from pragma_table_info('images')",
    "from glob('{lake}/images/*/*.parquet')",
    "from read_parquet('{lake}/images/*/*.parquet')",
    "from parquet_metadata('{lake}/images/*/*.parquet')",
]


@pytest.mark.parametrize("sql", READING)
def test_statements_that_read_run(lake: LakeDatabase, sql: str) -> None:
    assert lake.query(sql.replace("{lake}", lake.url)).width >= 1


SINGLE = "'"
COPY_SERIALIZED = "json_serialize_sql('with x as (copy (select 1) to ''{lake}/evil.csv'') from x')"
RUN_SERIALIZED = f"destroy_external_resource('json_execute_serialized_sql', {COPY_SERIALIZED})"

WRITING = [
    "copy (select 1) to '{lake}/evil.csv'",
    "copy images to '{lake}/evil.parquet'",
    "with x as (copy (select 1) to '{lake}/evil.csv') from x",
    "with x as (copy (select 1) to '{lake}/evil.csv') select 1",
    "explain analyze copy (select 1) to '{lake}/evil.csv'",
    "explain (analyze) copy (select 1) to '{lake}/evil.csv'",
    "explain /**/ analyze with x as (copy (select 1) to '{lake}/evil.csv') from x",
    "from query('with x as (copy (select 1) to ''{lake}/evil.csv'') from x')",
    "from json_execute_serialized_sql(json_serialize_sql("
    "'with x as (copy (select 1) to ''{lake}/evil.csv'') from x'))",
    "from \"JSON_EXECUTE_serialized_sql\"(json_serialize_sql('select 1'))",
    f"from system.main.json_execute_serialized_sql({COPY_SERIALIZED})",
    f"from {RUN_SERIALIZED}",
    f"select 1 where exists (from {RUN_SERIALIZED})",
    f"explain analyze from {RUN_SERIALIZED}",
    f"from query('from {RUN_SERIALIZED.replace(SINGLE, 2 * SINGLE)}')",
    f"from query('from json_execute_serialized_sql({COPY_SERIALIZED.replace(SINGLE, 2 * SINGLE)})')",
    f"from query('from ' || '{RUN_SERIALIZED.replace(SINGLE, 2 * SINGLE)}')",
    "from query(query := 'copy (select 1) to ''{lake}/evil.csv''')",
    "from query('explain analyze copy (select 1) to ''{lake}/evil.csv''')",
    "from query('select 1; drop view images')",
    "from query(null)",
    "from register_external_resource_type('t', kind := 'k', create_function := 'checkpoint')",
    "from create_external_resource('t')",
    "from deregister_external_resource('t')",
    "from checkpoint()",
    "from truncate_duckdb_logs()",
    "select * from (delete from images returning *)",
    "with a as materialized (delete from images returning *) from a",
    "merge into images using images as i on true when matched then delete",
    "explain analyze insert into images values (1)",
    "explain (analyze, format json) copy images to '{lake}/evil.csv'",
    "select * from (pivot predictions on correct using count(*))",
    "with p as (pivot predictions on correct using count(*)) from p",
    "update extensions",
    "truncate images",
    "comment on view images is 'evil'",
    "create temp table evil as select 1",
    "create secret (type s3)",
    "create persistent secret (type s3)",
    "attach ':memory:' as evil",
    "attach 's3://bucket/evil.duckdb' as evil",
    "copy (select 1) to 's3://bucket/evil.csv'",
    "copy from database memory to evil",
    "export database 's3://bucket/evil'",
    "force install httpfs",
    "install httpfs from '{lake}'",
    "load '{lake}/evil.duckdb_extension'",
    "set temp_directory = '{lake}'",
    "set variable a = 1",
    "pragma enable_profiling",
    "pragma import_database('{lake}')",
    "call enable_profiling()",
    "attach '{lake}/evil.duckdb' as evil",
    "export database '{lake}/evil'",
    "import database '{lake}'",
    "create table evil as select 1",
    "create or replace view images as select 1",
    "create macro band_size(share, n) as 1",
    "insert into images values (1)",
    "with x as (insert into published_figures values (1) returning *) from x",
    "update images set label = 1",
    "delete from images",
    "drop view images",
    "set threads = 1",
    "set enable_external_access = true",
    "reset allowed_directories",
    "pragma version",
    "call pragma_version()",
    "install httpfs",
    "load httpfs",
    "checkpoint",
    "vacuum",
    "begin transaction",
    "use memory",
    "prepare p as select 1",
    "select 1; select 2",
    "select 1; drop view images",
    "",
    "-- nothing but a comment",
    "pivot predictions on correct using count(*)",
]


@pytest.mark.parametrize("sql", WRITING)
def test_other_statements_are_refused_and_leave_no_file(lake: LakeDatabase, sql: str) -> None:
    before = files_below(lake.url)
    with pytest.raises(LakeError) as refused:
        lake.query(sql.format(lake=lake.url))
    assert str(refused.value).startswith(("SQL: ", "DuckDB: "))
    assert files_below(lake.url) == before
    assert lake.query("select count(*) from images").item() == 2


ESCAPES = [
    "select * from read_csv('{outside}')",
    "select * from read_text('{outside}')",
    "select * from read_blob('{outside}')",
    "select * from read_parquet('{outside}')",
    "select * from read_json('{outside}')",
    "select * from '{outside}'",
    "select * from read_text('{lake}/../outside.csv')",
    "select * from glob('{folder}/*')",
    "select * from sniff_csv('{outside}')",
    "select * from parquet_metadata('{outside}')",
    "select * from read_duckdb('{outside}')",
    "select getenv('HOME')",
    "from enable_logging(storage = 'file', storage_path = '{lake}/log')",
    "from enable_profiling(save_location = '{lake}/profile.json')",
    "from which_secret('s3://bucket/file', 's3')",
    "from duckdb_secrets()",
    "from duckdb_external_resources(discover := true)",
    "from read_text('/etc/passwd')",
    "from read_csv('/etc/passwd')",
    "from '/etc/passwd'",
    "from query_table('/etc/passwd')",
    "from query('from read_text(''/etc/passwd'')')",
    "from read_text('/proc/self/environ')",
    "from read_text('/dev/stdin')",
    "from read_text('file://{lake}/../outside.csv')",
    "from read_text('file:{lake}/../outside.csv')",
    "from read_text('{lake}/images/../../outside.csv')",
    "from read_text('{lake}/*/../../outside.csv')",
    "from read_text('{lake}/./..//outside.csv')",
    "from read_text(['{lake}/images/none', '{outside}'])",
    "from read_text('{lake}' || '/../outside.csv')",
    "from glob('{lake}*')",
    "from glob('{lake}/../*')",
    "from parquet_kv_metadata('/etc/passwd')",
    "from read_duckdb('{lake}/catalog.duckdb', table_name := 'images')",
    "from read_csv('http://127.0.0.1:1/file.csv')",
    "from 'https://127.0.0.1:1/file.parquet'",
    "from read_parquet('s3://bucket/file.parquet')",
    "from read_text('hf://datasets/bucket/file.txt')",
    "from secret_of_the_caller",
]


@pytest.mark.parametrize("sql", ESCAPES)
def test_nothing_outside_the_lake_is_reached(lake: LakeDatabase, sql: str) -> None:
    folder = Path(lake.url).parent
    outside = folder / "outside.csv"
    outside.write_text("a,b\n1,2\n")
    secret_of_the_caller = lake.connection.sql("select 42").to_arrow_table()
    assert secret_of_the_caller.num_rows == 1
    with pytest.raises(LakeError):
        lake.query(sql.format(lake=lake.url, outside=outside, folder=folder))


@pytest.mark.parametrize("dots", ["[.][.]", ".[.]", "?.", ".*", "**/..", ".."])
def test_no_pattern_climbs_out(lake: LakeDatabase, dots: str) -> None:
    secret = Path(lake.url).parent / "secret"
    secret.mkdir(exist_ok=True)
    (secret / "note.txt").write_text("private")
    for read in ("read_text", "glob"):
        try:
            found = lake.query(f"from {read}('{lake.url}/{dots}/secret/*')").height
        except LakeError:
            found = 0
        assert found == 0


def test_a_sibling_folder_with_the_same_beginning_is_outside(lake: LakeDatabase) -> None:
    sibling = Path(lake.url + "-private")
    sibling.mkdir()
    (sibling / "note.txt").write_text("private")
    with pytest.raises(LakeError, match="disabled by configuration"):
        lake.query(f"select * from read_text('{sibling}/note.txt')")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("selec 1", "syntax error"),
        ("select from where", "syntax error"),
        ("select lable from images", '"label"'),
        ("select * from image", "images"),
        ("select nonsense(1)", "nonsense"),
        ("select 'x'::integer", "Could not convert"),
    ],
)
def test_mistakes_come_with_duckdbs_own_words(lake: LakeDatabase, sql: str, said: str) -> None:
    with pytest.raises(LakeError) as refused:
        lake.query(sql)
    assert said in str(refused.value)
    assert refused.value.__suppress_context__


def test_parameters_by_place_and_by_name(lake: LakeDatabase) -> None:
    assert lake.query("select ? + 1", [2]).item() == 3
    assert lake.query("select $a || 'b'", {"a": "'; drop"}).item() == "'; dropb"


PARSER = duckdb.connect()


@given(st.text(alphabet="selctfrom*1 ();'\"-/copyinsr\n", max_size=40))
@settings(max_examples=100)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        require_reading(PARSER, text)
    except LakeError:
        return
    kinds = {statement.type for statement in PARSER.extract_statements(text)}
    assert kinds <= {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


HOSTILE = [
    "it's",
    "' or 1 = 1 --",
    '"; drop view images; --',
    "x') union all select * from images --",
    "') ; copy images to 'evil.csv' --",
    "[a-z]*?",
    "{}$1?%s",
    "back\\slash",
    "two\nlines",
    "nul\0byte",
    "../../secret",
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_ids_of_a_scope_are_data(lake: LakeDatabase, text: str) -> None:
    scopes = {
        "images": Scope(dataset=text),
        "predictions": Scope(model=text),
        "adversarials": Scope(attacks=(text,)),
        "methods": Scope(methods=(text, text)),
        "relevance": Scope(subjects=(text,), explains=(text,)),
    }
    before = files_below(lake.url)
    for table, scope in scopes.items():
        with open_lake(lake.url, scope=scope) as narrowed:
            assert narrowed.query(f"select count(*) from {table}").item() == 0
            everything = set(narrowed.query("select view_name from duckdb_views()")["view_name"])
        assert everything >= set(TABLES)
    with open_lake(lake.url, scope=Scope(methods=(text, *METHODS))) as narrowed:
        assert narrowed.query("select count(*) from methods").item() == len(METHODS)
    assert files_below(lake.url) == before


@pytest.mark.parametrize("numbers", [("1) or (1 = 1",), ("1; drop view images",), (None,), ("",)])
def test_classes_of_a_scope_are_numbers(lake: LakeDatabase, numbers: tuple) -> None:
    for scope in (Scope(labels=numbers), Scope(targets=numbers)):
        with pytest.raises((ValueError, TypeError)):
            open_lake(lake.url, scope=scope)


@pytest.mark.parametrize("text", HOSTILE)
def test_parameters_are_data(lake: LakeDatabase, text: str) -> None:
    assert lake.query("select $1 as text", [text]).item() == text
    assert lake.query("select count(*) from methods where method = $name", {"name": text}).item() == 0
    with pytest.raises(LakeError, match="no analysis"):
        lake.analyse(text)


FOLDERS = [text for text in HOSTILE if text and "/" not in text and "\0" not in text]


@pytest.mark.parametrize("name", FOLDERS)
def test_the_name_of_the_lakes_folder_is_data(tmp_path: Path, name: str) -> None:
    root = write_lake(tmp_path / name / "lake", toy_rows(image_ids=(0, 1), methods=METHODS[:1]))
    if "\\" in name:
        with pytest.raises(LakeError, match="rename the folder"):
            open_lake(str(root))
        return
    with open_lake(str(root)) as lake:
        assert lake.query("select count(*) from images").item() == 2
        assert lake.query("select method from methods").item() == METHODS[0]


@pytest.mark.parametrize("name", [name for name in FOLDERS if "\\" not in name])
def test_names_of_results_are_data(tmp_path: Path, name: str) -> None:
    root = write_lake(tmp_path / "lake", toy_rows(image_ids=(0, 1), methods=METHODS[:1]))
    (root / "results" / name).mkdir(parents=True)
    [file] = (root / "methods").glob("*.parquet")
    (root / "results" / name / "demo.parquet").write_bytes(file.read_bytes())
    with open_lake(str(root)) as lake:
        quoted = name.replace('"', '""')
        assert lake.query(f'select method from results."{quoted}"').item() == METHODS[0]
        assert lake.query("select count(*) from images").item() == 2


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize(("table", "key"), [("images", "dataset"), ("relevance", "method")])
def test_ids_in_folders_are_data(tmp_path: Path, name: str, table: str, key: str) -> None:
    root = write_lake(tmp_path / "lake", toy_rows(image_ids=(0, 1), methods=METHODS[:1]))
    [folder] = (root / table).rglob(f"{key}=*")
    folder.rename(folder.with_name(f"{key}={name}"))
    with pytest.raises(LakeError, match="is no id"):
        open_lake(str(root))
    try:
        with open_lake(str(root), verify=False) as lake:
            assert lake.query(f"select distinct {key} from {table}").item() == name
    except LakeError as refused:  # DuckDB takes no partition value with = ? or a line's end in it
        assert "hive" in str(refused) or "No files found" in str(refused)  # noqa: PT017
