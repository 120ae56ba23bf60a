"""Answers on a terminal: numbers to six digits, vectors in short, wide rows one below the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import pyarrow as pa

    from sql.answer import Answer

LONGEST_TEXT = 60
"""Characters of a line in a cell; longer text is folded."""
NARROWEST_TEXT = 24
"""To so few where the terminal is narrow."""
WHOLE_VECTOR = 10
"""Vectors of so many values are shown in full."""
VALUES_SHOWN = 3
"""Of longer ones."""
COUNTING_SECONDS = 3.0
"""For so long rows are counted that are not shown."""


def tabled(answer: Answer, rows: int, width: int) -> tuple[RenderableType, str]:
    """The first `rows` rows for a terminal of `width` characters, and a sentence: how many there are."""
    batches = iter(answer)
    shown: list[list[Any]] = []
    found = 0
    for batch in batches:
        shown += _rows(batch.slice(0, rows - len(shown)))
        found += batch.num_rows
        if found > rows:
            break
    names = answer.schema.names
    if names == ["explain_key", "explain_value"]:
        return Text("\n".join(plan for _, plan in shown), no_wrap=True, overflow="ignore"), "explained"
    numeric = [_is_number(field.type) for field in answer.schema]
    table = fitting_table(names, shown, numeric, width)
    if found <= rows:
        return table, f"{found:,} {'row' if found == 1 else 'rows'}"
    more, at_its_end = _count(batches)
    total = f"{found + more:,}" if at_its_end else f"more than {found + more:,}"
    return table, f"the first {rows:,} of {total} rows (--rows N shows more, --output FILE writes all)"


def _rows(batch: pa.RecordBatch) -> Iterator[list[Any]]:
    columns = [column.to_pylist() for column in batch.columns]
    return ([column[i] for column in columns] for i in range(batch.num_rows))


def _count(batches: Iterator[pa.RecordBatch]) -> tuple[int, bool]:
    """Rows to come, and whether these are all; not all where counting them takes long."""
    counted, deadline = 0, monotonic() + COUNTING_SECONDS
    for batch in batches:
        counted += batch.num_rows
        if monotonic() > deadline:
            return counted, False
    return counted, True


def fitting_table(
    names: Sequence[str], rows: Sequence[Sequence[Any]], numeric: Sequence[bool], width: int
) -> RenderableType:
    """The rows in `width` characters.

    Where they do not fit side by side, columns of one value stand above, then long names are broken, and
    if that does not help each value has a line of its own.
    """
    cells = [[cell(value) for value in row] for row in rows]
    every = range(len(names))
    whole = _side_by_side(names, cells, numeric, every)
    if _fits(whole, width):
        return whole
    constant = [i for i in every if len(cells) > 1 and len({row[i].plain for row in cells}) == 1]
    above = Text(", ").join(Text.assemble((f"{names[i]} ", "bold"), cells[0][i]) for i in constant)
    varying = [i for i in every if i not in constant]
    for shown in (names, [name.replace("_", "_\n") for name in names]):
        table = _side_by_side(shown, cells, numeric, varying)
        if _fits(table, width):
            return Group(Text.assemble(("in every row below: ", "dim"), above), table) if constant else table
    return _one_below_the_other(names, cells)


def _fits(table: Table, width: int) -> bool:
    return Console(width=10**6).measure(table).minimum <= width


def _side_by_side(
    names: Sequence[str], cells: Sequence[Sequence[Text]], numeric: Sequence[bool], places: Sequence[int]
) -> Table:
    """A table of the columns at `places`; on a narrow terminal text is folded."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for place in places:
        header = Text(names[place])
        longest = max(_longest_line(text) for text in [header, *(row[place] for row in cells)])
        narrowest = longest if numeric[place] else min(longest, NARROWEST_TEXT)
        table.add_column(
            header,
            justify="right" if numeric[place] else "left",
            vertical="bottom",
            overflow="fold",
            no_wrap=numeric[place],
            min_width=narrowest,
            max_width=max(narrowest, LONGEST_TEXT),
        )
    for row in cells:
        table.add_row(*(row[place] for place in places))
    return table


def _one_below_the_other(names: Sequence[str], cells: Sequence[Sequence[Text]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for number, row in enumerate(cells, start=1):
        table.add_row(Text(f"row {number}", style="dim"))
        for name, value in zip(names, row, strict=True):
            table.add_row(Text(name), value)
    return table


def cell(value: Any) -> Text:
    """A value as it stands in a table."""
    if value is None:
        return Text("null", style="dim")
    return Text(
        "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in brief(value))
    )


def brief(value: Any, digits: int = 6) -> str:
    """A value in short: numbers to so many digits, of a long vector the first values and its length."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float() if abs(value) < 10**digits or abs(value) >= 1e15:
            return f"{value:.{digits}g}"
        case float():
            return f"{value:.0f}"
        case list() if len(value) > WHOLE_VECTOR:
            first = ", ".join(brief(one, 3) for one in value[:VALUES_SHOWN])
            return f"[{first}, ... {len(value)} values]"
        case list():
            return f"[{', '.join(brief(one, 3) for one in value)}]"
        case dict():
            return f"{{{', '.join(f'{name}: {brief(one, 3)}' for name, one in value.items())}}}"
        case (months, days, nanoseconds):  # an interval
            return f"{months} months {days} days {nanoseconds / 1e9:g} s"
        case (name, one):  # an entry of a map
            return f"{brief(name, 3)}: {brief(one, 3)}"
        case bytes():
            return value.hex()
    return str(value)


def _longest_line(text: Text) -> int:
    return max((len(line) for line in text.plain.splitlines()), default=0)


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
