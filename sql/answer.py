"""The answer to one query as it comes: batches of rows that are never held all at once.

with lake.stream("select image_id, relevance from relevance") as answer:
    for batch in answer:
        ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from sql.guard import lake_error

if TYPE_CHECKING:
    import pyarrow as pa

VECTORS, NUMBERS = 2_048, 65_536
"""Rows of a batch, where a column is a vector of thousands of values, and where none is."""

Parameters = Sequence[Any] | Mapping[str, Any] | None
Watch = Callable[[float | None], None]
Result = TypeVar("Result")


class Answer:
    """Rows of one query as Arrow record batches, to be read once; a context manager.

    The query runs in a thread of its own. So a KeyboardInterrupt in the thread that waits for a batch stops
    it, and `watch`, called ten times a second meanwhile with the share that is done (0 to 1, or None where
    DuckDB cannot tell), can show how far it is. Raises LakeError for a mistake in the SQL or a damaged file.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        sql: str,
        parameters: Parameters,
        find_damaged: Callable[[], str | None],
        watch: Watch | None,
    ) -> None:
        self._connection = connection
        self._find_damaged = find_damaged
        self._watch = watch
        self._thread = ThreadPoolExecutor(1, "query")
        try:
            self._reader: pa.RecordBatchReader = self._run(lambda: self._start(sql, parameters))
        except BaseException:
            self._thread.shutdown()
            raise
        self.schema: pa.Schema = self._reader.schema

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while (batch := self._run(lambda: next(self._reader, None))) is not None:
            if batch.num_rows:
                yield batch

    def close(self) -> None:
        """Stop the query, if it is not at its end."""
        self._connection.interrupt()
        self._thread.submit(self._reader.close)
        self._thread.shutdown()

    def _start(self, sql: str, parameters: Parameters) -> pa.RecordBatchReader:
        relation = self._connection.sql(sql, params=parameters)
        nested = any(kind.id in ("list", "array") for kind in relation.types)
        return relation.to_arrow_reader(VECTORS if nested else NUMBERS)

    def _run(self, work: Callable[[], Result]) -> Result:
        """The result of `work` in the query's thread."""
        future = self._thread.submit(work)
        try:
            return self._wait(future)
        except duckdb.Error as error:
            raise lake_error(error, self._find_damaged) from None
        except OSError as error:
            raise lake_error(_amid_stream(error), self._find_damaged) from None
        except KeyboardInterrupt:
            self._connection.interrupt()
            future.exception()
            raise

    def _wait(self, future: Future[Result]) -> Result:
        while True:
            try:
                return future.result(timeout=0.1)
            except TimeoutError:
                if future.done():
                    raise
                if self._watch:
                    percent = self._connection.query_progress()
                    self._watch(percent / 100 if percent >= 0 else None)


def _amid_stream(error: OSError) -> duckdb.Error:
    """DuckDB's own error, of which pyarrow passes on the text; `Invalid Error` is of bytes amid a file."""
    bare = str(error).startswith("Invalid Error: ")
    return (duckdb.Error if bare else duckdb.DatabaseError)(str(error))
