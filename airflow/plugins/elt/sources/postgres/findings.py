"""Queries for the row whose value cannot be copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from elt.sources.postgres.columns import PostgresColumn
from elt.sources.postgres.mapping import PostgresMapping
from elt.sources.postgres.names import quote_postgres
from elt.sources.postgres.statements import where


@dataclass(frozen=True)
class Finding:
    """A query for one row with a value that cannot be copied: index of its column in `columns`, the value, the row's key."""

    query: str
    columns: tuple[PostgresColumn, ...]
    because: str = ""
    """As PostgresColumn.because, where it is the same for every column."""
    cure: str = ""


def find_refused(mapping: PostgresMapping, condition: str | None = None) -> Finding | None:
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


def find_no_utf8(mapping: PostgresMapping, condition: str | None = None) -> Finding | None:
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


def find_too_long(mapping: PostgresMapping, condition: str | None = None) -> Finding | None:
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
    mapping: PostgresMapping,
    condition: str | None,
    columns: tuple[PostgresColumn, ...],
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


def _key_text(mapping: PostgresMapping) -> str:
    if mapping.key and not set(mapping.key) & set(mapping.entry.mask):
        parts: Sequence[str] = [f"'{_escaped(name)} = ' || {quote_postgres(name)}::text" for name in mapping.key]
        return " || ', ' || ".join(parts)
    if mapping.table.kind in ("table", "partitioned table"):
        return "'ctid = ' || ctid::text"
    return "'(no key)'"


def _escaped(name: str) -> str:
    return name.replace("'", "''")
