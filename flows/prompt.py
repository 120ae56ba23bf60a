"""The prompt of `relevance-lake sql`: statements over several lines, history, completion, highlighting."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import is_done
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import SqlLexer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.errors import UserError
from sql.catalog import LakeDatabase, LakeError, analyses, data_dictionary
from sql.schema import quoted
from sql.tables import TABLES

if TYPE_CHECKING:
    import pyarrow

HELP = """\
A statement ends with ; and may have many lines. Tab completes, Up recalls, Ctrl-C stops a query.
.tables        tables, views, analyses and macros
.schema NAME   columns of one of them: type, unit, meaning
.quit          leave, as Ctrl-D does"""
LEAVING = {".quit", ".exit", "quit", "exit"}


@dataclass
class Names:
    """What can be named in a query."""

    columns: dict[str, list[str]] = field(default_factory=dict)
    """Of each table or view; those of the schema `results` by their full name."""
    macros: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, database: LakeDatabase) -> Names:
        """Everything that the lake's database knows."""
        names = cls()
        found = database.arrow(
            "select if(schema_name = 'main', '', schema_name || '.') || table_name as name, column_name "
            "from duckdb_columns() where not internal order by table_name, column_index"
        )
        for name, column in _rows(found):
            names.columns.setdefault(name, []).append(column)
        found = database.arrow(
            "select distinct function_name, internal from duckdb_functions() "
            "where regexp_full_match(function_name, '[a-z]\\w*') and function_type != 'pragma' order by all"
        )
        for name, internal in _rows(found):
            (names.functions if internal else names.macros).append(name)
        found = database.arrow("select keyword_name, 1 from duckdb_keywords() order by all")
        names.keywords = [name for name, _ in _rows(found)]
        return names


class SqlCompleter(Completer):
    """Completes the word before the cursor: first columns of the tables that the statement names."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Completions of the word before the cursor."""
        before = document.text_before_cursor
        if before.startswith("."):
            words = {".schema ": self.names.columns, ".": [".help", ".tables", ".schema", ".quit"]}
            start = next(start for start in words if before.startswith(start))
            word = before.removeprefix(".schema ")
            yield from _completions(word, words[start], "")
            return
        word = re.search(r"\w*$", before).group()  # type: ignore[union-attr]
        table = re.search(r"(\w+)\.\w*$", before)
        if table is not None:
            yield from self._within(table.group(1), word, document.text)
            return
        if re.search(r"\b(?:from|join|describe|summarize)\s+\w*$", before, re.IGNORECASE):
            yield from _completions(word, self.names.columns, "table")
            yield from _completions(word, self.names.macros, "macro")
            return
        if not word:
            return
        named = [self.names.columns[name] for name in self._named(document.text)]
        columns = dict.fromkeys(column for of_table in named for column in of_table)
        yield from _completions(word, columns, "column")
        yield from _completions(word, self.names.columns, "table")
        yield from _completions(word, self.names.macros, "macro")
        if not named:
            every = {column for of_table in self.names.columns.values() for column in of_table}
            yield from _completions(word, sorted(every), "column")
        yield from _completions(word, self.names.keywords, "keyword")
        yield from _completions(word, self.names.functions, "function")

    def _within(self, place: str, word: str, text: str) -> Iterator[Completion]:
        """What may stand behind `place.`: columns of a table or of its alias, or views of a schema."""
        aliased = re.findall(rf"([\w.]+)\s+(?:as\s+)?{place}\b", text, re.IGNORECASE)
        table = next((name for name in [place, *aliased] if name in self.names.columns), "")
        yield from _completions(word, self.names.columns.get(table, []), "column")
        views = [name.partition(".") for name in self.names.columns if name.startswith(f"{place}.")]
        yield from _completions(word, [name for _, _, name in views], "view")

    def _named(self, text: str) -> list[str]:
        found = re.findall(r"\b(?:from|join|describe|summarize)\s+([\w.]+)", text, re.IGNORECASE)
        return [name for name in found if name in self.names.columns]


