"""Faulty files in a lake: each is named by `check`, and refused or left out by whatever reads the lake."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lakes import toy_rows, write_lake

from flows.lake import Lake, Partition
from sql.catalog import LakeError, Scope, open_lake
from sql.files import LakeWarning, inspect
from sql.storage import Storage
from sql.tables import NULL_PARTITION, RELEVANCE

MODEL = "dataset=toy-test/model=toy-model"
ORIGINALS = f"relevance/{MODEL}/method=lrp-0/subject=original/explains=label/target={NULL_PARTITION}"
MAPS = f"relevance/{MODEL}/method=lrp-0/subject=lbfgs/explains=target/target=2"
EXAMPLES = f"adversarials/{MODEL}/attack=lbfgs/target=2"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of 20 images, its partitions written by the product's own writer."""
    root = write_lake(tmp_path_factory.mktemp("sound") / "lake", toy_rows(image_ids=tuple(range(20)), seed=3))
    lake = Lake(str(root))
    for path in [
        path for table in ("images", "predictions", "adversarials", "relevance") for path in lake.paths(table)
    ]:
        table, *folders, _ = path.split("/")
        named = [folder.split("=") for folder in folders]
        keys = tuple(
            (key, None if value == NULL_PARTITION else int(value) if key == "target" else value)
            for key, value in named
        )
        rows = lake.read(path)
        lake.write(Partition(table, keys, 0, rows.num_rows, {}), rows, {})
    return root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "lake"))


def file_in(root: Path, folder: str) -> Path:
    return next((root / folder).glob("ids-*.parquet"))


def changed(root: Path, folder: str, change: Callable[[bytes], bytes]) -> Path:
    file = file_in(root, folder)
    file.write_bytes(change(file.read_bytes()))
    return file


def moved(file: Path, folder: Path, name: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(file, folder / (name or file.name)))


def copied(file: Path, name: str) -> Path:
    return Path(shutil.copy(file, file.with_name(name)))


def rewritten(root: Path, folder: str, change: Callable[[pa.Table], pa.Table]) -> Path:
    file = file_in(root, folder)
    pq.write_table(change(plain(file)), file)
    return file


def plain(file: Path) -> pa.Table:
    """Its rows without the keys of its folder."""
    return pq.ParquetFile(file).read()


def shorter(root: Path) -> Path:
    """The file of fewer images, as if it had been left beside the one of more."""
    file = file_in(root, ORIGINALS)
    rows = plain(file).slice(0, 3)
    path = file.with_name("ids-0-999-rows-3.parquet")
    pq.write_table(rows, path)
    return path


def narrow(rows: pa.Table) -> pa.Table:
    """The same maps, of half the components."""
    columns = {name: rows[name] for name in rows.column_names}
    half = RELEVANCE.arrow_schema(24)
    for name in ("relevance", "rank"):
        values = [None if row is None else row[:24] for row in rows[name].to_pylist()]
        columns[name] = pa.array(values, half.field(name).type)
    return pa.table(columns, half)


