"""The statements of one load: how the table is made, what is read from the source, what is cleared up behind it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from warehouse.errors import TerminalError
from warehouse.quoting import literal, quote

from elt.sources.postgres.columns import ColumnMapping, YearRange, apart, map_column, masked, with_replacement
from elt.pipeline.file import TableEntry
from elt.pipeline.names import quote_postgres, raw
from elt.sources.postgres.catalogue import SourceColumn, SourceTable

RUN_COLUMN = "_elt_run"
LOADED_COLUMN = "_elt_loaded_at"
TIMES = ("timestamptz", "timestamp", "date")
NUMBERS = ("int2", "int4", "int8", "numeric")
_FLOATS = ("Float32", "Float64")
_WIRE_PREFIX = "_elt_wire_"
_WHILE_LOADED = {"min_parts_to_merge_at_once": 100, "min_bytes_for_wide_part": 100_000_000}
"""Settings of a table while it is loaded.

Its parts wait to be merged: each row is written again once, not several times, and not while Postgres needs the processor.
Merges of so many parts go on, so that a load of any size stays far from "too many parts". And each part is one file, not two
for each column: a tenth of what the warehouse does for a wide table. The merges that follow make files by column.
"""
_PAD = f"{_WIRE_PREFIX}pad"
"""A second column for tables of one: ClickHouse (26.9) takes an empty line after a row for the end of that row."""


@dataclass(frozen=True)
class TableMapping:
    """How a source table travels: its columns after `exclude` and `types`."""

    table: SourceTable
    columns: tuple[ColumnMapping, ...]
    key: tuple[str, ...]
    """Columns of the key; empty when there is none, or a part of it is excluded."""
    entry: TableEntry

    @property
    def order(self) -> tuple[str, ...]:
        """Columns by which the table in `raw` is ordered."""
        return self.entry.order_by or self.key

    @property
    def incremental(self) -> bool:
        return self.entry.mode == "incremental"

    @property
    def fingerprint(self) -> str:
        """Changes with everything that would make rows of an earlier load differ from those of the next."""
        entry = self.entry
        facts = [
            [[column.name, column.clickhouse, column.select] for column in self.columns],
            [entry.mode, self.key, entry.cursor, entry.where, entry.partition_by, self.order],
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    @property
    def key_is_proven(self) -> bool:
        """Whether the source itself keeps two rows from having the same key. An index holds nothing of the tables that inherit."""
        return not self.table.has_children and any(unique <= set(self.key) for unique in self.table.unique)

    @property
    def floats(self) -> frozenset[str]:
        """Columns that may hold NaN and no NULL, as those of a key."""
        return frozenset(column.name for column in self.columns if column.clickhouse in _FLOATS)

    @property
    def key_to_compare(self) -> str:
        """The key as a list for ClickHouse's IN, where NaN is in no set and -0 is not 0: Postgres and FINAL take each for one key."""
        parts, floats = [], self.floats
        for name in self.key:
            quoted = quote(name)
            parts += [f"isNaN({quoted})", f"if(isNaN({quoted}), 0, {quoted} + 0)"] if name in floats else [quoted]
        return ", ".join(parts)

    @property
    def wire(self) -> tuple[str, ...]:
        """Columns of the insert, in the order in which they are sent."""
        names = tuple(_wire_name(i, column) for i, column in enumerate(self.columns))
        return (*names, _PAD) if len(names) == 1 else names

    @property
    def checked(self) -> tuple[ColumnMapping, ...]:
        """Columns with values that may be refused."""
        return tuple(column for column in self.columns if column.refused)


def map_table(table: SourceTable, entry: TableEntry, years: YearRange) -> TableMapping:
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
    if not kept:
        raise TerminalError(f"{table.name}: every column is excluded; leave one, or take the table out of pipeline.yml")
    taken = [column.name for column in kept if column.name.startswith("_elt_")]
    if taken:
        raise TerminalError(
            f"{table.name} has a column {', '.join(taken)}, and names that begin with _elt_ are the loader's own; "
            "exclude it in pipeline.yml, or rename it at the source"
        )
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
    found = TableMapping(table, columns, key, entry)
    if entry.mode == "incremental":
        check_incremental(found)
    return found


def _map_column(column: SourceColumn, entry: TableEntry, years: YearRange) -> ColumnMapping:
    if column.name in entry.mask:
        return masked(column)
    mapped = map_column(column, years, entry.types.get(column.name))
    if column.name in entry.replace:
        return with_replacement(mapped, column, entry.replace[column.name])
    return mapped


def check_incremental(mapping: TableMapping) -> None:
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


