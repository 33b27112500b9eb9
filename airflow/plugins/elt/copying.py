"""The rows of one load on their way: one stream, or several that each read a range of the table's blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from elt import statements
from elt.errors import EltError
from elt.pump import CopyStream, Tick
from elt.settings import Settings
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
    settings: Settings,
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

    with _sessions(settings, warehouse, source, shape, len(parts)) as sessions:
        with ThreadPoolExecutor(len(parts), thread_name_prefix="range") as pool:
            futures = [
                pool.submit(_copy_one, client, session, shape, into, part, tick_of(number), writers=1)
                for number, (part, (client, session)) in enumerate(zip(parts, sessions, strict=True))
            ]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                failed = next((future for future in done if future.exception() is not None), None)
                if failed is not None:
                    failed.result()
            finally:
                for future, (_, session) in zip(futures, sessions, strict=True):
                    if not future.done():
                        session.cancel()
        copied = [future.result() for future in futures]
    return Copied(sum(c.sent for c in copied), sum(c.written for c in copied), sum(c.bytes for c in copied))


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


@contextmanager
def _sessions(
    settings: Settings, warehouse: Warehouse, source: Source, shape: Shape, count: int
) -> Iterator[list[tuple[Warehouse, CopySession]]]:
    """The given pair and others like it, in transactions that see the same instant."""
    snapshot = source.export_snapshot()
    name = shape.table.name
    with ExitStack() as stack:
        sessions = [(warehouse, source.copying)]
        for number in range(2, count + 1):
            other = source.copy_session(f"elt range {number} {name}", [(name, shape.table.kind)], snapshot)
            sessions.append((stack.enter_context(Warehouse(settings)), stack.enter_context(other)))
        yield sessions


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
