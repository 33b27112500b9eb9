"""Checksums of a table in the source and in `raw`, each computed in one pass where the rows are; only sums leave (elt.sources.sums)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from warehouse.client import Warehouse
from warehouse.quoting import quote

from elt.pipeline.names import raw
from elt.sources.base import Number, Summed, Sums
from elt.sources.sums import BUCKET_PRIME, BUCKETS, MIX, NULL, NULL_IN_ROW, PRIME, WORD, factor, folded, number

_COLUMNS_AT_ONCE = 200

AS_READERS = {
    "final": 1,
    "max_query_size": 50_000_000,
    "max_ast_elements": 5_000_000,
    "max_expanded_ast_elements": 5_000_000,
}
"""Settings for these queries: FINAL where the engine supports it, and limits for hundreds of columns."""

ROWS = ""
"""Pseudo-column for whole rows: their number, and which values share a row. It is empty, which no column's name is."""


@dataclass(frozen=True)
class Comparable:
    """A table and its compared columns."""

    reader: Summed
    columns: tuple[Number, ...]
    keys: tuple[int, ...]
    """Indexes of the key's columns in `columns`."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def comparable(reader: Summed) -> Comparable:
    """Returns all columns of the table with their expressions."""
    mapping = reader.mapping
    places = {column.source_name: place for place, column in enumerate(mapping.columns)}
    return Comparable(reader, reader.numbers(), tuple(places[name] for name in mapping.key))


def in_parts(table: Comparable) -> list[Comparable]:
    """Splits the columns into several tables, each with the key: ClickHouse needs seconds to plan a query over many hundreds of columns."""
    if len(table.columns) <= _COLUMNS_AT_ONCE:
        return [table]
    keys = [table.columns[place] for place in table.keys]
    others = [column for place, column in enumerate(table.columns) if place not in table.keys]
    starts = range(0, len(others), _COLUMNS_AT_ONCE)
    parts = ((*keys, *others[start : start + _COLUMNS_AT_ONCE]) for start in starts)
    return [Comparable(table.reader, columns, tuple(range(len(keys)))) for columns in parts]


def sums_of_both(
    warehouse: Warehouse, table: Comparable, target: str, beat: Callable[[], None], *, buckets: int
) -> tuple[Sums, Sums]:
    """Returns the checksums of the source at the reader's instant, and of `raw.<target>` with FINAL, computed in parallel."""
    with ThreadPoolExecutor(1, thread_name_prefix="checksums") as pool:
        in_raw = pool.submit(warehouse.rows, _in_clickhouse(table, target, buckets), None, AS_READERS)
        in_source = table.reader.sums(table.names, buckets, beat)
        return in_source, _sums(in_raw.result())


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


def numbers_in_clickhouse(table: Comparable, target: str, wanted: Sequence[int]) -> str:
    """A query of the warehouse for the same as readers with FINAL see it, with the text of each row's key as `_elt_key`."""
    key = ", ".join(quote(table.columns[place].name) for place in table.keys)
    return (
        f"SELECT * FROM (SELECT {_clickhouse_numbers(table)}, toString(tuple({key})) AS _elt_key FROM {raw(target)})"
        f" WHERE {in_buckets(table, wanted)}"
    )


def in_buckets(table: Comparable, wanted: Sequence[int]) -> str:
    """Returns a condition in ClickHouse's SQL on rows of numbers."""
    return f"{_bucket(table, BUCKETS)} IN ({', '.join(map(str, wanted))})"


def _in_clickhouse(table: Comparable, target: str, buckets: int) -> str:
    return (
        f"SELECT {_bucket(table, buckets)} AS bucket, count(), {', '.join(_clickhouse_sums(table))}"
        f" FROM (SELECT {_clickhouse_numbers(table)} FROM {raw(target)}) GROUP BY bucket"
    )


def _clickhouse_numbers(table: Comparable) -> str:
    return ", ".join(f"{column.clickhouse} AS {number(i)}" for i, column in enumerate(table.columns))


def _clickhouse_sums(table: Comparable) -> list[str]:
    mixes, parts = [], []
    for i, column in enumerate(table.columns):
        mix = MIX.format(number(i), c="toInt64(", d=")")
        part = f"{number(i)} % toInt64({PRIME}) * toInt64({factor(i)})"
        mixes.append(f"sum(ifNull({mix}, toInt64({NULL})))" if column.nullable else f"sum({mix})")
        null = f"toInt64({NULL_IN_ROW * (i + 1)})"
        parts.append(f"ifNull({part}, {null})" if column.nullable else f"({part})")
    return [f"sum({folded(parts, 'bitXor({}, {})')})", *mixes]


def _bucket(table: Comparable, buckets: int) -> str:
    if buckets == 1:
        return "0"
    parts = [f"({number(i)} % toInt64({PRIME}) * toInt64({factor(i)}))" for i in table.keys]
    return f"bitAnd({folded(parts, 'bitXor({}, {})')} % toInt64({BUCKET_PRIME}), toInt64({buckets - 1}))"


def _sums(rows: Sequence[Sequence[object]]) -> Sums:
    return {int(str(row[0])): tuple(int(str(value)) % WORD for value in row[1:]) for row in rows}