def create(mapping: TableMapping, name: str, run: int, loaded_at: datetime, *, changes: bool = False) -> str:
    """CREATE TABLE of a loading table. The loader's two columns are constants of it and are not sent.

    With `changes` it is one for the changed rows of an incremental table: never published, and its parts fit into the clone.
    """
    lines = []
    for i, column in enumerate(mapping.columns):
        kind, comment = column.clickhouse, literal(column.declared)
        if column.convert is None:
            lines.append(f"{quote(column.name)} {kind} COMMENT {comment}")
            continue
        wire = quote(_wire_name(i, column))
        sent = "Nullable(String)" if kind.startswith("Nullable(") or "ifNull(" in column.convert else "String"
        default = column.convert.replace("{wire}", wire)
        lines.append(f"{quote(column.name)} {kind} DEFAULT {default} COMMENT {comment}")
        lines.append(f"{wire} {sent} EPHEMERAL")
    if _PAD in mapping.wire:
        lines.append(f"{_PAD} UInt8 EPHEMERAL")
    stamp = loaded_at.strftime("%Y-%m-%d %H:%M:%S.%f")
    lines.append(f"{RUN_COLUMN} UInt64 DEFAULT {run} COMMENT 'Run that loaded the row: ops.runs'")
    lines.append(
        f"{LOADED_COLUMN} DateTime64(6, 'UTC') DEFAULT toDateTime64('{stamp}', 6, 'UTC') COMMENT 'Start of the load, UTC'"
    )
    order = ", ".join(quote(name) for name in mapping.order)
    body = ",\n    ".join(lines)
    engine = f"ReplacingMergeTree({RUN_COLUMN})" if mapping.incremental and not changes else "MergeTree"
    partition = f"PARTITION BY {mapping.entry.partition_by}\n" if mapping.entry.partition_by else ""
    settings = ", ".join(f"{name} = {value}" for name, value in _WHILE_LOADED.items())
    return (
        f"CREATE TABLE {raw(name)}\n(\n    {body}\n)\nENGINE = {engine}\n{partition}ORDER BY ({order})\n"
        f"SETTINGS {settings}\nCOMMENT {literal(f'Copy of {mapping.table.name}')}"
    )


def finalize_table(mapping: TableMapping, name: str) -> list[str]:
    """Statements that take the loader's scaffolding out of a loaded table: defaults first, then what they read. Merges begin."""
    converted = [(i, column) for i, column in enumerate(mapping.columns) if column.convert is not None]
    names = [column.name for _, column in converted] + [RUN_COLUMN, LOADED_COLUMN]
    changes = [f"MODIFY COLUMN {quote(n)} REMOVE DEFAULT" for n in names]
    statements = [f"ALTER TABLE {raw(name)} {', '.join(changes)}, RESET SETTING {', '.join(_WHILE_LOADED)}"]
    scaffolding = [_wire_name(i, mapped) for i, mapped in converted] + ([_PAD] if _PAD in mapping.wire else [])
    if scaffolding:
        dropped = ", ".join(f"DROP COLUMN {quote(column)}" for column in scaffolding)
        statements.append(f"ALTER TABLE {raw(name)} {dropped}")
    return statements


def select(mapping: TableMapping, condition: str | None = None) -> str:
    """The query inside COPY: all rows, or those that meet `condition`."""
    selected = [column.select for column in mapping.columns] + (["0"] if _PAD in mapping.wire else [])
    return f"SELECT {', '.join(selected)} FROM {mapping.table.name.sql}{where(mapping, condition)}"


