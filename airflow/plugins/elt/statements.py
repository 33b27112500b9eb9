"""The statements of one load: how the table is made, what is read from the source, what is cleared up behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from elt.catalogue import SourceTable
from elt.column_types import Carried, YearRange, carry
from elt.errors import TerminalError
from elt.names import literal_clickhouse, quote_clickhouse, quote_postgres, raw
from elt.pipeline import TableEntry

RUN_COLUMN = "_elt_run"
LOADED_COLUMN = "_elt_loaded_at"
_WIRE_PREFIX = "_elt_wire_"
_PAD = f"{_WIRE_PREFIX}pad"
"""A second column for tables of one: ClickHouse (26.9) takes an empty line after a row for the end of that row."""


@dataclass(frozen=True)
class Shape:
    """How a source table travels: its columns after `exclude` and `types`."""

    table: SourceTable
    columns: tuple[Carried, ...]
    key: tuple[str, ...]
    """Columns of the primary key; empty when there is none, or a part of it is excluded."""

    @property
    def wire(self) -> tuple[str, ...]:
        """Columns of the insert, in the order in which they are sent."""
        names = tuple(_wire_name(i, column) for i, column in enumerate(self.columns))
        return (*names, _PAD) if len(names) == 1 else names

    @property
    def checked(self) -> tuple[Carried, ...]:
        """Columns with values that may be refused."""
        return tuple(column for column in self.columns if column.refused)


def shape(table: SourceTable, entry: TableEntry, years: YearRange) -> Shape:
    """Raises TerminalError when pipeline.yml and the table do not fit each other."""
    known = {column.name for column in table.columns}
    unknown = [name for name in (*entry.exclude, *entry.types) if name not in known]
    if unknown:
        raise TerminalError(
            f"{table.name} has no column {', '.join(unknown)}; correct exclude and types in pipeline.yml"
        )
    kept = [column for column in table.columns if column.name not in entry.exclude]
    if not kept:
        raise TerminalError(f"{table.name}: every column is excluded; leave one, or take the table out of pipeline.yml")
    taken = [column.name for column in kept if column.name.startswith("_elt_")]
    if taken:
        raise TerminalError(
            f"{table.name} has a column {', '.join(taken)}, and names that begin with _elt_ are the loader's own; "
            "exclude it in pipeline.yml, or rename it at the source"
        )
    try:
        columns = tuple(carry(column, years, entry.types.get(column.name)) for column in kept)
    except ValueError as error:
        raise TerminalError(f"{table.name}: {error}; correct types in pipeline.yml") from None
    key = table.key if not set(table.key) & set(entry.exclude) else ()
    return Shape(table, columns, key)


def create(shape: Shape, name: str, run: int, loaded_at: datetime) -> str:
    """CREATE TABLE of a loading table. The loader's two columns are constants of it and are not sent."""
    lines = []
    for i, column in enumerate(shape.columns):
        kind, comment = column.clickhouse, literal_clickhouse(column.declared)
        if column.convert is None:
            lines.append(f"{quote_clickhouse(column.name)} {kind} COMMENT {comment}")
            continue
        wire = quote_clickhouse(_wire_name(i, column))
        sent = "Nullable(String)" if kind.startswith("Nullable(") or "ifNull(" in column.convert else "String"
        default = column.convert.replace("{wire}", wire)
        lines.append(f"{quote_clickhouse(column.name)} {kind} DEFAULT {default} COMMENT {comment}")
        lines.append(f"{wire} {sent} EPHEMERAL")
    if _PAD in shape.wire:
        lines.append(f"{_PAD} UInt8 EPHEMERAL")
    stamp = loaded_at.strftime("%Y-%m-%d %H:%M:%S.%f")
    lines.append(f"{RUN_COLUMN} UInt64 DEFAULT {run} COMMENT 'Run that loaded the row: ops.runs'")
    lines.append(
        f"{LOADED_COLUMN} DateTime64(6, 'UTC') DEFAULT toDateTime64('{stamp}', 6, 'UTC') COMMENT 'Start of the load, UTC'"
    )
    order = ", ".join(quote_clickhouse(name) for name in shape.key)
    body = ",\n    ".join(lines)
    return (
        f"CREATE TABLE {raw(name)}\n(\n    {body}\n)\nENGINE = MergeTree\nORDER BY ({order})\n"
        f"COMMENT {literal_clickhouse(f'Copy of {shape.table.name}')}"
    )


def settle(shape: Shape, name: str) -> list[str]:
    """What takes the loader's scaffolding out of a loaded table: defaults first, then what they read."""
    converted = [(i, column) for i, column in enumerate(shape.columns) if column.convert is not None]
    names = [column.name for _, column in converted] + [RUN_COLUMN, LOADED_COLUMN]
    statements = [
        f"ALTER TABLE {raw(name)} " + ", ".join(f"MODIFY COLUMN {quote_clickhouse(n)} REMOVE DEFAULT" for n in names)
    ]
    scaffolding = [_wire_name(i, carried) for i, carried in converted] + ([_PAD] if _PAD in shape.wire else [])
    if scaffolding:
        dropped = ", ".join(f"DROP COLUMN {quote_clickhouse(column)}" for column in scaffolding)
        statements.append(f"ALTER TABLE {raw(name)} {dropped}")
    return statements


def copy_out(shape: Shape) -> str:
    """The COPY statement for the source."""
    selected = [column.select for column in shape.columns] + (["0"] if _PAD in shape.wire else [])
    return f"COPY (SELECT {', '.join(selected)} FROM {shape.table.name.sql}) TO STDOUT"


def find_refused(shape: Shape) -> str | None:
    """A query for one row with a value that cannot be carried: index of the column, its value, the row's key."""
    checked = shape.checked
    if not checked:
        return None
    index = " ".join(f"WHEN {column.refused} THEN {i}" for i, column in enumerate(checked))
    value = " ".join(f"WHEN {column.refused} THEN {quote_postgres(column.name)}::text" for column in checked)
    anything = " OR ".join(f"({column.refused})" for column in checked)
    return (
        f"SELECT CASE {index} END, left(CASE {value} END, 100), {_key_text(shape)}"
        f" FROM {shape.table.name.sql} WHERE {anything} LIMIT 1"
    )


def _key_text(shape: Shape) -> str:
    if shape.key:
        parts: Sequence[str] = [f"'{_escaped(name)} = ' || {quote_postgres(name)}::text" for name in shape.key]
        return " || ', ' || ".join(parts)
    if shape.table.kind in ("table", "partitioned table"):
        return "'ctid = ' || ctid::text"
    return "'(no key)'"


def _escaped(name: str) -> str:
    return name.replace("'", "''")


def _wire_name(index: int, column: Carried) -> str:
    return column.name if column.convert is None else f"{_WIRE_PREFIX}{index}"
