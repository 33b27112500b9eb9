"""Compares a table of `raw` with the source at one instant: by checksums, and then row by row in differing buckets of an incremental table.

Every row of the source must be in `raw` with the same values. A row that only `raw` has is an error in a fully copied table. In an incremental
table it was deleted at the source, which a cursor cannot see: it is counted, not an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC

from warehouse import ops, records
from warehouse.client import Warehouse

from elt.destination.inserts import insert_stream
from elt.mapping import TableMapping
from elt.pipeline.names import raw
from elt.pipeline.options import Verify
from elt.sources.base import Summed, Sums
from elt.sources.sums import BUCKETS, PADDING, number
from elt.verification.checksums import (
    AS_READERS,
    ROWS,
    Comparable,
    comparable,
    different,
    in_buckets,
    in_parts,
    numbers_in_clickhouse,
    sums_of_both,
)

_UNSTABLE = "the source gives other values each time it is read"
_EXAMPLES = 5
_NUMBERS_AT_ONCE = 40_000_000
"""Numbers (rows times columns) of the source joined at once in differing buckets, so that memory does not grow with the table."""


@dataclass(frozen=True)
class Verified:
    """The result of comparing one table."""

    columns: tuple[str, ...]
    """Compared columns."""
    not_compared: tuple[str, ...] = ()
    """Columns that cannot be compared, each with the reason."""
    rows: int = 0
    """Rows of the source."""
    wrong: tuple[str, ...] = ()
    """Columns whose values differ from the source; ROWS if rows are missing, extra, or combine other values."""
    missing: int = 0
    """Rows of the source that are missing in `raw`. Counted, like the next fields, for incremental tables only."""
    changed: int = 0
    """Rows whose values differ from the source."""
    deleted: int = 0
    """Rows that were deleted at the source."""
    examples: tuple[str, ...] = ()
    """Keys of a few rows that were deleted at the source."""
    changed_examples: tuple[str, ...] = ()
    """Keys of a few rows with other values."""

    @property
    def is_right(self) -> bool:
        return not (self.wrong or self.missing or self.changed)

    @property
    def difference(self) -> str:
        """Returns the differences, as a clause."""
        clauses = [f"{self.missing:,} rows are missing"] if self.missing else []
        columns = [name for name in self.wrong if name != ROWS]
        if self.changed:
            where = f" ({', '.join(self.changed_examples)})" if self.changed_examples else ""
            clauses.append(f"{self.changed:,} rows{where} have other values in {', '.join(columns)}")
        elif columns:
            clauses.append(f"other values in {', '.join(columns)}")
        if ROWS in self.wrong:
            clauses.append("another number of rows, or values in other rows")
        return ", ".join(clauses)

    @property
    def note(self) -> str:
        """Returns a sentence on rows deleted at the source; empty without any."""
        if not self.deleted:
            return ""
        return f"{self.deleted:,} rows were deleted at the source and stay until python -m elt reconcile --deleted"


def is_due(warehouse: Warehouse, verify: Verify, target: str) -> bool:
    """Whether this load is to be compared with the source."""
    if verify != "daily":
        return verify == "every_run"
    last = ops.last_verified(warehouse, target)
    return last is None or last.astimezone(UTC).date() < records.now().date()


def verify(
    warehouse: Warehouse, reader: Summed, target: str, scratch: str, beat: Callable[[], None] = lambda: None
) -> Verified:
    """Compares `raw.<target>` with the source at the reader's instant.

    `scratch` names a temporary table of `raw`, created if needed and dropped again. `beat` is called while the source works.
    """
    mapping = reader.mapping
    table, not_compared = _comparable_columns(warehouse, comparable(reader), target)
    if len(table.keys) < len(mapping.key) or not table.columns:
        return Verified((), not_compared)
    result, sums = _compare(warehouse, table, target, scratch, not_compared, beat)
    if result.is_right:
        return result
    # Volatile expressions of a view, such as random() or the time, differ between transactions of one snapshot.
    unstable = {
        name
        for part, before in zip(in_parts(table), sums, strict=True)
        for names in different(part, before, reader.sums(part.names, _buckets(mapping), beat, again=True)).values()
        for name in names
    }
    if not unstable:
        return result
    if ROWS in unstable or unstable & {table.columns[place].name for place in table.keys}:
        unstable = {column.name for column in table.columns}
    not_compared += tuple(f"{column.name}: {_UNSTABLE}" for column in table.columns if column.name in unstable)
    table = _without(table, unstable)
    if not table.columns:
        return Verified((), not_compared, result.rows)
    return _compare(warehouse, table, target, scratch, not_compared, beat)[0]


def _buckets(mapping: TableMapping) -> int:
    return BUCKETS if mapping.incremental else 1


def _compare(
    warehouse: Warehouse,
    table: Comparable,
    target: str,
    scratch: str,
    not_compared: tuple[str, ...],
    beat: Callable[[], None],
) -> tuple[Verified, list[Sums]]:
    """Returns the differences, and the source's checksums of each part of the columns."""
    sums: list[Sums] = []
    differing: dict[int, tuple[str, ...]] = {}
    for part in in_parts(table):
        in_source, in_raw = sums_of_both(warehouse, part, target, beat, buckets=_buckets(table.reader.mapping))
        sums.append(in_source)
        for bucket, names in different(part, in_source, in_raw).items():
            differing[bucket] = tuple(dict.fromkeys((*differing.get(bucket, ()), *names)))
    rows = sum(values[0] for values in sums[0].values())
    result = Verified(tuple(column.name for column in table.columns), not_compared, rows)
    if differing and table.reader.mapping.incremental:
        result = _by_row(warehouse, table, target, scratch, sums[0], differing, result, beat)
    elif differing:
        result = replace(result, wrong=differing[0])
    return result, sums