def ranges(blocks: int, count: int) -> list[str | None]:
    """Conditions that divide a table of so many blocks evenly, whatever is in them; the last range is open at its end.

    Rows that move to another block while they are read are no matter: every range reads the same snapshot.
    """
    if count < 2 or blocks < count:
        return [None]
    starts = [blocks * number // count for number in range(count)]
    return [
        f"ctid >= '({start},0)'" + (f" AND ctid < '({end},0)'" if end is not None else "")
        for start, end in zip(starts, [*starts[1:], None], strict=True)
    ]


def where(mapping: TableMapping, *conditions: str | None) -> str:
    """The WHERE clause for the source: that of pipeline.yml, and what is given."""
    # On a line of its own, so that a comment in the file ends where it should.
    found = [f"({text}\n)" for text in (mapping.entry.where, *conditions) if text]
    return f" WHERE {' AND '.join(found)}" if found else ""


def count_duplicates(mapping: TableMapping, condition: str) -> str:
    """A query for the number of keys that stand in more than one row, one of which meets `condition`."""
    key = ", ".join(quote_postgres(name) for name in mapping.key)
    table = mapping.table.name.sql
    return (
        f"SELECT count(*) FROM (SELECT FROM {table}{where(mapping)} {'AND' if mapping.entry.where else 'WHERE'} ({key}) IN"
        f" (SELECT {key} FROM {table}{where(mapping, condition)}) GROUP BY {key} HAVING count(*) > 1) AS twice"
    )


@dataclass(frozen=True)
class Finding:
    """A query for one row with a value that cannot be copied: index of its column in `columns`, the value, the row's key."""

    query: str
    columns: tuple[ColumnMapping, ...]
    because: str = ""
    """As ColumnMapping.because, where it is the same for every column."""
    cure: str = ""


def find_refused(mapping: TableMapping, condition: str | None = None) -> Finding | None:
    """Finds a value that its type in the warehouse does not hold. None where every value is held."""
    columns = mapping.checked
    found = [(str(column.refused), f"left({quote_postgres(column.source_name)}::text, 100)") for column in columns]
    return _finding(mapping, condition, columns, found)


_VALID_UTF8 = (
    r"^([\u0001-\u007f]|[\u00c2-\u00df][\u0080-\u00bf]|\u00e0[\u00a0-\u00bf][\u0080-\u00bf]"
    r"|[\u00e1-\u00ec\u00ee\u00ef][\u0080-\u00bf]{2}|\u00ed[\u0080-\u009f][\u0080-\u00bf]"
    r"|\u00f0[\u0090-\u00bf][\u0080-\u00bf]{2}|[\u00f1-\u00f3][\u0080-\u00bf]{3}|\u00f4[\u0080-\u008f][\u0080-\u00bf]{2})*$"
)
"""A database without an encoding (SQL_ASCII) takes each byte for a character."""


def find_no_utf8(mapping: TableMapping, condition: str | None = None) -> Finding | None:
    """Finds a text of a SQL_ASCII database that is not UTF-8; bytes beyond ASCII are shown as \\nnn, and nothing of masked columns."""
    columns = tuple(column for column in mapping.columns if "String" in column.clickhouse)
    found = []
    for column in columns:
        text = f"{quote_postgres(column.source_name)}::text"
        shown = "'bytes'" if column.source_name in mapping.entry.mask else _in_ascii(f"left({text}, 100)")
        found.append((f"{text} !~ '{_VALID_UTF8}' COLLATE \"C\"", shown))
    return _finding(
        mapping,
        condition,
        columns,
        found,
        key=_in_ascii(_key_text(mapping)),
        because="which is not UTF-8",
        cure="exclude the column in pipeline.yml",
    )


def _in_ascii(text: str) -> str:
    return f"encode(convert_to({text}, 'SQL_ASCII'), 'escape')"


_LONG_BYTES = 512 << 20
_LENGTHS = ("text", "varchar", "bpchar", "bytea")


def find_too_long(mapping: TableMapping, condition: str | None = None) -> Finding | None:
    """Finds the longest value of the longest row, where that is above 512 MB: with what COPY escapes it may be more than Postgres sends."""
    kinds = {column.name: column for column in mapping.table.columns}
    columns = tuple(
        column
        for column in mapping.columns
        if column.name not in mapping.entry.mask
        and kinds[column.source_name].base in _LENGTHS
        and not kinds[column.source_name].dimensions
    )
    if not columns:
        return None
    bytes_ = [f"coalesce(octet_length({quote_postgres(column.source_name)}), 0)::bigint" for column in columns]
    sent = [
        f"{'2 * ' if kinds[column.source_name].base == 'bytea' else ''}{size}"
        for column, size in zip(columns, bytes_, strict=True)
    ]
    total = " + ".join(sent)
    found = [
        (
            f"{total} > {_LONG_BYTES} AND {one} = greatest({', '.join(sent)})",
            f"to_char({size}, 'FM999,999,999,999') || ' bytes'",
        )
        for one, size in zip(sent, bytes_, strict=True)
    ]
    return _finding(
        mapping,
        condition,
        columns,
        found,
        order=f" ORDER BY {total} DESC",
        because="and Postgres sends no row of more than 1 GB as text, in which bytea takes two characters a byte",
        cure="exclude the column in pipeline.yml",
    )


def _finding(
    mapping: TableMapping,
    condition: str | None,
    columns: tuple[ColumnMapping, ...],
    found: Sequence[tuple[str, str]],
    *,
    key: str = "",
    order: str = "",
    because: str = "",
    cure: str = "",
) -> Finding | None:
    """`found` has for each column the predicate of its bad values, and how one is shown."""
    if not columns:
        return None
    index = " ".join(f"WHEN {predicate} THEN {i}" for i, (predicate, _) in enumerate(found))
    value = " ".join(f"WHEN {predicate} THEN {shown}" for predicate, shown in found)
    anything = " OR ".join(f"({predicate})" for predicate, _ in found)
    query = (
        f"SELECT CASE {index} END, CASE {value} END, {key or _key_text(mapping)}"
        f" FROM {mapping.table.name.sql}{where(mapping, condition, anything)}{order} LIMIT 1"
    )
    return Finding(query, columns, because, cure)


def _key_text(mapping: TableMapping) -> str:
    if mapping.key and not set(mapping.key) & set(mapping.entry.mask):
        parts: Sequence[str] = [f"'{_escaped(name)} = ' || {quote_postgres(name)}::text" for name in mapping.key]
        return " || ', ' || ".join(parts)
    if mapping.table.kind in ("table", "partitioned table"):
        return "'ctid = ' || ctid::text"
    return "'(no key)'"


def _escaped(name: str) -> str:
    return name.replace("'", "''")


def _wire_name(index: int, column: ColumnMapping) -> str:
    return column.name if column.convert is None else f"{_WIRE_PREFIX}{index}"
