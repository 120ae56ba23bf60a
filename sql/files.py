"""Whether the files of a lake are what their names say, from the listing and the Parquet footers alone.

A figure is wrong without a word where a view reads a file that does not belong there: a folder that was
renamed or copied, a shorter file left beside a longer one, a file of another schema. So every file that the
views would read must be as the writer leaves it. What they do not read is foreign, and only named.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pyarrow as pa

from sql.errors import LakeError
from sql.footers import Footer, read_footers
from sql.storage import Storage
from sql.tables import ENTITIES, ID_PATTERN, NULL_PARTITION, PARTITIONED, SHARD, TABLES, Table, arrow_type

PARTITION_FILE = re.compile(r"ids-(\d+)-(\d+)-(rows|images)-(\d+)\.parquet")
"""Range of image ids, and how many rows there are, or how many images were tried."""

PARTITION_GLOB = "ids-*.parquet"
"""Files of a partition folder that the views read."""

ENTITY_GLOB = "[!.]*.parquet"
"""Files that the views read of a table without keys, and of a stored result."""

EXPLAINS = ("label", "target")
WRITE_ANEW = "delete it and run the study again, which writes it anew"

Keys = Mapping[str, str | int | None]
Lengths = Mapping[str, int]
Selection = Callable[[Keys], bool]


class LakeWarning(UserWarning):
    """Something in a lake that makes no figure wrong."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with one file.

    path: within the lake. fault: foreign, name, folder, unreadable, schema, length, rows, ids, keys, double
    or pages. problem: what is wrong. remedy: what to do.
    """

    path: str
    fault: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}; {self.remedy}"

    @property
    def skipped(self) -> bool:
        """Whether the views do not read the file, so that no figure is wrong; else the lake is not opened."""
        return self.fault == "foreign"


@dataclass(frozen=True)
class LakeFile:
    """A file that the views read; `keys` are those of its folder (none for a table without keys)."""

    path: str
    table: Table | None
    keys: Keys = field(default_factory=dict)

    @property
    def key_values(self) -> dict[str, pa.Scalar]:
        """Its keys as the views show them."""
        columns = self.table.keys if self.table else ()
        return {key.name: pa.scalar(self.keys[key.name], arrow_type(key.type)) for key in columns}

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Inspection:
    """The files that the views read, by path, and what is wrong with files."""

    files: dict[str, LakeFile]
    faults: list[Fault]

    @property
    def faulty(self) -> set[str]:
        """Paths of the files that the views would read and must not."""
        return {fault.path for fault in self.faults if not fault.skipped}


def inspect(storage: Storage, selected: Selection | None = None) -> Inspection:
    """Look at every file of the tables and stored results; with `selected` only at partitions it takes."""
    files: dict[str, LakeFile] = {}
    faults = [_foreign(path) for path in storage.matches("*.parquet")]
    for table in PARTITIONED:
        for path in storage.files(table.name):
            file, fault = _partition_file(table, path)
            if file is not None and (selected is None or selected(file.keys)):
                files[path] = file
            elif file is not None:
                continue
            if fault is not None:
                faults.append(fault)
    for folder, table, depth in [(table.name, table, 1) for table in ENTITIES] + [("results", None, 2)]:
        for path in storage.files(folder):
            if path.count("/") == depth and path.endswith(".parquet"):
                files[path] = LakeFile(path, table)
            else:
                faults.append(_foreign(path))
    named = {fault.path for fault in faults}
    sound: dict[str, Lengths] = {}  # and no footers: each takes 25 KB
    for path, footer in read_footers(storage, [path for path in files if path not in named]):
        if isinstance(footer, Footer):
            found = _footer_faults(files[path], footer)
            if not found:
                sound[path] = _lengths(files[path].table, footer)
        else:
            problem = f"damaged, no readable Parquet file ({footer})"
            found = [Fault(path, "unreadable", problem, WRITE_ANEW)]
        faults += found
    faults += _double_shards(files[path] for path in sound)
    faults += _odd_lengths(files, sound)
    return Inspection(files, sorted(faults, key=lambda fault: fault.path))


def refuse_faulty(storage: Storage, selected: Selection | None = None) -> None:
    """LakeError where a file that the views would read is faulty; LakeWarning where one is foreign."""
    faults = inspect(storage, selected).faults
    refused = [fault for fault in faults if not fault.skipped]
    skipped = [fault for fault in faults if fault.skipped]
    names_all = f"`relevance-lake check --lake {storage.root}` names all that is wrong"
    if refused:
        more = f" ({len(refused)} files are faulty; {names_all})" if len(refused) > 1 else ""
        raise LakeError(f"{storage.root}/{refused[0]}{more}")
    if skipped:
        files = "a file that is" if len(skipped) == 1 else f"{len(skipped)} files that are"
        warnings.warn(
            f"{storage.root}: left out {files} none of the lake's, such as {skipped[0].path}; {names_all}",
            LakeWarning,
            stacklevel=4,
        )


def _foreign(path: str) -> Fault:
    return Fault(path, "foreign", "no file of the lake", "move it elsewhere")


def _partition_file(table: Table, path: str) -> tuple[LakeFile | None, Fault | None]:
    """The file as the views would read it, or None; and what its place and name have wrong."""
    _, *folders, name = path.split("/")
    parts = [folder.partition("=") for folder in folders]
    if [key for key, _, _ in parts] != [key.name for key in table.keys] or not (
        name.startswith("ids-") and name.endswith(".parquet")
    ):
        return None, _foreign(path)
    keys: dict[str, str | int | None] = {}
    wrong = []
    for column, (key, _, text) in zip(table.keys, parts, strict=True):
        keys[key], problem = _key_value(column.type, key, text)
        if problem:
            wrong.append(f"{key}={text} {problem}")
    if keys.get("explains") == "target" and keys["target"] is None:
        wrong.append("a map that explains the target has none")
    file = LakeFile(path, table, keys)
    if wrong:
        remedy = "rename the folder back, or delete it and run the study again"
        return file, Fault(path, "folder", "; ".join(wrong), remedy)
    match = PARTITION_FILE.fullmatch(name)
    if match is None:
        problem = "not named ids-<first>-<last>-rows-<n>.parquet as the writer names files"
        return file, Fault(path, "name", problem, "move it elsewhere, or give it back its name")
    first, last = int(match[1]), int(match[2])
    if first % SHARD or last != first + SHARD - 1:
        problem = f"{first} to {last} are not the image ids of a shard of {SHARD}"
        return file, Fault(path, "name", problem, WRITE_ANEW)
    return file, None


def _key_value(kind: str, key: str, text: str) -> tuple[str | int | None, str]:
    """The value of a partition key in a folder's name, and what is wrong with it or nothing."""
    if text == NULL_PARTITION:
        return None, "" if key == "target" else "is null"
    if kind == "int32":
        return (int(text), "") if re.fullmatch("0|[1-9][0-9]{0,8}", text) else (None, "is no class")
    if key == "explains" and text not in EXPLAINS:
        return text, f"is neither {' nor '.join(EXPLAINS)}"
    return text, "" if ID_PATTERN.fullmatch(text) else "is no id (a to z, 0 to 9, dot and hyphen)"


