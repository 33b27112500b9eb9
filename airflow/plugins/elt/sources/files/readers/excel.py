"""Excel and OpenDocument workbooks, by calamine. The whole workbook is in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import python_calamine
from warehouse.errors import TerminalError

from elt.sources.files.batch import ROWS, Batch, Broken
from elt.sources.files.folder import HashedFile
from elt.sources.files.header import column_names
from elt.sources.files.inference import BOOL, DATE, DECIMAL, INSTANT, INTEGER, WALL_CLOCK
from elt.sources.files.options import FilesTable

Cell = int | float | str | bool | time | date | datetime | timedelta

_HINTS: dict[type, frozenset[str]] = {
    bool: frozenset({BOOL}),
    int: frozenset({INTEGER, DECIMAL}),
    float: frozenset({INTEGER, DECIMAL}),
    str: frozenset({DATE, WALL_CLOCK, INSTANT}),
    date: frozenset({DATE, WALL_CLOCK}),
    datetime: frozenset({WALL_CLOCK}),
    time: frozenset(),
    timedelta: frozenset(),
}


def read_excel(name: str, stream: HashedFile, entry: FilesTable) -> Iterator[Batch | Broken]:
    """Yields the rows of one sheet; rows without any value are left out."""
    rows = _sheet(name, stream, entry)[entry.skip :]
    numbered = [(number, row) for number, row in enumerate(rows, entry.skip + 1) if any(cell != "" for cell in row)]
    if not numbered:
        return
    width = max(place + 1 for _, row in numbered for place, cell in enumerate(row) if cell != "")
    first = [_text(cell) for cell in (*numbered[0][1], *[""] * width)[:width]]
    names, is_header = column_names(name, numbered[0][0], first, entry.header)
    numbered = numbered[1:] if is_header else numbered
    for start in range(0, max(len(numbered), 1), ROWS):
        yield _batch(names, is_header, numbered[start : start + ROWS], entry)


def _sheet(name: str, stream: HashedFile, entry: FilesTable) -> list[list[Cell]]:
    content = io.BytesIO(stream.read())
    try:
        with python_calamine.load_workbook(content) as book:
            sheets = book.sheet_names
            sheet = entry.sheet if entry.sheet is not None else sheets[0]
            if sheet not in sheets:
                raise TerminalError(
                    f"{name} has no sheet {sheet}, it has {', '.join(sheets)}; correct sheet: in pipeline.yml"
                )
            return book.get_sheet_by_name(sheet).to_python(skip_empty_area=False)
    except python_calamine.CalamineError as error:
        raise TerminalError(f"{name} is no workbook that can be read ({error}); save it again as .xlsx") from None


def _batch(names: Sequence[str], is_header: bool, rows: Sequence[tuple[int, list[Cell]]], entry: FilesTable) -> Batch:
    arrays, hints = {}, {}
    for place, name in enumerate(names):
        cells = [row[place] if place < len(row) and name not in entry.exclude else "" for _, row in rows]
        arrays[name] = pa.array([_text(cell) for cell in cells], pa.string())
        kinds = {type(cell) for cell in cells if cell != ""}
        hints[name] = frozenset.intersection(*(_HINTS[kind] for kind in kinds)) if kinds else frozenset()
    return Batch(
        arrays,
        [number for number, _ in rows],
        lambda row: "\t".join(_text(cell) or "" for cell in rows[row][1]),
        hints,
        has_header=is_header,
    )


def _text(cell: Cell) -> str | None:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        # The shortest digits that are this number again, which are those that were typed: 19.99, and 5 for 5.0.
        text = format(Decimal(repr(cell)), "f")
        return text.removesuffix(".0")
    if isinstance(cell, datetime):
        return cell.isoformat(" ")
    return str(cell) or None