def _comparable_columns(warehouse: Warehouse, table: Comparable, target: str) -> tuple[Comparable, tuple[str, ...]]:
    """Returns the table with the columns that `raw` has in their mapped type, and a text for each other column."""
    types: Mapping[str, str] = dict(
        warehouse.rows(
            "SELECT name, type FROM system.columns WHERE database = 'raw' AND table = {table:String}", {"table": target}
        )
    )
    other = {column.name for column in table.reader.mapping.columns if types.get(column.name) != column.clickhouse}
    words = [
        f"{name}: {types.get(name, 'not there')} in raw, and copied otherwise now" for name in types if name in other
    ]
    words += [f"{name}: not in raw yet" for name in sorted(other - {*types})]
    return _without(table, other), tuple(words)


def _without(table: Comparable, names: set[str]) -> Comparable:
    keys = [table.columns[place].name for place in table.keys]
    columns = tuple(column for column in table.columns if column.name not in names)
    places = {column.name: place for place, column in enumerate(columns)}
    return Comparable(table.reader, columns, tuple(places[name] for name in keys if name in places))


def _by_row(
    warehouse: Warehouse,
    table: Comparable,
    target: str,
    scratch: str,
    in_source: Sums,
    found: Mapping[int, tuple[str, ...]],
    result: Verified,
    beat: Callable[[], None],
) -> Verified:
    """Counts differing rows in differing buckets. The source's rows are inserted into the warehouse, as numbers."""
    names = [number(i) for i in range(len(table.columns))]
    key = ", ".join(names[place] for place in table.keys)
    kinds = ", ".join(
        f"{name} {'Nullable(Int64)' if column.nullable else 'Int64'}"
        for name, column in zip(names, table.columns, strict=True)
    )
    warehouse.command(
        f"CREATE TABLE {raw(scratch)} ({kinds}, {PADDING} UInt8 EPHEMERAL) ENGINE = MergeTree ORDER BY ({key})"
    )
    try:
        stream = table.reader.rows_in(table.names, sorted(found), lambda rows, size: beat())
        insert_stream(warehouse, raw(scratch), stream)
        for wanted in _slices(found, in_source, _NUMBERS_AT_ONCE // len(names)):
            result = _count(warehouse, table, target, scratch, wanted, result)
            beat()
        if not (result.missing or result.changed or result.deleted):
            result = replace(result, wrong=(ROWS,))
        return result
    finally:
        warehouse.drop(raw(scratch))


def _slices(differing: Mapping[int, tuple[str, ...]], in_source: Sums, most: int) -> Iterator[list[int]]:
    """Yields groups of buckets with at most `most` rows together; a larger bucket is a group of its own."""
    some: list[int] = []
    rows = 0
    for bucket in sorted(differing):
        count = in_source[bucket][0] if bucket in in_source else 0
        if some and rows + count > most:
            yield some
            some, rows = [], 0
        some.append(bucket)
        rows += count
    yield some


def _count(
    warehouse: Warehouse, table: Comparable, target: str, scratch: str, wanted: Sequence[int], result: Verified
) -> Verified:
    names = [number(i) for i in range(len(table.columns))]
    on = " AND ".join(f"s.{names[place]} = r.{names[place]}" for place in table.keys)
    both = "s.present AND r.present"
    differs = [
        f"(isNull(s.{name}) != isNull(r.{name}) OR ifNull(s.{name} != r.{name}, false))"
        if column.nullable
        else f"(s.{name} != r.{name})"
        for name, column in zip(names, table.columns, strict=True)
    ]
    changed = " OR ".join(differs)
    counts = ", ".join(f"countIf({both} AND {one})" for one in differs)
    rows = warehouse.rows(
        f"SELECT countIf(NOT r.present), countIf(NOT s.present), countIf({both} AND ({changed})),"
        f" groupArrayIf({_EXAMPLES})(r._elt_key, NOT s.present), groupArrayIf({_EXAMPLES})(r._elt_key, {both} AND ({changed})), [{counts}]"
        f" FROM (SELECT {', '.join(names)}, true AS present FROM {raw(scratch)} WHERE {in_buckets(table, wanted)}) AS s"
        f" FULL JOIN (SELECT {', '.join(names)}, _elt_key, true AS present FROM ({numbers_in_clickhouse(table, target, wanted)})) AS r ON {on}",
        None,
        AS_READERS,
    )[0]
    missing, deleted, other, gone, examples, by_column = rows
    wrong = {column.name for column, count in zip(table.columns, by_column, strict=True) if count} | {*result.wrong}
    return replace(
        result,
        missing=result.missing + int(missing),
        deleted=result.deleted + int(deleted),
        changed=result.changed + int(other),
        wrong=tuple(column.name for column in table.columns if column.name in wrong),
        examples=(*result.examples, *map(str, gone))[:_EXAMPLES],
        changed_examples=(*result.changed_examples, *map(str, examples))[:_EXAMPLES],
    )
