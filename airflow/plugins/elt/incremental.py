"""Incremental loads: which rows to read again, how they join those that are there, and how far they reach.

A load begins with a clone of the published table, which shares its parts, and adds the rows that have changed. A reader with
FINAL sees the row of the newest run for each key. Deleted rows are not seen by a cursor: reconcile.py finds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from elt import ops, publish
from elt.catalogue import SourceColumn
from elt.errors import TerminalError, WarehouseRefusedError
from elt.names import publisher_table, quote_clickhouse, quote_postgres, raw
from elt.statements import LOADED_COLUMN, RUN_COLUMN, TIMES, Shape
from elt.warehouse import Warehouse

LOOKBACK = timedelta(hours=1)
LOOKBACK_OF_DATES = timedelta(days=1)
_NO_DEDUPLICATION = {"optimize_on_insert": 0, "insert_deduplicate": 0}


@dataclass(frozen=True)
class Base:
    """What is published, and can be gone on from."""

    target: str
    rows: int
    """As a reader with FINAL counts them."""
    watermark: str


@dataclass(frozen=True)
class Arrived:
    """What one load of an incremental table has brought."""

    rows: int
    newest: str | None
    """The highest value of the cursor, as text; None where no row has one."""
    known: int
    """Keys among them that are published already."""


def find_base(warehouse: Warehouse, run: ops.Run, target: str, shape: Shape) -> Base | None:
    """None where the table has to be loaded whole: it is not there as it was published, it has another shape or key, it
    has no watermark, or the run is a full refresh."""
    if run.full_refresh or not shape.incremental:
        return None
    published = ops.latest_publish(warehouse, target)
    if published is None:
        return None
    loads = [load for load in ops.loads(warehouse, published.run) if load.target == target]
    load = next((load for load in reversed(loads) if load.status in ("loaded", "published")), None)
    if load is None or not load.watermark or load.shape != shape.fingerprint:
        return None
    if publish.uuids(warehouse).get(target) != published.new_uuid:
        return None
    return Base(target, published.rows, load.watermark)


def changes_table(loading: str) -> str:
    """Where the changed rows go first, beside the clone that they will join."""
    return publisher_table(loading, "c")


def clone(loading: str, base: Base) -> str:
    """CREATE TABLE of a loading table that begins as what is published."""
    return f"CREATE TABLE {raw(loading)} CLONE AS {raw(base.target)}"


def condition(shape: Shape, base: Base) -> str:
    """Which rows of the source are read: those at or past the watermark minus the lookback."""
    column = _cursor(shape)
    quoted = quote_postgres(column.name)
    lookback = shape.entry.lookback
    mark = _parsed(column, base.watermark)
    if isinstance(mark, datetime):
        back = lookback if isinstance(lookback, timedelta) else LOOKBACK
        if column.base == "date":
            back = max(back, LOOKBACK_OF_DATES)
        since = mark - min(back, mark - datetime.min)
        text = f"'{since.date() if column.base == 'date' else since}'::{column.base}"
    elif isinstance(lookback, int):
        text = str(mark - lookback)
    else:
        raise TerminalError(f"The lookback of {shape.entry.name} is {lookback}; a cursor of numbers takes a number")
    # A row without a cursor says nothing of when it changed: it is always read.
    return f"{quoted} >= {text}" + ("" if column.not_null else f" OR {quoted} IS NULL")


def look(warehouse: Warehouse, shape: Shape, table: str, base: Base | None) -> Arrived:
    """What a load has brought into `table`; with a base also how much of it takes the place of published rows."""
    key = shape.key_to_compare
    cursor = quote_clickhouse(_cursor(shape).name)
    known = "0"
    if base is not None:
        first = quote_clickhouse(shape.key[0])
        arrived = f"SELECT {key} FROM {raw(table)}"
        if shape.key[0] not in shape.floats:
            # What lies beyond all that is published, as most new rows do, need not be looked for. The greatest is known of each part.
            arrived += f" WHERE {first} <= (SELECT max({first}) FROM {raw(base.target)})"
        known = f"(SELECT uniqExact({key}) FROM {raw(base.target)} WHERE ({key}) IN ({arrived}))"
    rows, cursors, newest, replaced = warehouse.rows(
        f"SELECT count(), count({cursor}), toString(max({cursor})), {known} FROM {raw(table)}"
    )[0]
    return Arrived(int(rows), str(newest) if cursors else None, int(replaced))


def merge(warehouse: Warehouse, shape: Shape, loading: str) -> None:
    """Adds the changed rows to the clone. Their parts are taken over as they are, which rewrites nothing."""
    changes = raw(changes_table(loading))
    try:
        warehouse.command(f"ALTER TABLE {raw(loading)} ATTACH PARTITION ALL FROM {changes}")
    except WarehouseRefusedError:
        # Somebody has given the table in `raw` an index or the like, so that the two are not of one structure.
        names = [column.name for column in shape.columns] + [RUN_COLUMN, LOADED_COLUMN]
        columns = ", ".join(quote_clickhouse(name) for name in names)
        warehouse.command(f"INSERT INTO {raw(loading)} ({columns}) SELECT {columns} FROM {changes}", _NO_DEDUPLICATION)


def duplicates(warehouse: Warehouse, shape: Shape, table: str) -> int:
    """How many keys of the table stand in more than one row."""
    key = ", ".join(quote_clickhouse(name) for name in shape.key)
    query = f"SELECT count() FROM (SELECT {key} FROM {raw(table)} GROUP BY {key} HAVING count() > 1)"
    return int(warehouse.rows(query)[0][0])


def watermark(shape: Shape, arrived: Arrived, base: Base | None, horizon: datetime | None) -> str:
    """How far the rows that have arrived, and those before them, are complete; empty where nobody can tell.

    Never later than `horizon`: a transaction that was open at the snapshot may yet commit rows from then on.
    """
    column = _cursor(shape)
    before = _parsed(column, base.watermark) if base else None
    newest = _parsed(column, arrived.newest) if arrived.newest is not None else None
    marks = [mark for mark in (before, newest) if mark is not None]
    if not marks:
        return ""
    mark = max(marks)
    if not isinstance(mark, datetime):
        return str(mark)
    if horizon is None:
        # A prepared transaction waits: what is safe is what was safe before.
        return base.watermark if base else ""
    if column.base == "timestamptz":
        return str(min(mark, horizon.astimezone(UTC).replace(tzinfo=None)))
    # A wall clock's zone is unknown, so it is held back by the age of the oldest transaction.
    age = ops.now() - horizon
    return str(mark - min(max(age, timedelta(0)), mark - datetime.min))


def _cursor(shape: Shape) -> SourceColumn:
    return next(column for column in shape.table.columns if column.name == shape.entry.cursor)


def _parsed(column: SourceColumn, text: str) -> datetime | Decimal:
    if column.base not in TIMES:
        return Decimal(text)
    if len(text) == len("2026-01-01"):
        return datetime.combine(date.fromisoformat(text), datetime.min.time())
    return datetime.fromisoformat(text)
