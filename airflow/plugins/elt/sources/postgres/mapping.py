"""How a table of Postgres travels, and whether pipeline.yml and the table fit each other."""

from __future__ import annotations

from dataclasses import dataclass

from warehouse.errors import TerminalError

from elt.mapping import TableMapping, YearRange, apart, check_names
from elt.sources.postgres.catalogue import SourceColumn, SourceTable
from elt.sources.postgres.columns import PostgresColumn, map_column, masked, with_replacement
from elt.sources.postgres.options import PostgresTable

TIMES = ("timestamptz", "timestamp", "date")
NUMBERS = ("int2", "int4", "int8", "numeric")


@dataclass(frozen=True, kw_only=True)
class PostgresMapping(TableMapping):
    """Mapping of one table of Postgres, after `exclude` and `types`."""

    columns: tuple[PostgresColumn, ...]
    entry: PostgresTable
    table: SourceTable

    @property
    def facts(self) -> list[object]:
        entry = self.entry
        return [entry.mode, self.key, entry.cursor, entry.where, entry.partition_by, self.order]

    @property
    def checked(self) -> tuple[PostgresColumn, ...]:
        """Columns with values that may be refused."""
        return tuple(column for column in self.columns if column.refused)

    @property
    def cursor(self) -> SourceColumn:
        """The column by which an incremental table is followed."""
        return next(column for column in self.table.columns if column.name == self.entry.cursor)


def map_table(table: SourceTable, entry: PostgresTable, years: YearRange) -> PostgresMapping:
    """Raises TerminalError when pipeline.yml and the table do not fit each other."""
    known = {column.name: column for column in table.columns}
    named = (
        *entry.exclude,
        *entry.mask,
        *entry.types,
        *entry.replace,
        *entry.order_by,
        *entry.key,
        *filter(None, [entry.cursor]),
    )
    unknown = [name for name in dict.fromkeys(named) if name not in known]
    if unknown:
        raise TerminalError(
            f"{table.name} has no column {', '.join(unknown)}; correct what pipeline.yml says of its columns"
        )
    kept = [column for column in table.columns if column.name not in entry.exclude]
    check_names(str(table.name), [column.name for column in kept])
    try:
        columns = apart(tuple(_map_column(column, entry, years) for column in kept))
    except ValueError as error:
        raise TerminalError(f"{table.name}: {error}; correct what pipeline.yml says of it") from None
    key = entry.key or (table.key if not set(table.key) & set(entry.exclude) else ())
    if nullable := [name for name in (*entry.key, *entry.order_by) if not known[name].not_null]:
        raise TerminalError(
            f"{table.name} cannot be ordered by {', '.join(nullable)}, which may be NULL; set it NOT NULL at the source, "
            "or choose other columns in pipeline.yml"
        )
    # An index holds nothing of the tables that inherit.
    proven = not table.has_children and any(unique <= set(key) for unique in table.unique)
    found = PostgresMapping(
        name=str(table.name),
        columns=columns,
        key=key,
        entry=entry,
        estimated_rows=None if entry.where else table.estimated_rows,
        key_is_proven=proven,
        table=table,
    )
    if entry.mode == "incremental":
        check_incremental(found)
    return found


def _map_column(column: SourceColumn, entry: PostgresTable, years: YearRange) -> PostgresColumn:
    if column.name in entry.mask:
        return masked(column)
    mapped = map_column(column, years, entry.types.get(column.name))
    if column.name in entry.replace:
        return with_replacement(mapped, column, entry.replace[column.name])
    return mapped


def check_incremental(mapping: PostgresMapping) -> None:
    """Raises TerminalError when the table cannot be followed by its cursor."""
    entry, name = mapping.entry, mapping.table.name
    if not mapping.key:
        raise TerminalError(
            f"{name} has no primary key that is copied; name the columns that tell its rows apart with key: in pipeline.yml"
        )
    if mapping.table.has_children and not entry.key:
        raise TerminalError(
            f"{name} has tables that inherit from it, in which its primary key may stand again; take mode full, copy each of the tables by itself, "
            "or name columns with key: in pipeline.yml that tell the rows of all of them apart"
        )
    (column,) = [column for column in mapping.table.columns if column.name == entry.cursor]
    if column.dimensions or column.base not in (*TIMES, *NUMBERS):
        raise TerminalError(
            f"{name}.{column.name} is {column.declared}, which is no cursor; take a timestamp, a date or a number"
        )
    if column.base in NUMBERS and not isinstance(entry.lookback, int):
        raise TerminalError(
            f"{name}.{column.name} is a number: give lookback: in pipeline.yml as a whole number in its units, "
            "since rows with lower numbers may be committed later"
        )
    if column.base in TIMES and isinstance(entry.lookback, int):
        raise TerminalError(f"{name}.{column.name} is a time: give lookback: in pipeline.yml as 30min, 1h or 2d")
