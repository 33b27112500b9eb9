"""The cursor of an incremental table: its clock, and which rows a load reads again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from warehouse.errors import TerminalError

from elt.sources.base import Cursor, Instants
from elt.sources.postgres.catalogue import Reads
from elt.sources.postgres.mapping import TIMES, PostgresMapping
from elt.sources.postgres.names import quote_postgres

LOOKBACK = timedelta(hours=1)
LOOKBACK_OF_DATES = timedelta(days=1)
# The loader's session is in UTC; what it would be in by itself is that of the database, or of the role.
_WALL_CLOCK = (
    "SELECT %s::timestamptz AT TIME ZONE coalesce(%s, (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'))"
)


def cursor_of(mapping: PostgresMapping) -> Cursor:
    column = mapping.cursor
    name = next(one.name for one in mapping.columns if one.source_name == column.name)
    if column.base == "timestamptz":
        return Cursor(name, "instant")
    if column.base == "timestamp":
        return Cursor(name, "wall clock")
    return Cursor(name, "date" if column.base == "date" else "number")


def read_instants(source: Reads, mapping: PostgresMapping, now: datetime, horizon: datetime | None) -> Instants:
    if horizon is None or cursor_of(mapping).kind not in ("wall clock", "date"):
        return Instants(now, horizon)
    (wall,) = source.rows(_WALL_CLOCK, (horizon, mapping.entry.cursor_timezone))[0]
    return Instants(now, horizon, wall)


def changed(mapping: PostgresMapping, watermark: str, attached: Sequence[int]) -> str:
    """Which rows are read: those at or past the watermark minus the lookback, and all of the `attached` partitions (oids)."""
    column, lookback = mapping.cursor, mapping.entry.lookback
    quoted = quote_postgres(column.name)
    if column.base in TIMES:
        mark = _instant(watermark)
        back = lookback if isinstance(lookback, timedelta) else LOOKBACK
        if column.base == "date":
            back = max(back, LOOKBACK_OF_DATES)
        since = mark - min(back, mark - datetime.min)
        text = f"'{since.date() if column.base == 'date' else since}'::{column.base}"
    elif isinstance(lookback, int):
        text = str(Decimal(watermark) - lookback)
    else:
        raise TerminalError(f"The lookback of {mapping.name} is {lookback}; a cursor of numbers takes a number")
    # A row without a cursor says nothing of when it changed: it is always read. So is a partition that was attached with older rows.
    alternatives = [f"{quoted} >= {text}", *([] if column.not_null else [f"{quoted} IS NULL"])]
    if attached:
        alternatives.append(f"tableoid IN ({', '.join(map(str, attached))})")
    return " OR ".join(alternatives)


def _instant(text: str) -> datetime:
    if len(text) == len("2026-01-01"):
        return datetime.combine(date.fromisoformat(text), datetime.min.time())
    return datetime.fromisoformat(text)