class Prompt:
    """Asks for statements until it is left; errors and Ctrl-C come back to it."""

    def __init__(self, database: LakeDatabase, answer: Callable[[str], None]) -> None:
        self._database = database
        self._answer = answer
        self._console = Console()
        self.session: PromptSession[str] = PromptSession(
            "lake> ",
            prompt_continuation="   -> ",
            multiline=True,
            key_bindings=_bindings(),
            lexer=PygmentsLexer(SqlLexer),
            completer=SqlCompleter(Names.of(database)),
            complete_while_typing=False,
            auto_suggest=AutoSuggestFromHistory(),
            history=_history(),
        )

    def run(self) -> None:
        """Prompt, answer, and so on."""
        self._say(f"{self._database.url}, read only. End a statement with ; and see .help", style="dim")
        while True:
            try:
                text = self.session.prompt().strip()
            except KeyboardInterrupt:  # throws the line away, as shells do
                continue
            except EOFError:
                return
            if text.rstrip(";").lower() in LEAVING:
                return
            try:
                self._do(text)
            except KeyboardInterrupt:
                self._say("stopped", style="dim")
            except (LakeError, UserError) as error:
                self._say(str(error), style="red")

    def _do(self, text: str) -> None:
        command, _, argument = text.rstrip("; \n").partition(" ")
        match command:
            case "":
                return
            case ".help":
                self._say(HELP)
            case ".tables":
                self._show_tables()
            case ".schema" if argument.strip():
                self._show_schema(argument.strip())
            case _ if text.startswith("."):
                raise UserError(f"no command {command}: there are .help, .tables, .schema NAME and .quit")
            case _:
                self._answer(text)

    def _show_tables(self) -> None:
        names = Names.of(self._database)
        views = [name for name in names.columns if name not in TABLES and name not in analyses()]
        table = Table(box=None, show_header=False, pad_edge=False)
        for title, listed in (
            ("tables", list(TABLES)),
            ("views", [name for name in views if not name.startswith("results.")]),
            ("analyses", list(analyses())),
            ("stored", [name for name in views if name.startswith("results.")]),
            ("macros", names.macros),
        ):
            if listed:
                table.add_row(Text(title, style="bold"), ", ".join(listed))
        self._console.print(table)

    def _show_schema(self, name: str) -> None:
        meanings = {
            row["column"]: (row["unit"], row["meaning"])
            for row in data_dictionary().to_dicts()
            if row["table"] == name.removeprefix("results.")
        }
        described = self._database.arrow(
            f"select column_name, lower(column_type) from (describe {'.'.join(map(quoted, name.split('.')))})"
        )
        table = Table("column", "type", "unit", "meaning")
        for column, kind in _rows(described):
            table.add_row(column, kind, *meanings.get(column, ("", "")))
        self._console.print(table)

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter", filter=~is_done)
    def _(event: KeyPressEvent) -> None:
        """Take the completion, else send what is whole: a statement that ends with ;, a command, nothing."""
        text = event.current_buffer.text.strip()
        if event.current_buffer.complete_state:
            event.current_buffer.complete_state = None
        elif not text or text.endswith(";") or text.startswith(".") or text.lower() in LEAVING:
            event.current_buffer.validate_and_handle()
        else:
            event.current_buffer.newline()

    return bindings


def _completions(word: str, names: Iterable[str], kind: str) -> Iterator[Completion]:
    for name in names:
        if name.lower().startswith(word.lower()) and name.lower() != word.lower():
            text = name.upper() if kind == "keyword" and word.isupper() else name
            yield Completion(text, start_position=-len(word), display_meta=kind)


def _history() -> History:
    """Kept in the user's state folder; in memory where there is none to write to."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "relevance-lake"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "history").touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(folder / "history"))


def _rows(table: pyarrow.Table) -> Iterator[tuple]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)
