"""A CSV file read strictly: every cell is text, and whatever is odd is one line with file and row.

pandas would take a row with one cell too many as an index, an empty cell as NaN and `nan` as a
number; here a row has as many cells as the header, and only named columns may be empty.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from pipeline.core.errors import PipelineError, near_matches

MAX_BYTES = 32 * 2**20  # timm's largest table has 0.2 MiB
MAX_CELL = 1_000  # characters; timm's longest name has 60
_NUMBER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d*)?([eE][+-]?\d+)?")


def read_cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of `path`."""
    try:
        return parse_cells(path.read_bytes(), str(path))
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read: {error.strerror}") from None


def parse_cells(content: bytes, where: str) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a CSV file's content; `where` begins each error."""
    if len(content) > MAX_BYTES:
        raise PipelineError(f"{where}: more than {MAX_BYTES >> 20} MiB; not one of timm's tables")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PipelineError(f"{where}: not text (byte {error.start} is not UTF-8)") from None
    if "\0" in text:
        raise PipelineError(f"{where}: not text (it holds a NUL byte)")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [_checked_row(row, reader.line_num, where) for row in reader if row]
    except csv.Error as error:
        raise PipelineError(f"{where}: line {reader.line_num} is not CSV: {error}") from None
    if len(rows) < 2:
        raise PipelineError(f"{where}: no rows; it is empty or cut off")
    header = rows[0]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise PipelineError(f"{where}: two columns are called {twice[0]!r}")
    for place, row in enumerate(rows[1:], start=1):
        if len(row) != len(header):
            raise PipelineError(
                f"{where}: row {place} has {len(row)} cells, the header has {len(header)};"
                " it is damaged or cut off"
            )
    return header, rows[1:]


def read_table(path: Path, columns: dict[str, Callable[["Column"], pd.Series]]) -> pd.DataFrame:
    """The columns named, each through its reader; the file's other columns are left alone."""
    header, rows = read_cells(path)
    if missing := [name for name in columns if name not in header]:
        raise PipelineError(
            f"{path}: no column {missing[0]} ({near_matches(missing[0], header)});"
            " timm changed this table, or it is another one"
        )
    places = {name: header.index(name) for name in columns}
    return pd.DataFrame(
        {
            name: read(Column(path, name, [row[places[name]] for row in rows]))
            for name, read in columns.items()
        }
    )


class Column:
    """One column's cells, which knows where it stands, to say so when a cell is wrong."""

    def __init__(self, path: Path, name: str, cells: Sequence[str]) -> None:
        self.path, self.name, self.cells = path, name, cells

    def wrong(self, row: int, want: str) -> PipelineError:
        found = self.cells[row]
        shown = repr(found[:40]) + ("..." if len(found) > 40 else "")
        return PipelineError(
            f"{self.path}: row {row + 1}, column {self.name}: {shown} is not {want}"
        )


def text(pattern: str, want: str) -> Callable[[Column], pd.Series]:
    """A reader of cells that match `pattern` as a whole."""
    whole = re.compile(pattern)

    def read(column: Column) -> pd.Series:
        for row, cell in enumerate(column.cells):
            if not whole.fullmatch(cell):
                raise column.wrong(row, want)
        return pd.Series(list(column.cells), dtype="str")

    return read


def number(
    low: float, high: float, *, or_empty: bool = False, whole: bool = False
) -> Callable[[Column], pd.Series]:
    """A reader of numbers in a range, with or without thousands commas; an empty cell is NaN."""
    want = f"a {'whole ' if whole else ''}number from {low:g} to {high:g}"

    def read(column: Column) -> pd.Series:
        values = []
        for row, cell in enumerate(column.cells):
            if or_empty and not cell:
                values.append(math.nan)
                continue
            value = float(cell.replace(",", "")) if _NUMBER.fullmatch(cell) else math.nan
            if not low <= value <= high or (whole and value != int(value)):
                raise column.wrong(row, want)
            values.append(value)
        return pd.Series(values, dtype="int64" if whole and not or_empty else "float64")

    return read


def _checked_row(row: list[str], line: int, where: str) -> list[str]:
    if max(map(len, row)) > MAX_CELL:
        raise PipelineError(f"{where}: line {line} has a cell of more than {MAX_CELL} characters")
    return row
