"""Queries for the rows of a Postgres table."""

from __future__ import annotations

from elt.mapping import PAD
from elt.sources.postgres.mapping import PostgresMapping
from elt.sources.postgres.names import quote_postgres


def select(mapping: PostgresMapping, condition: str | None = None) -> str:
    """The query inside COPY: all rows, or those that meet `condition`."""
    selected = [column.select for column in mapping.columns] + (["0"] if PAD in mapping.wire else [])
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


def where(mapping: PostgresMapping, *conditions: str | None) -> str:
    """The WHERE clause for the source: that of pipeline.yml, and what is given."""
    # On a line of its own, so that a comment in the file ends where it should.
    found = [f"({text}\n)" for text in (mapping.entry.where, *conditions) if text]
    return f" WHERE {' AND '.join(found)}" if found else ""


def count_duplicates(mapping: PostgresMapping, condition: str) -> str:
    """A query for the number of keys that stand in more than one row, one of which meets `condition`."""
    key = ", ".join(quote_postgres(name) for name in mapping.key)
    table = mapping.table.name.sql
    return (
        f"SELECT count(*) FROM (SELECT FROM {table}{where(mapping)} {'AND' if mapping.entry.where else 'WHERE'} ({key}) IN"
        f" (SELECT {key} FROM {table}{where(mapping, condition)}) GROUP BY {key} HAVING count(*) > 1) AS twice"
    )
