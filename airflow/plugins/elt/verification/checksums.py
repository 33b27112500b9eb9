"""Checksums of a table's columns. Each database computes them in one pass; the order of rows does not matter.

A column's checksum is the sum, modulo 2^64, of a mix of each value's number (elt.sources.postgres.canonical). The checksum of the rows sums a mix of all
numbers of a row, so it also finds values that were swapped between rows. Only sums leave a database.
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
from elt.sources.postgres.canonical import Canonical, canonical

_COLUMNS_AT_ONCE = 200
BUCKETS = 256
"""Number of buckets of a table's keys; only buckets that differ are read row by row."""

# The primes and offsets are so small that no product overflows 64 signed bits, an error in Postgres. The two moduli distinguish any two numbers
# less than 2^61 apart.
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
"""Settings for these queries: FINAL where the engine supports it, and limits for hundreds of columns."""

ROWS = ""
"""Pseudo-column for whole rows: their number, and which values share a row. It is empty, which no column's name is."""

Sums = Mapping[int, tuple[int, ...]]
"""By bucket: the number of rows, the checksum of the rows, and the checksum of each column."""


@dataclass(frozen=True)
class Comparable:
    """A table and its compared columns."""

    mapping: TableMapping
    columns: tuple[Canonical, ...]
    keys: tuple[int, ...]
    """Indexes of the key's columns in `columns`."""


def comparable(mapping: TableMapping) -> Comparable:
    """Returns all columns of the table with their expressions."""
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
    """Splits the columns into several tables, each with the key: ClickHouse needs seconds to plan a query over many hundreds of columns."""
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
    """Returns the checksums of the source in the session's transaction, and of `raw.<target>` with FINAL, computed in parallel."""
    with ThreadPoolExecutor(1, thread_name_prefix="checksums") as pool:
        in_raw = pool.submit(warehouse.rows, _in_clickhouse(table, target, buckets), None, AS_READERS)
        in_source = _sums(_read(session.copy(in_postgres(table, buckets)), beat))
        return in_source, _sums(in_raw.result())


def sums_again(source: Source, table: Comparable, *, buckets: int) -> Sums:
    """Returns the checksums of the source by another session, in the same snapshot."""
    return _sums(source.rows(in_postgres(table, buckets)))


def different(table: Comparable, one: Sums, other: Sums) -> dict[int, tuple[str, ...]]:
    """Returns, by bucket that differs, the columns that differ, and ROWS if the number of rows or the combination of values differs."""
    names = [column.name for column in table.columns]
    differing = {}
    for bucket in sorted({*one, *other}):
        nothing = (0,) * (2 + len(names))
        a, b = one.get(bucket, nothing), other.get(bucket, nothing)
        if a != b:
            columns = [name for name, x, y in zip(names, a[2:], b[2:], strict=True) if x != y]
            rows = [ROWS] if a[0] != b[0] or not columns else []
            differing[bucket] = (*rows, *columns)
    return differing


def in_postgres(table: Comparable, buckets: int) -> str:
    """Returns the query for the source, with a line for each bucket."""
    numbers = ", ".join(f"{column.postgres} AS {number(i)}" for i, column in enumerate(table.columns))
    summed = ", ".join(_postgres_sums(table))
    # OFFSET 0 prevents Postgres from inlining the subquery, which would compute the numbers again at each use.
    return (
        f"SELECT {_bucket(table, buckets, postgres=True)}, count(*), {summed}"
        f" FROM (SELECT {numbers} FROM {table.mapping.table.name.sql}{where(table.mapping)} OFFSET 0) AS numbers GROUP BY 1"
    )


def numbers_in_postgres(table: Comparable, wanted: Sequence[int]) -> str:
    """Returns a query of the source for the numbers of the rows in the `wanted` buckets, with a 0 after each row."""
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
    """Returns a condition in ClickHouse's SQL on rows of numbers."""
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
    """Returns the alias of a column's number. No source column may have this name: in ClickHouse an alias hides the column of the same name."""
    return f"_elt_number_{place}"


def _factor(place: int) -> int:
    """Returns a different odd number below 2^31 for each column, so that values swapped between columns are found."""
    return (_FACTOR + 2 * 48271 * place) % (1 << 31) | 1


def _folded(parts: Sequence[str], form: str) -> str:
    """Joins all parts by an operator, in a tree flat enough for the parsers at any number of columns."""
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
