"""What a table of the page is: each cell keeps the exact value of the result beside the text shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """One cell: the text, the exact value behind it (None for plain text), a remark, a CSS class."""

    text: str
    value: float | None = None
    remark: str = ""
    css: str = ""


@dataclass(frozen=True)
class Row:
    """One row; `heads` name it: `(text, span)` spans rows, a span of 0 continues the one above."""

    heads: tuple[tuple[str, int], ...]
    cells: tuple[Cell, ...]
    css: str = ""


@dataclass(frozen=True)
class Table:
    """Column headings, of which the first stand over the row heads, and the rows."""

    columns: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)

    @property
    def heads(self) -> int:
        """How many columns name the row."""
        return len(self.rows[0].heads) if self.rows else 1

    def is_text(self, column: int) -> bool:
        """Whether a column holds words, which start at its left edge."""
        cells = self.rows[0].cells if self.rows else ()
        return 0 <= column - self.heads < len(cells) and cells[column - self.heads].css == "text"


def number(value: float | None, form: Callable[[float | None], str], remark: str = "", css: str = "") -> Cell:
    """A number as `form` writes it."""
    return Cell(form(value), value, remark, css)


def difference(
    value: float | None, printed: float | None, form: Callable[[float | None], str], unit: float = 1.0
) -> Cell:
    """This study's figure less the printed one; the CSS class grows with its size, counted in `unit`."""
    if value is None or printed is None:
        return Cell("")
    gap = value - printed
    size = sum(abs(gap) > limit * unit for limit in (0.005, 0.02, 0.05))
    return Cell(form(gap), gap, css=f"gap{size}" if size else "")


def beside(
    value: float | None,
    printed: float | None,
    form: Callable[[float | None], str],
    gap_form: Callable[[float | None], str],
    unit: float = 1.0,
) -> Cell:
    """A number; where something was printed, that and the difference to it are the lines of its remark."""
    if printed is None:
        return number(value, form)
    gap = difference(value, printed, gap_form, unit)
    remark = f"printed {form(printed)}" + (f"\n{gap.text}" if gap.text else "")
    return number(value, form, remark, gap.css)
