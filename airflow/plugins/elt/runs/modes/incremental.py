"""Mode incremental: which rows to read again, how they join those that are there, and how far they reach.

A load begins with a clone of the published table, which shares its parts, and adds the rows that have changed. A reader with
FINAL sees the row of the newest run for each key. Deleted rows are not seen by a cursor: reconcile.py finds them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.errors import TerminalError, WarehouseRefusedError
from warehouse.quoting import quote

from elt.mapping import LOADED_COLUMN, RUN_COLUMN, TableMapping
from elt.pipeline.names import publisher_table, raw
from elt.runs.modes.base import Base, find_published, joined
from elt.sources.base import Cursor, Followed, Instants, TableReader

WHOLE_FROM_SHARE = 0.6
"""Share of a table's rows from which an incremental load costs more than a full copy: 0.48 to 0.53 of rows that are published already,
0.53 to 0.69 of new ones (`benchmarks/run.sh copy --only share`, tables of 1M and 5M rows)."""
SMALL_ROWS = 100_000
"""Below this either is done within a moment, and a table would change its mode again and again for nothing."""

_NO_DEDUPLICATION = {"optimize_on_insert": 0, "insert_deduplicate": 0}


@dataclass(frozen=True)
class Start:
    """Start of a load: a base to go on from, or None for a whole copy, and a sentence where a person should know why."""

    base: Base | None
    note: str = ""
    watermark: str = ""
    """How far the rows before this load are complete, by choice of a whole copy too; empty where nobody can tell."""


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


class Incremental:
    reads = True

    def __init__(self, warehouse: Warehouse, reader: TableReader, run: ops.Run, target: str) -> None:
        """Raises TerminalError where the table has no cursor that could be followed."""
        if not isinstance(reader, Followed):
            raise TerminalError(f"{reader.mapping.name} cannot be followed by a cursor; take mode full in pipeline.yml")
        self._warehouse, self._reader, self._mapping = warehouse, reader, reader.mapping
        self._origin = reader.origin()
        self._instants = reader.instants(records.now(), run.horizon)
        start = Start(None)
        if not run.full_refresh:
            start = take_the_cheaper(reader, find_start(warehouse, target, reader, self._instants))
        self._start = start
        self._arrived = Arrived(0, None, 0)
        self._into = ""
        self.base = start.base
        self.condition = None if start.base is None else reader.changed(start.base.watermark, start.base.attached)
        self.name = "full" if start.base is None else "incremental"

    def table_for_rows(self, loading: str) -> str:
        return loading if self.base is None else changes_table(loading)

    def arrived(self, loading: str) -> int:
        self._into = self.table_for_rows(loading)
        # Merge the arrived rows into the clone, which belongs to this attempt, while they are counted.
        with ThreadPoolExecutor(1) as pool:
            merged = pool.submit(merge, self._warehouse, self._mapping, loading) if self.base else None
            self._arrived = count_changes(
                self._warehouse, self._mapping, self._reader.cursor, self._into, self.base, self._instants
            )
        if merged is not None:
            merged.result()
        return self._arrived.rows

    def table_to_verify(self, loading: str) -> str:
        return loading

    def complete(self, event: ops.Load) -> ops.Load:
        self._check_key()
        rows = self._arrived.rows
        if self.base is not None:
            rows = self.base.rows + rows - self._arrived.known
        return replace(
            event,
            rows_present=rows,
            watermark=watermark(self._reader.cursor, self._arrived, self._start, self._instants),
            shape=self._mapping.fingerprint,
            origin=self._origin,
            note=joined(
                self._start.note,
                future_note(self._mapping.name, self._reader.cursor, self._arrived, self._instants),
            ),
        )

    def _check_key(self) -> None:
        """Raises TerminalError where a key stands in more than one row."""
        mapping = self._mapping
        if mapping.key_is_proven:
            return
        found = duplicates(self._warehouse, mapping, self._into)
        if not found and self.condition is not None:
            # A new row may have the key of one that is not read again: only the source tells that from a changed row.
            found = self._reader.count_duplicates(self.condition)
        if found:
            raise TerminalError(
                f"{mapping.name} has {found} keys ({', '.join(mapping.key)}) that stand in more than one row; "
                "name columns with key: in pipeline.yml that tell rows apart, or take mode full"
            )


def find_start(warehouse: Warehouse, target: str, reader: Followed, instants: Instants) -> Start:
    """A table is loaded whole where it is not there as it was published, has another shape, key or origin, or no watermark that can be
    gone on from."""
    name = reader.mapping.name
    published = find_published(warehouse, target)
    if published is None:
        return Start(None)

    def whole(reason: str) -> Start:
        return Start(None, f"{name} is copied whole: {reason}")

    load = published.load
    found = reader.compare(load.origin)
    if found.reason:
        return whole(found.reason)
    if load.shape != reader.mapping.fingerprint:
        return whole("its columns, key, condition or partitions have changed since the run before")
    if published.problem:
        return whole(published.problem)
    if not load.watermark:
        return Start(None)
    mark = _parsed(reader.cursor, load.watermark)
    if isinstance(mark, datetime) and mark > instants.latest:
        return whole(f"its watermark {load.watermark} lies in the future, so that newer rows were not read")
    note = ""
    if found.detached:
        note = (
            f"{', '.join(found.detached)} is no partition of {name} any more; its rows stay in raw.{target} "
            "until python -m elt reconcile --deleted"
        )
    return Start(Base(target, published.rows, load.watermark, found.attached), note, load.watermark)


def take_the_cheaper(reader: Followed, start: Start) -> Start:
    """The start of a full copy in place of an incremental load that would cost more, with a note; else `start`.

    Both are right at the same instant; a full copy follows deletes besides. The source says about how many rows there are to read.
    """
    if start.base is None:
        return start
    whole = reader.estimate(None)
    if not costs_more(whole, whole):
        # Not even a load that reads every row: the source need not be asked for how many it reads.
        return start
    rows = _rows_to_read(reader, start.base, whole)
    if not costs_more(rows, whole):
        return start
    note = (
        f"{reader.mapping.name} is copied whole: by the planner's estimate an incremental load would read {min(rows / whole, 1):.0%} of "
        f"its rows, and from {WHOLE_FROM_SHARE:.0%} on a full copy costs less"
    )
    return Start(None, note, start.watermark)


def costs_more(rows: float, whole: float) -> bool:
    """Whether an incremental load of so many rows costs more than a full copy of the table with `whole` rows."""
    return whole >= SMALL_ROWS and rows > WHOLE_FROM_SHARE * whole


def _rows_to_read(reader: Followed, base: Base, whole: float) -> float:
    # The planner takes every row for one of an attached partition: it knows one value of tableoid in each.
    rows = reader.estimate(reader.changed(base.watermark, ()))
    if reader.mapping.estimated_rows:
        # Rows that came after the last ANALYZE, or with a partition, are not in the statistics of the cursor. But the planner counts
        # them by the size of the table: what is beyond the published rows is to be read.
        rows = max(rows, whole - base.rows)
    return rows


def changes_table(loading: str) -> str:
    """Where the changed rows go first, beside the clone that they will join."""
    return publisher_table(loading, "c")


def count_changes(
    warehouse: Warehouse, mapping: TableMapping, column: Cursor, table: str, base: Base | None, instants: Instants
) -> Arrived:
    """Counts the rows that a load has brought into `table`; with a base also how much of it takes the place of published rows."""
    key = mapping.key_to_compare
    cursor = quote(column.name)
    known = "0"
    if base is not None:
        first = quote(mapping.key[0])
        arrived = f"SELECT {key} FROM {raw(table)}"
        if mapping.key[0] not in mapping.floats:
            # What lies beyond all that is published, as most new rows do, need not be looked for. The greatest is known of each part.
            arrived += f" WHERE {first} <= (SELECT max({first}) FROM {raw(base.target)})"
        known = f"(SELECT uniqExact({key}) FROM {raw(base.target)} WHERE ({key}) IN ({arrived}))"
    plausible = "1"
    if column.kind == "date":
        plausible = f"{cursor} <= toDate32('{instants.latest:%Y-%m-%d}')"
    elif column.kind != "number":
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


def watermark(column: Cursor, arrived: Arrived, start: Start, instants: Instants) -> str:
    """How far the rows that have arrived, and those before them, are complete; empty where nobody can tell.

    Never later than the horizon: a transaction that was open at the run's instant may yet commit rows from then on.
    """
    horizon = instants.horizon
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
    if column.kind == "instant":
        return str(min(mark, horizon.astimezone(UTC).replace(tzinfo=None)))
    # The clock may be of another zone than is said: so it is held back by the age of the oldest transaction, too.
    age = instants.now - horizon
    mark -= min(max(age, timedelta(0)), mark - datetime.min)
    return str(mark if instants.wall is None else min(mark, instants.wall))


def future_note(name: str, column: Cursor, arrived: Arrived, instants: Instants) -> str:
    """A sentence on rows from the future; empty where there are none."""
    if not arrived.future:
        return ""
    return (
        f"{arrived.future:,} rows of {name} have {column.name} later than {instants.latest:%Y-%m-%d %H:%M} UTC, which no clock shows now; "
        "every run reads them, and they move no watermark: correct them at the source"
    )


def _parsed(column: Cursor, text: str) -> datetime | Decimal:
    if column.kind == "number":
        return Decimal(text)
    if len(text) == len("2026-01-01"):
        return datetime.combine(date.fromisoformat(text), datetime.min.time())
    return datetime.fromisoformat(text)
