"""The rows of one load on their way: one stream, or several that each read a range of the table's blocks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass

from elt import statements
from elt.errors import EltError, SourceUnavailableError
from elt.pump import CopyStream, Tick
from elt.source import CopySession, Source
from elt.statements import Shape
from elt.warehouse import Warehouse


@dataclass(frozen=True)
class Copied:
    sent: int
    """Rows that Postgres says it sent."""
    written: int
    """Rows that ClickHouse says it wrote."""
    bytes: int


def copy_rows(
    warehouse: Warehouse,
    source: Source,
    shape: Shape,
    into: str,
    condition: str | None,
    tick: Tick,
) -> Copied:
    """Copies the rows that meet `condition` as the transaction of `source` sees them into the table `into` (quoted).

    A table of `ranges:` is read by so many sessions at once, all at the same instant; the rows of an incremental load are few,
    and read by one. Raises the EltError of the side that failed first.
    """
    parts = _ranges(source, shape) if condition is None else [condition]
    if len(parts) == 1:
        # While one writes a block the other takes the next, so that Postgres does not have to wait.
        return _copy_one(warehouse, source.copying, shape, into, parts[0], tick, writers=2)
    progress = [(0, 0)] * len(parts)

    def tick_of(number: int) -> Tick:
        def ticked(rows: int, size: int) -> None:
            progress[number] = rows, size
            if number == 0:
                tick(sum(rows for rows, _ in progress), sum(size for _, size in progress))

        return ticked

    snapshot = source.export_snapshot()
    opened = _Opened([source.copying])

    def copy_range(number: int) -> Copied:
        """The first begins at once, with the sessions that are there, while the others open theirs."""
        if number == 0:
            return _copy_one(warehouse, source.copying, shape, into, parts[0], tick_of(0), writers=1)
        name, kind = shape.table.name, shape.table.kind
        with source.copy_session(f"elt range {number + 1} {name}", [(name, kind)], snapshot) as session:
            opened.add(session)
            return _copy_one(warehouse, session, shape, into, parts[number], tick_of(number), writers=1)

    with ThreadPoolExecutor(len(parts), thread_name_prefix="range") as pool:
        futures = [pool.submit(copy_range, number) for number in range(len(parts))]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = next((future for future in done if future.exception() is not None), None)
            if failed is not None:
                failed.result()
        finally:
            if not all(future.done() for future in futures):
                opened.cancel()
    copied = [future.result() for future in futures]
    return Copied(sum(c.sent for c in copied), sum(c.written for c in copied), sum(c.bytes for c in copied))


class _Opened:
    """The sessions of several threads, so that each can be stopped by another, also one that is opened after that."""

    def __init__(self, sessions: list[CopySession]) -> None:
        self._lock = threading.Lock()
        self._sessions = sessions
        self._cancelled = False

    def add(self, session: CopySession) -> None:
        """Raises SourceUnavailableError when all have been stopped."""
        with self._lock:
            self._sessions.append(session)
            if self._cancelled:
                raise SourceUnavailableError("The copy was stopped, since another range of the table failed; run again")

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            for session in self._sessions:
                session.cancel()


def _ranges(source: Source, shape: Shape) -> Sequence[str | None]:
    if shape.entry.ranges == 1 or shape.table.kind not in ("table", "partitioned table"):
        return [None]
    # Of a partitioned table, or one with children, the largest part decides.
    blocks = source.rows(
        "SELECT coalesce(max(pg_relation_size(t)), 0) / current_setting('block_size')::int FROM ("
        " SELECT %s::oid AS t UNION ALL SELECT relid FROM pg_partition_tree(%s::oid)"
        " UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = %s::oid) AS parts",
        (shape.table.oid,) * 3,
    )[0][0]
    return statements.ranges(int(blocks), shape.entry.ranges)


def _copy_one(
    warehouse: Warehouse,
    session: CopySession,
    shape: Shape,
    into: str,
    condition: str | None,
    tick: Tick,
    *,
    writers: int,
) -> Copied:
    stream = CopyStream(session, statements.select(shape, condition), tick)
    try:
        written = warehouse.insert_text(into, shape.wire, stream.chunks(), writers)
    except EltError as error:
        # An insert that is broken off because the copy failed tells of the connection, the copy tells why.
        raise (stream.error if isinstance(stream.error, EltError) else error) from None
    return Copied(stream.sent.rows, written, stream.sent.bytes)
