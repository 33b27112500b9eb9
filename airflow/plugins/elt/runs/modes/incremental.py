"""Incremental loads: which rows to read again, how they join those that are there, and how far they reach.

A load begins with a clone of the published table, which shares its parts, and adds the rows that have changed. A reader with
FINAL sees the row of the newest run for each key. Deleted rows are not seen by a cursor: reconcile.py finds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.errors import TerminalError, WarehouseRefusedError
from warehouse.quoting import quote

from elt.destination.statements import LOADED_COLUMN, RUN_COLUMN, TIMES, TableMapping
from elt.pipeline.names import publisher_table, quote_postgres, raw
from elt.publishing import publish
from elt.sources.postgres.catalogue import Reads, SourceColumn
from elt.sources.postgres.origin import Origin, compare

LOOKBACK = timedelta(hours=1)
LOOKBACK_OF_DATES = timedelta(days=1)
FARTHEST_ZONE = timedelta(hours=14)
"""How far a wall clock may be ahead of UTC: a cursor beyond now and this is of no clock, but a mistake."""
_NO_DEDUPLICATION = {"optimize_on_insert": 0, "insert_deduplicate": 0}


@dataclass(frozen=True)
class Base:
    """The published rows that a load goes on from."""

    target: str
    rows: int
    """As a reader with FINAL counts them."""
    watermark: str
    attached: tuple[int, ...] = ()
    """Oids of partitions of the source that are new, which are read whole."""


@dataclass(frozen=True)
class Arrived:
    """The rows that one load of an incremental table has brought."""

    rows: int
    newest: str | None
    """The highest value of the cursor, as text; None where no row has one."""
    known: int
    """Keys among them that are published already."""
    future: int = 0
    """Rows whose cursor is later than any clock shows now; `newest` is not theirs."""


@dataclass(frozen=True)
class Start:
    """Start of a load: a base to go on from, or None for a whole copy, and a sentence where a person should know why."""

    base: Base | None
    note: str = ""
    watermark: str = ""
    """How far the rows before this load are complete, by choice of a whole copy too; empty where nobody can tell."""


@dataclass(frozen=True)
class Instants:
    """Instants that one load judges cursors by, read once."""

    now: datetime
    """Start of the load, UTC."""
    horizon: datetime | None = None
    """A transaction that was open at the snapshot may yet commit rows from then on, UTC; None where nobody can tell."""
    wall: datetime | None = None
    """The horizon as the cursor's own clock shows it; None where the cursor is an instant or a number, or nobody knows the horizon."""

    @property
    def latest(self) -> datetime:
        """The latest that any clock on earth shows now, as a wall clock."""
        return (self.now + FARTHEST_ZONE).replace(tzinfo=None)


def read_instants(source: Reads, mapping: TableMapping, horizon: datetime | None) -> Instants:
    now = records.now()
    if horizon is None or not mapping.incremental or _cursor(mapping).base not in ("timestamp", "date"):
        return Instants(now, horizon)
    zone = mapping.entry.cursor_timezone
    # The loader's session is in UTC; what it would be in by itself is that of the database, or of the role.
    database_s = "(SELECT reset_val FROM pg_settings WHERE name = 'TimeZone')"
    (wall,) = source.rows(f"SELECT %s::timestamptz AT TIME ZONE coalesce(%s, {database_s})", (horizon, zone))[0]
    return Instants(now, horizon, wall)


def find_start(
    warehouse: Warehouse,
    run: ops.Run,
    target: str,
    mapping: TableMapping,
    origin: Origin,
    instants: Instants,
    *,
    any_host: bool,
) -> Start:
    """A table is loaded whole where it is not there as it was published, has another shape, key or origin, or no watermark that can be
    gone on from, and where the run is a full refresh."""
    if run.full_refresh or not mapping.incremental:
        return Start(None)
    published = ops.latest_publish(warehouse, target)
    if published is None:
        return Start(None)

    def whole(reason: str) -> Start:
        return Start(None, f"{mapping.table.name} is copied whole: {reason}")

    loads = [load for load in ops.loads(warehouse, published.run) if load.target == target]
    load = next((load for load in reversed(loads) if load.status in ("loaded", "published")), None)
    if load is None or not load.shape:
        return Start(None)
    found = compare(load.origin, origin, frozenset(column.source_name for column in mapping.columns), any_host=any_host)
    if found.reason:
        return whole(found.reason)
    if load.shape != mapping.fingerprint:
        return whole("its columns, key, condition or partitions have changed since the run before")
    if publish.uuids(warehouse).get(target) != published.new_uuid:
        return whole(f"raw.{target} is not the table that the loader published last")
    if not load.watermark:
        return Start(None)
    mark = _parsed(_cursor(mapping), load.watermark)
    if isinstance(mark, datetime) and mark > instants.latest:
        return whole(f"its watermark {load.watermark} lies in the future, so that newer rows were not read")
    note = ""
    if found.detached:
        note = (
            f"{', '.join(found.detached)} is no partition of {mapping.table.name} any more; its rows stay in raw.{target} "
            "until python -m elt reconcile --deleted"
        )
    return Start(Base(target, published.rows, load.watermark, found.attached), note, load.watermark)


def changes_table(loading: str) -> str:
    """Where the changed rows go first, beside the clone that they will join."""
    return publisher_table(loading, "c")


def clone(loading: str, base: Base) -> str:
    """CREATE TABLE of a loading table that begins as what is published."""
    return f"CREATE TABLE {raw(loading)} CLONE AS {raw(base.target)}"


