"""Checksums of every column of a table, computed by both databases in one pass each, whatever the order of the rows.

A column's checksum is the sum, modulo 2^64, of a mix of each value's number (elt.verification.canonical); that of the rows sums up a mix of all numbers of a row, so
that values that have changed places between rows are found, too. Only sums leave a database.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from warehouse.client import Warehouse
from warehouse.quoting import quote

from elt.destination.statements import TableMapping, where
from elt.pipeline.names import raw
from elt.sources.postgres.session import CopySession, Source
from elt.verification.canonical import Canonical, canonical

_COLUMNS_AT_ONCE = 200
BUCKETS = 256
"""Parts of a table by its key, so that only parts that differ are read row by row."""

# Primes and offsets so small that no product leaves 64 signed bits, which is an error in Postgres. Two moduli tell any two numbers apart that
# are less than 2^61 from each other.
_MIX = "({0} % {c}2147483647{d} + 715827883) * ({0} % {c}2147483629{d} + 536870909)"
_PRIME = 2147483587
_FACTOR = 1640531527
_NULL = 1152921504606846883
_NULL_IN_ROW = 805306457
_WORD = 1 << 64

AS_READERS = {
    "final": 1,
    "max_query_size": 50_000_000,
    "max_ast_elements": 5_000_000,
    "max_expanded_ast_elements": 5_000_000,
}
"""Settings of the warehouse for these queries: FINAL for the tables that know it, and room for columns by the hundred."""

ROWS = ""
"""Stands among names of columns, of which none is empty, for the rows as such: their number, and which values stand in one row."""

Sums = Mapping[int, tuple[int, ...]]
"""By bucket: the number of rows, the checksum of the rows, and that of each column."""


@dataclass(frozen=True)
class Comparable:
    """A table and the columns of it that are compared."""

    mapping: TableMapping
    columns: tuple[Canonical, ...]
    keys: tuple[int, ...]
    """Places of the key's columns among `columns`."""


def comparable(mapping: TableMapping) -> Comparable:
    """Every column of the table with its pair of expressions."""
    declared = {column.name: column for column in mapping.table.columns}
    sent = {*mapping.entry.mask, *mapping.entry.replace}
    columns = tuple(
        canonical(
            column,
            declared[column.source_name],
            as_sent=column.source_name in sent,
            in_key=column.source_name in mapping.key,
        )
        for column in mapping.columns
    )
    places = {column.source_name: place for place, column in enumerate(mapping.columns)}
    return Comparable(mapping, columns, tuple(places[name] for name in mapping.key))


def in_parts(table: Comparable) -> list[Comparable]:
    """The table as several with some of its columns each, and the key in each: ClickHouse takes seconds to plan a query over many hundreds."""
    if len(table.columns) <= _COLUMNS_AT_ONCE:
        return [table]
    keys = [table.columns[place] for place in table.keys]
    others = [column for place, column in enumerate(table.columns) if place not in table.keys]
    starts = range(0, len(others), _COLUMNS_AT_ONCE)
    parts = ((*keys, *others[start : start + _COLUMNS_AT_ONCE]) for start in starts)
    return [Comparable(table.mapping, columns, tuple(range(len(keys)))) for columns in parts]


def sums_of_both(
    warehouse: Warehouse,
    session: CopySession,
    table: Comparable,
    target: str,
    beat: Callable[[], None],
    *,
    buckets: int,
) -> tuple[Sums, Sums]:
    """The checksums of the source as the session's transaction sees it, and of `raw.<target>` as a reader with FINAL does, computed side by side."""
    with ThreadPoolExecutor(1, thread_name_prefix="checksums") as pool:
        in_raw = pool.submit(warehouse.rows, _in_clickhouse(table, target, buckets), None, AS_READERS)
        in_source = _sums(_read(session.copy(in_postgres(table, buckets)), beat))
        return in_source, _sums(in_raw.result())


def sums_again(source: Source, table: Comparable, *, buckets: int) -> Sums:
    """The checksums of the source by another session and transaction, at the same instant."""
    return _sums(source.rows(in_postgres(table, buckets)))


def different(table: Comparable, one: Sums, other: Sums) -> dict[int, tuple[str, ...]]:
    """By bucket that differs: the columns that do, and ROWS where numbers of rows, or what stands in one row, do."""
    names = [column.name for column in table.columns]
    found = {}
    for bucket in sorted({*one, *other}):
        nothing = (0,) * (2 + len(names))
        a, b = one.get(bucket, nothing), other.get(bucket, nothing)
        if a != b:
            columns = [name for name, x, y in zip(names, a[2:], b[2:], strict=True) if x != y]
            rows = [ROWS] if a[0] != b[0] or not columns else []
            found[bucket] = (*rows, *columns)
    return found


def in_postgres(table: Comparable, buckets: int) -> str:
    """The query for the source: a line for each bucket."""
    numbers = ", ".join(f"{column.postgres} AS {number(i)}" for i, column in enumerate(table.columns))
    summed = ", ".join(_postgres_sums(table))
    # OFFSET 0 keeps the numbers from being computed again wherever they stand.
    return (
        f"SELECT {_bucket(table, buckets, postgres=True)}, count(*), {summed}"
        f" FROM (SELECT {numbers} FROM {table.mapping.table.name.sql}{where(table.mapping)} OFFSET 0) AS numbers GROUP BY 1"
    )


