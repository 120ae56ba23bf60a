"""The lake as a DuckDB database: one view per table, the macros, and every analysis as a view.

with open_lake("./lake") as lake:
    lake.query("select method, count(*) from relevance group by method")
    lake.analyse("topk_overlap")
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from types import TracebackType
from typing import TYPE_CHECKING

import duckdb
import pyarrow

from sql import package
from sql.answer import Answer, Parameters, Watch
from sql.errors import LakeError
from sql.files import ENTITY_GLOB, PARTITION_GLOB, Keys, refuse_faulty
from sql.guard import lake_error, require_reading
from sql.map_checks import Outcome, added, map_checks
from sql.package import Analysis, analyses
from sql.schema import (
    connect,
    create_contract,
    data_dictionary,
    duckdb_type,
    empty_rows,
    empty_table,
    literal,
    quoted,
    view_columns,
)
from sql.storage import Storage
from sql.tables import ADVERSARIALS, ID_PATTERN, PARTITIONED, RELEVANCE, SHARD, TABLES, Table

if TYPE_CHECKING:
    import polars

__all__ = ["Analysis", "LakeDatabase", "LakeError", "Scope", "analyses", "data_dictionary", "open_lake"]

MAPS_AT_A_TIME = 512


@dataclass(frozen=True)
class Scope:
    """The part of a lake that the views show. None narrows nothing; an empty tuple leaves nothing.

    `attacks` narrows the subjects too: originals stay. `targets` are the classes aimed at, which leaves
    maps of originals explained for their own label. `labels` narrow whatever has a label.
    """

    dataset: str | None = None
    model: str | None = None
    attacks: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    subjects: tuple[str, ...] | None = None
    """Whose maps; by default the originals' and the attacks'."""
    explains: tuple[str, ...] | None = None
    labels: tuple[int, ...] | None = None
    targets: tuple[int, ...] | None = None
    last_image: int | None = None
    """Adversarial examples and maps of later images stay out; none: of no image."""
    shard: int | None = None
    """Only the files of this shard of image ids."""

    def condition(self, table: Table) -> str:
        """SQL condition that rows of `table` in scope fulfil."""
        allowed = self._allowed
        names = [column.name for column in table.keys or table.columns]
        conditions = [_is_in(name, values) for name in names if (values := allowed.get(name)) is not None]
        if self.labels is not None and table in PARTITIONED:
            conditions.append(_is_among("label", self.labels))
        if self.targets is not None and table in (ADVERSARIALS, RELEVANCE):
            among = _is_among("target", self.targets)
            conditions.append(f"(target is null or {among})" if table is RELEVANCE else among)
        if self.last_image is not None and table in (ADVERSARIALS, RELEVANCE):
            conditions.append(f"image_id <= {int(self.last_image)}")
        return " and ".join(conditions) or "true"

    def takes(self, keys: Keys) -> bool:
        """Whether the files of a partition folder are in scope."""
        allowed = {name: ids for name, ids in self._allowed.items() if ids is not None and name in keys}
        return all(keys[name] in ids for name, ids in allowed.items())

    @property
    def whose_maps(self) -> tuple[str, ...] | None:
        """The subjects in scope; None where every one is."""
        if self.subjects is None and self.attacks is not None:
            return ("original", *self.attacks)
        return self.subjects

    @property
    def _allowed(self) -> dict[str, tuple[str, ...] | None]:
        """Ids in scope by column; None where every id is."""
        return {
            "dataset": None if self.dataset is None else (self.dataset,),
            "model": None if self.model is None else (self.model,),
            "attack": self.attacks,
            "method": self.methods,
            "subject": self.whose_maps,
            "explains": self.explains,
        }

    def files(self, table: Table) -> list[str]:
        """Patterns of the table's partition files in scope, below the folder of a dataset."""
        names = PARTITION_GLOB if self.shard is None else f"ids-{self.shard * SHARD}-*.parquet"
        choices = []
        for key in table.keys[1:]:
            ids = self._allowed.get(key.name)
            # an id of another look has no folder, and would mean something in a pattern
            found = ["*"] if ids is None else [one for one in ids if ID_PATTERN.fullmatch(one)]
            choices.append([f"{key.name}={one}" for one in found])
        return ["/".join((*folders, names)) for folders in product(*choices)]