def _footer_faults(file: LakeFile, footer: Footer) -> list[Fault]:
    """What the file's footer has wrong, for its table and its name."""
    if file.table is None:
        return []
    if problem := _schema_problem(file.table, footer):
        remedy = "move it elsewhere, or delete it and run the study again"
        return [Fault(file.path, "schema", f"not of the schema of {file.table.name}: {problem}", remedy)]
    if not file.table.keys:
        return _entity_faults(file, footer)
    match = PARTITION_FILE.fullmatch(file.name)
    assert match is not None
    first, last, counted, count = int(match[1]), int(match[2]), match[3], int(match[4])
    rows = footer.metadata.num_rows
    faults = []
    if rows > count or (counted == "rows" and rows != count):
        problem = f"holds {rows} rows, not {count} as its name says"
        faults.append(Fault(file.path, "rows", problem, WRITE_ANEW))
    bounds = footer.bounds("image_id")
    if any(low < first or high > last for low, high in bounds):
        low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
        problem = f"holds image ids {low} to {high}, not of {first} to {last} as its name says"
        faults.append(Fault(file.path, "ids", problem, WRITE_ANEW))
    own = footer.said.get("keys")
    if own is not None and own != dict(file.keys):
        differing = [key for key in file.keys if own.get(key) != file.keys[key]]
        problem = "written for " + ", ".join(f"{key}={own.get(key)}" for key in differing)
        remedy = "move it back to the folder of these keys, or delete it and run the study again"
        faults.append(Fault(file.path, "keys", f"{problem}, in another folder now", remedy))
    return faults