def numbers_in_postgres(table: Comparable, wanted: Sequence[int]) -> str:
    """A query of the source for the numbers of the rows in the `wanted` buckets, and a 0 behind each row."""
    numbers = ", ".join(f"{column.postgres} AS {number(i)}" for i, column in enumerate(table.columns))
    names = ", ".join(number(i) for i in range(len(table.columns)))
    return (
        f"SELECT {names}, 0 FROM (SELECT {numbers} FROM {table.mapping.table.name.sql}{where(table.mapping)} OFFSET 0) AS numbers"
        f" WHERE {_bucket(table, BUCKETS, postgres=True)} IN ({', '.join(map(str, wanted))})"
    )


def numbers_in_clickhouse(table: Comparable, target: str, wanted: Sequence[int]) -> str:
    """A query of the warehouse for the same as readers with FINAL see it, with the text of each row's key as `_elt_key`."""
    key = ", ".join(quote(table.columns[place].name) for place in table.keys)
    return (
        f"SELECT * FROM (SELECT {_clickhouse_numbers(table)}, toString(tuple({key})) AS _elt_key FROM {raw(target)})"
        f" WHERE {in_buckets(table, wanted)}"
    )


def in_buckets(table: Comparable, wanted: Sequence[int]) -> str:
    """A condition of the warehouse on rows of numbers."""
    return f"{_bucket(table, BUCKETS, postgres=False)} IN ({', '.join(map(str, wanted))})"


def _in_clickhouse(table: Comparable, target: str, buckets: int) -> str:
    return (
        f"SELECT {_bucket(table, buckets, postgres=False)} AS bucket, count(), {', '.join(_clickhouse_sums(table))}"
        f" FROM (SELECT {_clickhouse_numbers(table)} FROM {raw(target)}) GROUP BY bucket"
    )


def _clickhouse_numbers(table: Comparable) -> str:
    return ", ".join(f"{column.clickhouse} AS {number(i)}" for i, column in enumerate(table.columns))


def _postgres_sums(table: Comparable) -> list[str]:
    mixes, parts = [], []
    for i, column in enumerate(table.columns):
        mix, part = _MIX.format(number(i), c="", d=""), f"{number(i)} % {_PRIME} * {_factor(i)}"
        mixes.append(f"sum(coalesce({mix}, {_NULL}))" if column.nullable else f"sum({mix})")
        parts.append(f"coalesce({part}, {_NULL_IN_ROW * (i + 1)})" if column.nullable else f"({part})")
    return [f"sum({_folded(parts, '({} # {})')})", *mixes]


def _clickhouse_sums(table: Comparable) -> list[str]:
    mixes, parts = [], []
    for i, column in enumerate(table.columns):
        mix = _MIX.format(number(i), c="toInt64(", d=")")
        part = f"{number(i)} % toInt64({_PRIME}) * toInt64({_factor(i)})"
        mixes.append(f"sum(ifNull({mix}, toInt64({_NULL})))" if column.nullable else f"sum({mix})")
        null = f"toInt64({_NULL_IN_ROW * (i + 1)})"
        parts.append(f"ifNull({part}, {null})" if column.nullable else f"({part})")
    return [f"sum({_folded(parts, 'bitXor({}, {})')})", *mixes]


def number(place: int) -> str:
    """The name of a column's number in queries. No column of a source may have it: ClickHouse takes an alias for the column of the same name."""
    return f"_elt_number_{place}"


def _factor(place: int) -> int:
    """Another odd number below 2^31 for each column, so that values that change their columns are found."""
    return (_FACTOR + 2 * 48271 * place) % (1 << 31) | 1


def _folded(parts: Sequence[str], form: str) -> str:
    """All parts joined by an operator, in a tree so flat that parsers take any number of columns."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return form.format(_folded(parts[:middle], form), _folded(parts[middle:], form))


def _bucket(table: Comparable, buckets: int, *, postgres: bool) -> str:
    if buckets == 1:
        return "0"
    if postgres:
        return f"{_folded([f'({number(i)} % {_PRIME} * {_factor(i)})' for i in table.keys], '({} # {})')} % 1048573 & {buckets - 1}"
    parts = [f"({number(i)} % toInt64({_PRIME}) * toInt64({_factor(i)}))" for i in table.keys]
    return f"bitAnd({_folded(parts, 'bitXor({}, {})')} % toInt64(1048573), toInt64({buckets - 1}))"


def _read(chunks: Generator[memoryview, None, int], beat: Callable[[], None]) -> list[list[str]]:
    text = bytearray()
    for chunk in chunks:
        text += chunk
        beat()
    return [line.split("\t") for line in text.decode().splitlines()]


def _sums(rows: Sequence[Sequence[object]]) -> Sums:
    return {int(str(row[0])): tuple(int(str(value)) % _WORD for value in row[1:]) for row in rows}