def condition(mapping: TableMapping, base: Base) -> str:
    """Which rows of the source are read: those at or past the watermark minus the lookback."""
    column = _cursor(mapping)
    quoted = quote_postgres(column.name)
    lookback = mapping.entry.lookback
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
        raise TerminalError(f"The lookback of {mapping.entry.name} is {lookback}; a cursor of numbers takes a number")
    # A row without a cursor says nothing of when it changed: it is always read. So is a partition that was attached with older rows.
    alternatives = [f"{quoted} >= {text}", *([] if column.not_null else [f"{quoted} IS NULL"])]
    if base.attached:
        alternatives.append(f"tableoid IN ({', '.join(map(str, base.attached))})")
    return " OR ".join(alternatives)


def count_changes(
    warehouse: Warehouse, mapping: TableMapping, table: str, base: Base | None, instants: Instants
) -> Arrived:
    """Counts the rows that a load has brought into `table`; with a base also how much of it takes the place of published rows."""
    key = mapping.key_to_compare
    cursor = quote(_cursor(mapping).name)
    known = "0"
    if base is not None:
        first = quote(mapping.key[0])
        arrived = f"SELECT {key} FROM {raw(table)}"
        if mapping.key[0] not in mapping.floats:
            # What lies beyond all that is published, as most new rows do, need not be looked for. The greatest is known of each part.
            arrived += f" WHERE {first} <= (SELECT max({first}) FROM {raw(base.target)})"
        known = f"(SELECT uniqExact({key}) FROM {raw(base.target)} WHERE ({key}) IN ({arrived}))"
    column = _cursor(mapping)
    plausible = "1"
    if column.base == "date":
        plausible = f"{cursor} <= toDate32('{instants.latest:%Y-%m-%d}')"
    elif column.base in TIMES:
        plausible = f"{cursor} <= toDateTime64('{instants.latest:%Y-%m-%d %H:%M:%S}', 6, 'UTC')"
    rows, cursors, newest, future, replaced = warehouse.rows(
        f"SELECT count(), countIf({cursor} IS NOT NULL AND {plausible}), toString(maxIf({cursor}, {plausible})),"
        f" countIf({cursor} IS NOT NULL AND NOT ({plausible})), {known} FROM {raw(table)}"
    )[0]
    return Arrived(int(rows), str(newest) if cursors else None, int(replaced), int(future))


def merge(warehouse: Warehouse, mapping: TableMapping, loading: str) -> None:
    """Adds the changed rows to the clone. Their parts are taken over as they are, which rewrites nothing."""
    changes = raw(changes_table(loading))
    try:
        warehouse.command(f"ALTER TABLE {raw(loading)} ATTACH PARTITION ALL FROM {changes}")
    except WarehouseRefusedError:
        # Somebody has given the table in `raw` an index or the like, so that the two are not of one structure.
        names = [column.name for column in mapping.columns] + [RUN_COLUMN, LOADED_COLUMN]
        columns = ", ".join(quote(name) for name in names)
        warehouse.command(f"INSERT INTO {raw(loading)} ({columns}) SELECT {columns} FROM {changes}", _NO_DEDUPLICATION)


def duplicates(warehouse: Warehouse, mapping: TableMapping, table: str) -> int:
    """How many keys of the table stand in more than one row."""
    key = ", ".join(quote(name) for name in mapping.key)
    query = f"SELECT count() FROM (SELECT {key} FROM {raw(table)} GROUP BY {key} HAVING count() > 1)"
    return int(warehouse.rows(query)[0][0])


def watermark(mapping: TableMapping, arrived: Arrived, start: Start, instants: Instants) -> str:
    """How far the rows that have arrived, and those before them, are complete; empty where nobody can tell.

    Never later than the horizon: a transaction that was open at the snapshot may yet commit rows from then on.
    """
    column, horizon = _cursor(mapping), instants.horizon
    before = _parsed(column, start.watermark) if start.watermark else None
    newest = _parsed(column, arrived.newest) if arrived.newest is not None else None
    marks = [mark for mark in (before, newest) if mark is not None]
    if not marks:
        return ""
    mark = max(marks)
    if not isinstance(mark, datetime):
        return str(mark)
    if horizon is None:
        # A prepared transaction waits: what is safe is what was safe before.
        return start.watermark
    if column.base == "timestamptz":
        return str(min(mark, horizon.astimezone(UTC).replace(tzinfo=None)))
    # The clock may be of another zone than is said: so it is held back by the age of the oldest transaction, too.
    age = instants.now - horizon
    mark -= min(max(age, timedelta(0)), mark - datetime.min)
    return str(mark if instants.wall is None else min(mark, instants.wall))


def future_note(mapping: TableMapping, arrived: Arrived, instants: Instants) -> str:
    """A sentence on rows from the future; empty where there are none."""
    if not arrived.future:
        return ""
    return (
        f"{arrived.future:,} rows of {mapping.table.name} have {mapping.entry.cursor} later than {instants.latest:%Y-%m-%d %H:%M} UTC, which no clock shows now; "
        "every run reads them, and they move no watermark: correct them at the source"
    )


def _cursor(mapping: TableMapping) -> SourceColumn:
    return next(column for column in mapping.table.columns if column.name == mapping.entry.cursor)


def _parsed(column: SourceColumn, text: str) -> datetime | Decimal:
    if column.base not in TIMES:
        return Decimal(text)
    if len(text) == len("2026-01-01"):
        return datetime.combine(date.fromisoformat(text), datetime.min.time())
    return datetime.fromisoformat(text)