def _schema_problem(table: Table, footer: Footer) -> str:
    """How a file's schema differs from the contract's; empty where it does not."""
    lengths = _lengths(table, footer)
    wanted = _schema(table.name, lengths.get("[n]", 0), lengths.get("[k]", 0))
    if footer.schema.equals(wanted) and 0 not in lengths.values():
        return ""
    table_before = wanted.names[: len(wanted.names) - table.later]
    if table.later and footer.schema.equals(pa.schema([wanted.field(name) for name in table_before])):
        return ""
    found = {one.name: one.type for one in footer.schema}
    types = {one.name: one.type for one in wanted}
    parts = [f"no column {name}" for name in types if name not in found]
    parts += [f"a column {name} of its own" for name in found if name not in types]
    parts += [
        f"{name} is {found[name]}, not {kind}"
        for name, kind in types.items()
        if name in found and found[name] != kind
    ]
    return ", ".join(parts) or "the columns stand in another order"


@cache
def _schema(table: str, components: int, classes: int) -> pa.Schema:
    return TABLES[table].arrow_schema(components, classes)


@cache
def _vectors(table: str) -> dict[str, str]:
    """A vector column of each unit of length, n and k, that the table has."""
    columns = TABLES[table].columns
    return {column.type[-3:]: column.name for column in columns if column.type.endswith(("[n]", "[k]"))}


def _lengths(table: Table | None, footer: Footer) -> Lengths:
    """Lengths of a file's vectors by their unit, n and k."""
    return {unit: footer.length(column) for unit, column in _vectors(table.name).items()} if table else {}


def _entity_faults(file: LakeFile, footer: Footer) -> list[Fault]:
    """A file of a table without keys has one row, which it is named by."""
    assert file.table is not None
    name, rows = file.name.removesuffix(".parquet"), footer.metadata.num_rows
    column = file.table.columns[0].name
    bounds = footer.bounds(column)
    if rows != 1:
        return [Fault(file.path, "rows", f"holds {rows} rows, not one", WRITE_ANEW)]
    if bounds and bounds[0] != (name, name):
        remedy = f"rename it to {bounds[0][0]}.parquet, or delete it and run the study again"
        return [Fault(file.path, "keys", f"written for {column}={bounds[0][0]}, under another name", remedy)]
    return []


def _double_shards(files: Iterable[LakeFile]) -> list[Fault]:
    """The shorter of two files of one shard."""
    shards: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for file in files:
        match = PARTITION_FILE.fullmatch(file.name) if file.table and file.table.keys else None
        if match:
            shards[file.folder, match[1]].append((int(match[4]), file.path))
    faults = []
    for found in shards.values():
        *shorter, (_, longest) = sorted(found)
        problem = f"a second file of its shard, beside {longest.rpartition('/')[2]}"
        faults += [Fault(path, "double", problem, "delete the one with fewer rows") for _, path in shorter]
    return faults


def _odd_lengths(files: Mapping[str, LakeFile], sound: Mapping[str, Lengths]) -> list[Fault]:
    """Those of the sound files whose vectors are not as long as those of most files of their dataset."""
    lengths: dict[tuple[Any, str], dict[str, int]] = defaultdict(dict)
    for path, own in sound.items():
        for unit, length in own.items():
            lengths[files[path].keys["dataset"], unit][path] = length
    faults = []
    for (dataset, _), found in lengths.items():
        [(usual, _)] = Counter(found.values()).most_common(1)
        faults += [
            Fault(path, "length", f"vectors of {length} values, others of {dataset} of {usual}", WRITE_ANEW)
            for path, length in found.items()
            if length != usual
        ]
    return faults