def open_lake(
    url: str = "./lake",
    *,
    scope: Scope | None = None,
    memory_limit: str | None = None,
    threads: int | None = None,
    verify: bool = True,
    without: Collection[str] = (),
    reorder_joins: bool = True,
) -> LakeDatabase:
    """Open the lake at `url` for reading.

    `url` is a folder, or a bucket such as s3://bucket/prefix (through fsspec). With a `scope` the views
    show only its part of the lake. `memory_limit` (such as "4GB") and `threads` are DuckDB's. `without`:
    paths of files that are left out. Unless `reorder_joins`, a join holds its right side in memory: DuckDB
    guesses badly how many rows partitioned files have, and might hold the maps of all adversarial examples
    instead of those of the originals. Raises LakeError where there is no lake, and, unless `verify` is
    false, where a file in scope is not what its name says (sql/files.py); files that are none of the
    lake's are not read, with a LakeWarning.
    """
    return LakeDatabase(
        url,
        scope=scope,
        memory_limit=memory_limit,
        threads=threads,
        verify=verify,
        without=without,
        reorder_joins=reorder_joins,
    )


class LakeDatabase:
    """A lake opened in DuckDB; a context manager.

    Views: one per table with its partition keys as columns, one per analysis, `results.<analysis>` for
    each stored result, and `published_figures`. Nothing outside the lake can be read, nothing written.
    """

    def __init__(
        self,
        place: str | Storage,
        *,
        scope: Scope | None = None,
        memory_limit: str | None = None,
        threads: int | None = None,
        verify: bool = True,
        without: Collection[str] = (),
        reorder_joins: bool = True,
        only: Collection[str] | None = None,
    ) -> None:
        """As open_lake. place: or one that has been looked at. only: the views, beside those of tables, that
        are there, with all that they read: to create every view takes a third of a second.
        """
        self.scope: Scope | None = None
        self._held: set[str] = set()
        self._only = None if only is None else package.views(only).keys()
        self._without = frozenset(without)
        self.storage = Storage(place) if isinstance(place, str) else place
        self.url = self.storage.root
        self.connection = connect(memory_limit, threads, reorder_joins)
        self._watched = self.connection.cursor()
        try:
            create_contract(self.connection, only)
            self.storage.require_lake()
            self.storage.register(self.connection)
            if verify:
                refuse_faulty(self.storage, scope.takes if scope else None)
            self._narrow(scope)
            self._show_results()
            self._lock()
        except duckdb.Error as error:
            self.close()
            raise lake_error(error, self._find_damaged) from None
        except LakeError:
            self.close()
            raise

    def __enter__(self) -> LakeDatabase:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the database; the lake itself is not touched."""
        self._watched.close()
        self.connection.close()

    def query(self, sql: str, parameters: Parameters = None) -> polars.DataFrame:
        """Rows of one statement that reads (SELECT, WITH, FROM, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN).

        `parameters` fill `?` or `$name`. Raises LakeError for any other statement, for a mistake in the
        SQL (with DuckDB's own message), and for a damaged file (with its name).
        """
        import polars

        try:
            frame = polars.from_arrow(self.arrow(sql, parameters))
        except polars.exceptions.PolarsError as error:
            raise LakeError(
                f"SQL: the answer does not fit a Polars frame: {error}; "
                "name each column once, and cast intervals and unions to varchar"
            ) from None
        assert isinstance(frame, polars.DataFrame)
        return frame

    def arrow(self, sql: str, parameters: Parameters = None) -> pyarrow.Table:
        """The same as `query`, as an Arrow table."""
        # A cursor of its own, because a result left unread on self.connection blocks that connection.
        with self.connection.cursor() as cursor:
            require_reading(cursor, sql)
            try:
                return cursor.sql(sql, params=parameters).to_arrow_table()
            except duckdb.Error as error:
                raise lake_error(error, self._find_damaged) from None

    def stream(self, sql: str, parameters: Parameters = None, watch: Watch | None = None) -> Answer:
        """The same as `query`, in batches that are never held all at once; one stream at a time."""
        require_reading(self._watched, sql)
        return Answer(self._watched, sql, parameters, self._find_damaged, watch)

    def analyse(self, name: str) -> polars.DataFrame:
        """Result of sql/analyses/<name>.sql over the lake, or over the scope that it was opened with."""
        if name not in analyses():
            raise LakeError(f"there is no analysis {name!r}; there are {', '.join(analyses())}")
        return self.query(f"select * from {quoted(name)}")

    def check(self) -> polars.DataFrame:
        """Run every data check: columns check, title, violations (rows that are wrong), first (one of them).

        A sound lake has no violations. The checks read every map, which takes minutes on a full study;
        `relevance-lake check` remembers what it found in the files that it has read.
        """
        import polars

        found = {outcome.check: outcome for outcome in self.run_checks()} | added(self._check_maps())
        rows = []
        for name, check in package.checks().items():
            outcome = found.get(name, Outcome(name, 0))
            rows.append((name, check.title, outcome.violations, outcome.first))
        text, number = polars.String, polars.Int64
        columns = {"check": text, "title": text, "violations": number, "first": text}
        return polars.DataFrame(rows, schema=columns, orient="row")

    def run_checks(self) -> Iterator[Outcome]:
        """What each data check finds, but those that look at each map by itself (sql/map_checks.py)."""
        for name, check in package.checks().items():
            if not check.is_of_map:
                found = self.arrow(check.violations)
                yield Outcome(name, *(column[0].as_py() for column in found.columns))

    def _check_maps(self) -> Iterator[Outcome]:
        methods = self.arrow("select * from methods")
        with map_checks(methods) as checks, self.connection.cursor() as cursor:
            for batch in cursor.sql("select * from relevance").to_arrow_reader(MAPS_AT_A_TIME):
                yield from checks.run(pyarrow.Table.from_batches([batch]))

    def narrow(self, scope: Scope | None) -> None:
        """Show another part of the lake, or (None) all of it, with the files that it has by now."""
        try:
            self._narrow(scope)
        except duckdb.Error as error:
            raise lake_error(error, self._find_damaged) from None

    def _narrow(self, scope: Scope | None) -> None:
        self.scope = scope
        for view in self._held:
            sql = package.shared_views()[view].sql
            self.connection.execute(f"create or replace view {quoted(view)} as {sql}")
            self.connection.execute(f"drop table {quoted(f'held {view}')}")
        self._held.clear()
        for table in TABLES.values():
            self._show_table(table)

    def hold(self, view: str, rows: pyarrow.Table) -> None:
        """Show these rows as a shared view, until the lake is narrowed anew."""
        held = quoted(f"held {view}")
        self.connection.register("rows to hold", rows)
        self.connection.execute(f"create or replace table {held} as from 'rows to hold'")
        self.connection.unregister("rows to hold")
        self.connection.execute(f"create or replace view {quoted(view)} as from {held}")
        self._held.add(view)

    def schema(self, view: str) -> pyarrow.Schema:
        """Arrow schema of a view, without a look at the files that it reads."""
        return self.arrow(empty_rows(view_columns(self.connection, view))).schema

    def keep(self, partial: str, files: Sequence[str]) -> None:
        """Let a partial result be read from `files` (paths in the lake) instead of being computed."""
        if self._only is not None and partial not in self._only:
            return
        urls = ", ".join(literal(self.storage.glob_url("", path)) for path in files)
        rows = f"select * from read_parquet([{urls}], hive_partitioning = false)"
        if not files:  # without the statement that has no rows: to plan it alone takes a second
            rows = empty_rows(view_columns(self.connection, partial))
        try:
            self.connection.execute(f"create or replace view {quoted(partial)} as {rows}")
        except duckdb.Error as error:
            raise lake_error(error, self._find_damaged) from None

    def _show_table(self, table: Table) -> None:
        """Replace the table's view by one over its files, if it has any."""
        scans = list(self._scans(table))
        if not scans:
            self.connection.execute(f"create or replace view {quoted(table.name)} as {empty_table(table)}")
            return
        condition = self.scope.condition(table) if self.scope else "true"
        columns = ", ".join(quoted(c.name) for c in table.keys + table.columns)
        selects = [f"select {columns} from {scan} where {condition}" for scan in scans]
        try:
            self.connection.execute(
                f"create or replace view {quoted(table.name)} as {' union all '.join(selects)}"
            )
        except duckdb.BinderException as error:
            raise LakeError(
                f"{self.url}/{table.name} holds a file without the columns of the table {table.name!r}; "
                f"delete files that are not this lake's, or write the table anew ({error})"
            ) from None

    def _scans(self, table: Table) -> Iterable[str]:
        """One read_parquet for each folder of files that share a schema.

        Vectors of different datasets may differ in type (ranks are uint16 or uint32), so every dataset
        is read by itself.
        """
        if not table.keys:
            if files := self._source([ENTITY_GLOB], under=table.name):
                by_name = (
                    f"read_parquet({files}, hive_partitioning = false, union_by_name = {table.later > 0})"
                )
                yield f"({empty_table(table)} union all by name from {by_name})" if table.later else by_name
            return
        types = ", ".join(f"{quoted(key.name)}: {duckdb_type(key.type)}" for key in table.keys)
        files_of_dataset = (self.scope or Scope()).files(table)
        for folder in self.storage.folders(f"{table.name}/dataset=*"):
            if self.scope and self.scope.dataset and folder != f"dataset={self.scope.dataset}":
                continue
            if files := self._source(files_of_dataset, under=f"{table.name}/{folder}"):
                yield f"read_parquet({files}, hive_partitioning = true, hive_types = {{{types}}})"

    def _source(self, patterns: Sequence[str], under: str) -> str | None:
        """What read_parquet is to read of the files in a folder; None where there are none."""
        if self._without:
            found = [path for pattern in patterns for path in self.storage.matches(pattern, under)]
            paths = (path for path in found if path not in self._without)
            urls = [self.storage.glob_url("", under=path) for path in paths]
        else:
            found = [pattern for pattern in patterns if self.storage.has(pattern, under=under)]
            urls = [self.storage.glob_url(pattern, under=under) for pattern in found]
        return f"[{', '.join(map(literal, urls))}]" if urls else None

    def _show_results(self) -> None:
        for name in self.storage.folders("results/*"):
            if files := self._source([ENTITY_GLOB], under=f"results/{name}"):
                self.connection.execute(
                    f"create view results.{quoted(name)} as select * from "
                    f"read_parquet({files}, union_by_name = true, hive_partitioning = false)"
                )

    def _lock(self) -> None:
        # DuckDB compares the text of a path, and that of a glob pattern as well.
        roots = {self.url, self.storage.pattern_root}
        allowed = ", ".join(literal(root + "/") for root in sorted(roots))
        self.connection.execute(f"set allowed_directories = [{allowed}]")
        # Only so does DuckDB count how much of a query is done; a setting of one connection, and soon locked.
        self._watched.execute("set enable_progress_bar = true")
        self._watched.execute("set enable_progress_bar_print = false")
        self.connection.execute("set enable_external_access = false")
        self.connection.execute("set lock_configuration = true")

    def _find_damaged(self) -> str | None:
        return self.storage.find_damaged()


def _is_in(column: str, values: tuple[str, ...]) -> str:
    return f"{quoted(column)} in ({', '.join(map(literal, values))})" if values else "false"


def _is_among(column: str, numbers: tuple[int, ...]) -> str:
    return f"{quoted(column)} in ({', '.join(str(int(n)) for n in numbers)})" if numbers else "false"
