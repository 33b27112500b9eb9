"""Queries of Postgres for the checksums of a table, and for the numbers of some of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from elt.sources.postgres.comparing.canonical import Canonical, canonical
from elt.sources.postgres.mapping import PostgresMapping
from elt.sources.postgres.statements import where
from elt.sources.sums import BUCKET_PRIME, BUCKETS, MIX, NULL, NULL_IN_ROW, PRIME, factor, folded, number


@dataclass(frozen=True)
class Compared:
    """Some columns of a table, and where those of its key stand among them."""

    mapping: PostgresMapping
    columns: tuple[Canonical, ...]
    keys: tuple[int, ...]

    @classmethod
    def of(cls, mapping: PostgresMapping, names: Sequence[str]) -> Compared:
        """The columns of these names in `raw`, in this order."""
        known = {column.name: column for column in numbers_of(mapping)}
        at_source = {column.name: column.source_name for column in mapping.columns}
        places = {at_source[name]: place for place, name in enumerate(names)}
        keys = tuple(places[name] for name in mapping.key if name in places)
        return cls(mapping, tuple(known[name] for name in names), keys)


def numbers_of(mapping: PostgresMapping) -> tuple[Canonical, ...]:
    """All columns of the table with their expressions."""
    declared = {column.name: column for column in mapping.table.columns}
    sent = {*mapping.entry.mask, *mapping.entry.replace}
    return tuple(
        canonical(
            column,
            declared[column.source_name],
            as_sent=column.source_name in sent,
            in_key=column.source_name in mapping.key,
        )
        for column in mapping.columns
    )


def sums_query(table: Compared, buckets: int) -> str:
    """Returns the query for the source, with a line for each bucket."""
    numbers = ", ".join(f"{column.postgres} AS {number(i)}" for i, column in enumerate(table.columns))
    summed = ", ".join(_postgres_sums(table))
    # OFFSET 0 prevents Postgres from inlining the subquery, which would compute the numbers again at each use.
    return (
        f"SELECT {_bucket(table, buckets)}, count(*), {summed}"
        f" FROM (SELECT {numbers} FROM {table.mapping.table.name.sql}{where(table.mapping)} OFFSET 0) AS numbers GROUP BY 1"
    )


def rows_query(table: Compared, wanted: Sequence[int]) -> str:
    """Returns a query of the source for the numbers of the rows in the `wanted` buckets, with a 0 after each row."""
    numbers = ", ".join(f"{column.postgres} AS {number(i)}" for i, column in enumerate(table.columns))
    names = ", ".join(number(i) for i in range(len(table.columns)))
    return (
        f"SELECT {names}, 0 FROM (SELECT {numbers} FROM {table.mapping.table.name.sql}{where(table.mapping)} OFFSET 0) AS numbers"
        f" WHERE {_bucket(table, BUCKETS)} IN ({', '.join(map(str, wanted))})"
    )


def _postgres_sums(table: Compared) -> list[str]:
    mixes, parts = [], []
    for i, column in enumerate(table.columns):
        mix, part = MIX.format(number(i), c="", d=""), f"{number(i)} % {PRIME} * {factor(i)}"
        mixes.append(f"sum(coalesce({mix}, {NULL}))" if column.nullable else f"sum({mix})")
        parts.append(f"coalesce({part}, {NULL_IN_ROW * (i + 1)})" if column.nullable else f"({part})")
    return [f"sum({folded(parts, '({} # {})')})", *mixes]


def _bucket(table: Compared, buckets: int) -> str:
    if buckets == 1:
        return "0"
    return f"{folded([f'({number(i)} % {PRIME} * {factor(i)})' for i in table.keys], '({} # {})')} % {BUCKET_PRIME} & {buckets - 1}"