def ranks_as(kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: rows.set_column(rows.schema.get_field_index("rank"), "rank", rows["rank"].cast(kind))


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


REFUSED: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "truncated": ("unreadable", lambda root: changed(root, MAPS, lambda data: data[: len(data) // 2])),
    "its last bytes lost": ("unreadable", lambda root: changed(root, EXAMPLES, lambda data: data[:-3])),
    "empty": ("unreadable", lambda root: changed(root, MAPS, lambda data: b"")),
    "no Parquet at all": ("unreadable", lambda root: changed(root, MAPS, lambda data: b"<html>404</html>")),
    "a stored result, truncated": (
        "unreadable",
        lambda root: written(root / "results" / "topk_overlap" / "study.parquet", "PAR1"),
    ),
    "other columns": ("schema", lambda root: rewritten(root, MAPS, lambda rows: rows.select(["image_id"]))),
    "a column too many": (
        "schema", lambda root: rewritten(root, MAPS, lambda rows: rows.append_column("extra", rows["label"])),
    ),
    "ranks of another type": (
        "schema", lambda root: rewritten(root, MAPS, ranks_as(pa.list_(pa.int64(), 48))),
    ),
    "vectors of any length": ("schema", lambda root: rewritten(root, MAPS, ranks_as(pa.list_(pa.uint16())))),
    "a method of another schema": (
        "schema",
        lambda root: Path(shutil.copy(next((root / "attacks").iterdir()), root / "methods" / "a.parquet")),
    ),
    "maps of another size": ("length", lambda root: rewritten(root, MAPS, narrow)),
    "a class that is no number": (
        "folder", lambda root: moved(file_in(root, MAPS), root / MAPS.replace("target=2", "target=two")),
    ),
    "a class written otherwise": (
        "folder", lambda root: moved(file_in(root, MAPS), root / MAPS.replace("target=2", "target=02")),
    ),
    "no class where one is explained": (
        "folder", lambda root: moved(file_in(root, MAPS), root / MAPS.replace("=2", f"={NULL_PARTITION}")),
    ),
    "an explained class that nobody knows": (
        "folder", lambda root: moved(file_in(root, MAPS), root / MAPS.replace("ns=target", "ns=both")),
    ),
    "an id that is none": (
        "folder", lambda root: moved(file_in(root, MAPS), root / MAPS.replace("lrp-0", "LRP 0")),
    ),
    "a model without a name": (
        "folder", lambda root: moved(file_in(root, MAPS), root / MAPS.replace("toy-model", NULL_PARTITION)),
    ),
    "a copy by a file manager": (
        "name", lambda root: copied(file_in(root, MAPS), "ids-0-999-rows-9 (copy).parquet"),
    ),
    "a range that is no shard": (
        "name", lambda root: moved(file_in(root, MAPS), root / MAPS, "ids-5-9-rows-3.parquet"),
    ),
    "fewer rows than its name says": (
        "rows", lambda root: moved(file_in(root, MAPS), root / MAPS, "ids-0-999-rows-19.parquet"),
    ),
    "another shard's name": (
        "ids",
        lambda root: moved(
            file_in(root, MAPS), root / MAPS, file_in(root, MAPS).name.replace("0-999", "3000-3999")
        ),
    ),
    "a shorter file left behind": ("double", shorter),
    "moved to another class": (
        "keys", lambda root: moved(file_in(root, MAPS), root / MAPS.replace("target=2", "target=7")),
    ),
    "copied to another method": (
        "keys",
        lambda root: moved(
            Path(shutil.copy(file_in(root, MAPS), root / "x")),
            root / MAPS.replace("lrp-0", "gradient"),
            file_in(root, MAPS).name,
        ),
    ),
    "moved to another attack": (
        "keys", lambda root: moved(file_in(root, EXAMPLES), root / EXAMPLES.replace("lbfgs", "new-attack")),
    ),
    "a method under another name": (
        "keys", lambda root: copied(root / "methods" / "lrp-0.parquet", "lrp-1.parquet"),
    ),
}  # fmt: skip

SKIPPED: dict[str, Callable[[Path], Path]] = {
    "a download": lambda root: Path(shutil.copy(file_in(root, MAPS), root / "maps.parquet")),
    "a note": lambda root: written(root / MAPS / "README.txt", "these maps are odd"),
    "another program's Parquet": lambda root: copied(file_in(root, MAPS), "part-0.parquet"),
    "a backup in a folder of its own": lambda root: moved(
        Path(shutil.copy(file_in(root, MAPS), root / "x")),
        root / "relevance" / "old",
        "ids-0-999-rows-9.parquet",
    ),
    "a backup deep within": lambda root: moved(
        Path(shutil.copy(file_in(root, MAPS), root / "x")), root / MAPS / "old", file_in(root, MAPS).name
    ),
    "keys in another order": lambda root: moved(
        Path(shutil.copy(file_in(root, MAPS), root / "x")),
        root / "relevance/model=toy-model/dataset=toy-test/method=a/subject=lbfgs/explains=target/target=2",
        file_in(root, MAPS).name,
    ),
    "a table in a table of entities": lambda root: written(root / "methods" / "notes.csv", "a,b"),
}


def test_a_sound_lake_has_no_faults(sound: Path) -> None:
    inspection = inspect(Storage(str(sound)))
    assert inspection.faults == []
    assert len(inspection.files) == len(list(sound.rglob("*.parquet")))
    keys = {json.dumps(file.keys) for file in inspection.files.values() if file.path.startswith(ORIGINALS)}
    assert len(keys) == 1 and json.loads(keys.pop())["target"] is None


@pytest.mark.parametrize("what", REFUSED)
def test_a_faulty_file_is_named_and_the_lake_refused(root: Path, what: str) -> None:
    kind, harm = REFUSED[what]
    path = harm(root).relative_to(root).as_posix()
    faults = inspect(Storage(str(root))).faults
    assert [(fault.path, fault.fault, fault.skipped) for fault in faults] == [(path, kind, False)]
    with pytest.raises(LakeError) as refused:
        open_lake(str(root))
    assert str(refused.value).startswith(f"{root / path}: ")
    assert "delete" in str(refused.value) or "move" in str(refused.value)


@pytest.mark.parametrize("what", SKIPPED)
def test_a_foreign_file_is_named_and_left_out(root: Path, sound: Path, what: str) -> None:
    path = SKIPPED[what](root).relative_to(root).as_posix()
    faults = inspect(Storage(str(root))).faults
    assert [(fault.path, fault.fault, fault.skipped) for fault in faults] == [(path, "foreign", True)]
    count = "select method, subject, count(*) as maps from relevance group by all order by all"
    with open_lake(str(sound)) as lake:
        expected = lake.query(count)
    with pytest.warns(LakeWarning, match=path), open_lake(str(root)) as lake:
        assert lake.query(count).equals(expected)


def test_only_what_is_in_scope_is_looked_at(root: Path) -> None:
    file = changed(root, MAPS, lambda data: data[:100])
    with open_lake(
        str(root), scope=Scope("toy-test", "toy-model", ("lbfgs",), ("lrp-epsilon-0.01",))
    ) as lake:
        assert lake.query("select count(*) from relevance").item() > 0
    with pytest.raises(LakeError, match=file.name):
        open_lake(str(root), scope=Scope("toy-test", "toy-model", ("lbfgs",), ("lrp-0",)))


def test_those_who_know_may_leave_files_out_or_look_away(root: Path, sound: Path) -> None:
    file = changed(root, MAPS, lambda data: data[:100])
    rows = pq.read_metadata(file_in(sound, MAPS)).num_rows
    with open_lake(str(sound)) as lake:
        maps = lake.query("select count(*) from relevance").item()
    left_out = [file.relative_to(root).as_posix()]
    with open_lake(str(root), verify=False, without=left_out) as lake:
        assert lake.query("select count(*) from relevance").item() == maps - rows
        assert lake.query("select count(*) from adversarials").item() > 0
    with pytest.raises(LakeError, match="delete it and run the study again"):
        open_lake(str(root), verify=False).query("select sum(list_sum(relevance)) from relevance")


def test_files_of_older_lakes_say_no_keys(root: Path) -> None:
    """They cannot be compared with the folder's, and are as good as ever."""
    file = rewritten(root, MAPS, lambda rows: rows.replace_schema_metadata(None))
    assert inspect(Storage(str(root))).faults == []
    moved(file, root / MAPS.replace("target=2", "target=7"))
    assert inspect(Storage(str(root))).faults == []
    with open_lake(str(root)) as lake:
        found = {row["check"]: row["violations"] for row in lake.check().rows(named=True)}
    assert found["explained_class_agrees"] > 0 and found["relevance_has_adversarial"] > 0


def test_a_lake_in_a_bucket(root: Path) -> None:
    import fsspec

    file = changed(root, MAPS, lambda data: data[:100])
    copied(file_in(root, EXAMPLES), "part-0.parquet")
    memory = fsspec.filesystem("memory")
    memory.put(str(root), "/faulty/lake", recursive=True)
    try:
        here, there = inspect(Storage(str(root))), inspect(Storage("memory://faulty/lake"))
        assert here.files.keys() == there.files.keys()
        assert [(f.path, f.fault) for f in here.faults] == [(f.path, f.fault) for f in there.faults]
        assert {fault.fault for fault in there.faults} == {"unreadable", "foreign"}
        with warnings.catch_warnings():
            warnings.simplefilter("error", LakeWarning)
            left_out = [file.relative_to(root).as_posix()]
            with open_lake("memory://faulty/lake", verify=False, without=left_out) as lake:
                assert lake.query("select count(*) from relevance").item() > 0
    finally:
        memory.rm("/faulty", recursive=True)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command in this process: (exit code, standard output, standard error)."""
    from flows.cli import main

    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: object) -> tuple[int | str, str, str]:
        monkeypatch.setattr(sys, "argv", ["relevance-lake", *map(str, words)])
        code: int | str = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


COUNT = "select count(*) as maps from relevance"


@pytest.mark.parametrize(
    "what", ["truncated", "other columns", "a class that is no number", "moved to another class"]
)
def test_commands_name_what_is_faulty(root: Path, typed, what: str) -> None:
    path = REFUSED[what][1](root).relative_to(root).as_posix()
    code, out, err = typed("sql", COUNT, "--lake", root)
    assert (code, out) == (2, "")
    assert path in err and "error: " in err and "Traceback" not in err
    code, out, _ = typed("check", "--lake", root)
    assert code == 1
    assert path in out and "The lake is sound." not in out
    code, out, _ = typed("check", "--lake", root, "--format", "json")
    found = json.loads(out)
    assert code == 1 and found["sound"] is False
    assert [fault["path"] for fault in found["files"]] == [path]
    assert {row["check"] for row in found["checks"] if row["violations"]} <= {"relevance_has_original"}


def test_commands_name_what_is_foreign_and_answer(root: Path, sound: Path, typed) -> None:
    path = SKIPPED["another program's Parquet"](root).relative_to(root).as_posix()
    expected = typed("sql", COUNT, "--lake", sound, "--format", "csv")
    assert expected[0] == 0 and expected[2] == ""
    code, out, err = typed("sql", COUNT, "--lake", root, "--format", "csv")
    assert (code, out) == expected[:2]
    assert err.startswith("warning: ") and path in err and err.count("\n") == 1
    code, out, _ = typed("check", "--lake", root)
    assert code == 1 and f"foreign file {path}" in out


def test_check_says_that_a_sound_lake_is(root: Path, typed) -> None:
    code, out, _ = typed("check", "--lake", root)
    assert code == 0 and "The lake is sound." in out
    code, _, err = typed("check", "--lake", root / "nowhere")
    assert code == 2 and "there is no lake" in err


def flip_a_bit(file: Path, column: str) -> None:
    """In the middle of a column's compressed pages."""
    group = pq.read_metadata(file).row_group(0)
    chunk = next(
        c for c in map(group.column, range(group.num_columns)) if c.path_in_schema.startswith(column)
    )
    data = bytearray(file.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size * 2 // 3] ^= 16
    file.write_bytes(data)


def test_a_flipped_bit_is_found(root: Path, typed) -> None:
    """The footer is as it was, and DuckDB does not compare the sums of pages: only `check` can tell."""
    file = file_in(root, ORIGINALS)
    assert typed("check", "--lake", root)[0] == 0
    flip_a_bit(file, "relevance.list")
    assert inspect(Storage(str(root))).faults == []
    code, out, _ = typed("check", "--lake", root, "--again")
    assert code == 1
    assert f"pages file {file.relative_to(root).as_posix()}" in out
    assert "CRC" in out
