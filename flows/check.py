"""Check: whether a lake holds what it says, before anybody believes a figure.

First every file by its name and footer (sql/files.py), then what is in it. What a file alone tells, the sums
of its pages and the checks of each map by itself, is remembered in `checked/`: only new and changed files are
read again. The other checks (sql/checks) are queries over a few narrow columns.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from flows.analyse import MEMORY_LIMIT, scope_of
from flows.errors import UserError
from flows.lake import Lake
from flows.parallel import cores, spread
from flows.progress import track
from flows.storage_faults import StorageFault, is_replaced, steadily
from flows.study import Study
from sql import package
from sql.catalog import Scope, open_lake
from sql.errors import LakeError
from sql.files import WRITE_ANEW, Fault, LakeFile, inspect
from sql.footers import read_rows, reason
from sql.map_checks import MapChecks, Outcome, added, map_checks
from sql.storage import Storage
from sql.tables import RELEVANCE, RUNS, TABLES

logger = logging.getLogger("relevance_lake")

REMEMBERED = "checked/files.parquet"
SECONDS_BETWEEN_NOTES = 60.0
"""Time after which what is known by then is written down: an interrupted check goes on from there."""


@dataclass(frozen=True)
class Report:
    """What a check found: faulty files, and the outcome of every check over the files that are sound."""

    faults: list[Fault]
    outcomes: list[Outcome]

    @property
    def refused(self) -> list[Fault]:
        """Faults that would make a figure wrong."""
        return [fault for fault in self.faults if not fault.skipped]

    @property
    def violated(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.violations]

    @property
    def is_sound(self) -> bool:
        return not self.faults and not self.violated


def check_lake(lake: Lake, scope: Scope | None = None, again: bool = False) -> Report:
    """Check a lake, or the part of it in `scope`; `again`: also the files that were found sound before."""
    lake.refresh()
    storage = lake.storage
    storage.require_lake()
    inspection = inspect(storage, scope.takes if scope else None)
    faulty = inspection.faulty
    files = [file for file in inspection.files.values() if file.table and file.table.keys]
    with open_lake(lake.url, verify=False, without=faulty) as database:
        methods = database.arrow("select * from methods")
    known = Known(lake, methods, again)
    damaged = _read_files(storage, known, [file for file in files if file.path not in faulty])
    faulty |= {fault.path for fault in damaged}
    outcomes = added(known.outcomes(file for file in files if file.path not in faulty))
    with (
        open_lake(lake.url, scope=scope, memory_limit=MEMORY_LIMIT, verify=False, without=faulty) as database,
        track("checks", sum(not check.is_of_map for check in package.checks().values()), "checks") as advance,
    ):
        for outcome in database.run_checks():
            outcomes[outcome.check] = outcome
            advance(1, outcome.check)
    every = [outcomes.get(name, Outcome(name, 0)) for name in package.checks()]
    return Report(sorted(inspection.faults + damaged, key=lambda fault: fault.path), every)


def require_sound(study: Study, lake: Lake) -> None:
    """Check the part of a lake that a study is of; UserError where something is wrong, before a report is.

    Costs a look at the footers where nothing changed since it was found sound.
    """
    lake.refresh()
    scope = scope_of(study, lake)
    path, made_from = f"checked/studies/{study.name}.parquet", _inputs(scope, lake)
    if lake.exists(path) and lake.made_from(path) == made_from:
        return
    report = check_lake(lake, scope)
    see = f"`relevance-lake check --lake {lake.url}` shows all that is wrong"
    if report.refused:
        raise UserError(f"{lake.url}/{report.refused[0]} ({see})")
    if report.violated:
        worst = report.violated[0]
        raise UserError(
            f"{lake.url} fails the check {worst.check} ({package.checks()[worst.check].title}) in "
            f"{worst.violations} rows, such as {worst.first}: no report is written. "
            f"Delete the files that hold them and run the study again; {see}"
        )
    lake.write_rows(path, outcome_table(report), made_from)


def outcome_table(report: Report) -> pa.Table:
    """Columns check, title, violations, first."""
    rows = [
        {"check": one.check, "title": package.checks()[one.check].title}
        | {"violations": one.violations, "first": one.first}
        for one in report.outcomes
    ]
    text = pa.string()
    schema = pa.schema([("check", text), ("title", text), ("violations", pa.int64()), ("first", text)])
    return pa.Table.from_pylist(rows, schema)


class Known:
    """What is known of the files of a lake: what was remembered of them, and what is found now."""

    def __init__(self, lake: Lake, methods: pa.Table, forget: bool) -> None:
        self._lake = lake
        self.methods = methods
        self._of_method = {row["method"]: json.dumps(row) for row in methods.to_pylist()}
        self._checks = [check.sql for check in package.checks().values() if check.is_of_map]
        self._found: dict[str, tuple[str, list[Outcome]]] = {}
        self._noted = time.monotonic()
        if lake.exists(REMEMBERED) and not forget:
            with suppress(UserError):  # a damaged memory is none
                for row in lake.read(REMEMBERED).to_pylist():
                    outcomes = [Outcome(*values) for values in json.loads(row["found"])]
                    self._found[row["path"]] = (row["made_from"], outcomes)

    def new(self, files: Iterable[LakeFile]) -> list[LakeFile]:
        """The files that are to be read."""
        return [file for file in files if self._found.get(file.path, ("",))[0] != self._made_from(file)]

    def outcomes(self, files: Iterable[LakeFile]) -> Iterator[Outcome]:
        """What the checks of single maps found in these files."""
        for file in files:
            yield from self._found.get(file.path, ("", []))[1]

    def note(self, file: LakeFile, outcomes: list[Outcome]) -> None:
        """Keep what was found in a file."""
        self._found[file.path] = (self._made_from(file), outcomes)
        if time.monotonic() - self._noted > SECONDS_BETWEEN_NOTES:
            self.remember()

    def forget(self, file: LakeFile) -> None:
        """Drop what was found in a file."""
        self._found.pop(file.path, None)

    def remember(self) -> None:
        """Write down what is known, but of files that are gone; a lake may be there to be read alone."""
        self._noted = time.monotonic()
        rows = [
            {
                "path": path,
                "made_from": made_from,
                "found": json.dumps([(one.check, one.violations, one.first) for one in outcomes]),
            }
            for path, (made_from, outcomes) in sorted(self._found.items())
            if self._lake.exists(path)
        ]
        schema = pa.schema([(name, pa.string()) for name in ("path", "made_from", "found")])
        try:
            self._lake.write_rows(REMEMBERED, pa.Table.from_pylist(rows, schema), {})
        except (UserError, LakeError) as error:
            logger.warning("what was read is not remembered: %s", error)

    def _made_from(self, file: LakeFile) -> str:
        rules = []
        if file.table is RELEVANCE:
            rules = [*self._checks, self._of_method.get(str(file.keys["method"]), "")]
        return hashlib.sha256("\n".join([self._lake.fingerprint(file.path), *rules]).encode()).hexdigest()


def _read_files(storage: Storage, known: Known, files: list[LakeFile]) -> list[Fault]:
    """Read what is not known yet of these files; the faults of those that are damaged."""
    new = known.new(files)
    if not new:
        return []
    damaged = []
    with ExitStack() as stack, track("files", len(new), "files") as advance:
        checks = [stack.enter_context(map_checks(known.methods)) for _ in range(min(4, cores()))]
        outcomes = stack.enter_context(closing(spread(new, checks, partial(_read_file, storage))))
        stack.callback(known.remember)
        for file, found in outcomes:
            if isinstance(found, Fault):
                damaged.append(found)
            elif found is not None:
                known.note(file, found)
            else:
                known.forget(file)
            advance()
    return damaged


def _read_file(storage: Storage, checks: MapChecks, file: LakeFile) -> list[Outcome] | Fault | None:
    """What the checks of maps found in a file; None where a run that goes on beside replaced it."""

    def read() -> list[Outcome]:
        outcomes: list[Outcome] = []
        for rows in read_rows(storage, file.path, file.key_values):
            if file.table is RELEVANCE:
                outcomes += checks.run(rows)
        return list(added(outcomes).values())

    try:
        return steadily(f"{storage.root}/{file.path}", "read", read)
    except FileNotFoundError:
        return None
    except StorageFault as fault:
        if is_replaced(fault.__cause__):
            return None
        raise
    except (pa.ArrowException, OSError) as error:
        problem = f"damaged, not all of it can be read ({reason(error)})"
        return Fault(file.path, "pages", problem, WRITE_ANEW)


def _inputs(scope: Scope, lake: Lake) -> dict[str, str]:
    """What decides whether a part of a lake is sound: its files, and the checks."""
    files = lake.digest(table for table in TABLES.values() if table is not RUNS)
    checks = hashlib.sha256()
    for check in package.checks().values():
        checks.update(check.definition.encode())
    return {"scope": repr(scope), "files": files, "checks": checks.hexdigest()}
