"""Compares pipeline.yml with the live source and looks whether the warehouse is set up, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from elt import ops
from elt.catalogue import SourceColumn, SourceTable, read_table
from elt.column_types import WIDE
from elt.errors import EltError
from elt.names import quote_postgres
from elt.pipeline import TableEntry, read_pipeline
from elt.plan import entries
from elt.settings import Settings
from elt.source import Source
from elt.statements import Shape, shape
from elt.warehouse import Warehouse


@dataclass(frozen=True)
class CheckedTable:
    source: str
    target: str
    rows: int | None
    columns: int
    key: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    tables: tuple[CheckedTable, ...]
    mistakes: tuple[str, ...]


def check(settings: Settings) -> Checked:
    """What would be copied, and every mistake that can be found without copying.

    Raises EltError only where nothing more can be looked at: the file is wrong or the source does not answer.
    """
    file = read_pipeline(settings.elt_pipeline)
    tables: list[CheckedTable] = []
    mistakes: list[str] = []
    with Source(settings, "elt check") as source:
        for entry in entries(file, source):
            try:
                tables.append(_check_table(source, entry))
            except EltError as error:
                mistakes.append(str(error))
    try:
        with Warehouse(settings) as warehouse:
            ops.check_tables(warehouse)
    except EltError as error:
        mistakes.append(str(error))
    return Checked(tuple(tables), tuple(mistakes))


def _check_table(source: Source, entry: TableEntry) -> CheckedTable:
    table = read_table(source, entry.name)
    found = shape(table, entry, WIDE)
    # Reading no row takes the same rights as reading them all.
    columns = ", ".join(quote_postgres(column.name) for column in found.columns)
    source.rows(f"SELECT {columns} FROM {entry.name.sql} WHERE false")
    return CheckedTable(
        str(entry.name), entry.target_name, table.estimated_rows, len(found.columns), found.key, _notes(table, found)
    )


def _notes(table: SourceTable, found: Shape) -> tuple[str, ...]:
    kept = {column.name for column in found.columns}
    columns = [column for column in table.columns if column.name in kept]
    notes = []
    if texts := [c.name for c in found.columns if c.as_text]:
        notes.append(f"as text: {', '.join(texts)}")
    if unbounded := [c.name for c in columns if _is_unbounded(c)]:
        notes.append(f"numeric without precision: {', '.join(unbounded)}")
    if table.kind != "table":
        notes.append(table.kind)
    return tuple(notes)


def _is_unbounded(column: SourceColumn) -> bool:
    return column.base == "numeric" and column.typmod < 4
