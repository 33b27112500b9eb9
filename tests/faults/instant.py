"""The content that a run must publish: every row of the source at the instant that the run has exported."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg2

# By table: its columns as text, alike on both sides.
_COLUMNS = {
    "accounts": ("id", "balance", "tick"),
    "transfers": ("id", "amount", "note", "tick"),
    "entries": ("transfer_id", "side", "account_id", "amount", "tick"),
    "audit": ("id", "delta", "tick"),
}


@dataclass(frozen=True)
class Instant:
    """The tick, and of each table the number of rows and the sum of the rows' checksums."""

    tick: int
    tables: dict[str, tuple[int, int]]


def read_source(dsn: str, snapshot: str) -> Instant:
    """Reads the source at an exported snapshot that is still held. Raises psycopg2.Error when it is not."""
    connection = psycopg2.connect(dsn, application_name="witness")
    try:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))

            def rows(sql: str) -> list[tuple[Any, ...]]:
                cursor.execute(sql)
                return cursor.fetchall()

            number = "('x' || substr(md5({}), 1, 8))::bit(32)::bigint"
            return _read(rows, "{}", "concat_ws('|', {})", number, "SELECT tick FROM clock")
    finally:
        connection.close()


def read_published(rows: Callable[[str], list[tuple[Any, ...]]]) -> Instant:
    """Reads what readers of `raw` see. `rows` must read with FINAL."""
    number = "reinterpretAsUInt32(reverse(substring(MD5({}), 1, 4)))"
    tick = "SELECT max(tick) FROM raw.audit"
    return _read(rows, "raw.{}", "concatWithSeparator('|', {})", number, tick)


def _read(rows: Callable[[str], list[tuple[Any, ...]]], name: str, line: str, number: str, tick: str) -> Instant:
    tables = {}
    for table, columns in _COLUMNS.items():
        row = number.format(line.format(", ".join(columns)))
        found = rows(f"SELECT count(*), coalesce(sum({row}), 0) FROM {name.format(table)}")
        tables[table] = (int(found[0][0]), int(found[0][1]))
    return Instant(int(rows(tick)[0][0]), tables)
