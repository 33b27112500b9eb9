"""The rows of one load on their way: one stream, or several that each read a range of the table's blocks."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass

from warehouse.client import Warehouse
from warehouse.errors import PipelineError

from elt.destination import statements
from elt.destination.inserts import insert_text
from elt.destination.statements import TableMapping
from elt.errors import SourceUnavailableError
from elt.pipeline.file import TableEntry
from elt.sources.postgres.pump import CopyStream, Tick
from elt.sources.postgres.session import CopySession, Source

PROCESSORS_OF_A_STREAM = 2
"""Processors that one stream keeps busy where source and warehouse share its machine: Postgres one, warehouse and loader the other.

A second session has nothing to run on there (benchmarks/README.md), and costs the source its cache: Postgres reads a range of
blocks through all of its buffers, and a whole table through a few.
"""


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
    mapping: TableMapping,
    into: str,
    condition: str | None,
    tick: Tick,
) -> Copied:
    """Copies the rows that meet `condition` as the transaction of `source` sees them into the table `into` (quoted).

    A table of `ranges:` is read by several `sessions` at once, all at the same instant; the rows of an incremental load are few,
    and read by one. Raises the PipelineError of the side that failed first.
    """
    count = 1 if condition is not None else sessions(mapping.entry, (source.host, warehouse.host))
    parts = [condition] if count == 1 else _ranges(source, mapping, count)
    if len(parts) == 1:
        # Of a block each partition makes a part, so that small blocks would make very many.
        few = condition is not None and not mapping.entry.partition_by
        # While one writes a block the other takes the next, so that Postgres does not have to wait.
        return _copy_one(warehouse, source.copying, mapping, into, parts[0], tick, writers=2, few=few)
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
            return _copy_one(warehouse, source.copying, mapping, into, parts[0], tick_of(0), writers=1)
        name, kind = mapping.table.name, mapping.table.kind
        with source.copy_session(f"elt range {number + 1} {name}", [(name, kind)], snapshot) as session:
            opened.add(session)
            return _copy_one(warehouse, session, mapping, into, parts[number], tick_of(number), writers=1)

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


def sessions(entry: TableEntry, hosts: Iterable[str]) -> int:
    """How many sessions read the table at once: those of `ranges:`, but one where a second would find no processor to run on.

    `hosts` are those of the source and of the warehouse.
    """
    # Names are looked up last, and not for the tables without ranges, which are most.
    if entry.ranges > 1 and processors() <= PROCESSORS_OF_A_STREAM and all(map(_is_here, hosts)):
        return 1
    return entry.ranges


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_here(host: str) -> bool:
    """Whether the host is this machine: a folder of sockets, or an address that nobody else answers at."""
    if not host or host[0] in "/@":
        return True
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return all(ipaddress.ip_address(address[4][0]).is_loopback for address in found)


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


def _ranges(source: Source, mapping: TableMapping, count: int) -> Sequence[str | None]:
    if mapping.table.kind not in ("table", "partitioned table"):
        return [None]
    # Of a partitioned table, or one with children, the largest part decides.
    blocks = source.rows(
        "SELECT coalesce(max(pg_relation_size(t)), 0) / current_setting('block_size')::int FROM ("
        " SELECT %s::oid AS t UNION ALL SELECT relid FROM pg_partition_tree(%s::oid)"
        " UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = %s::oid) AS parts",
        (mapping.table.oid,) * 3,
    )[0][0]
    return statements.ranges(int(blocks), count)


def _copy_one(
    warehouse: Warehouse,
    session: CopySession,
    mapping: TableMapping,
    into: str,
    condition: str | None,
    tick: Tick,
    *,
    writers: int,
    few: bool = False,
) -> Copied:
    stream = CopyStream(session, statements.select(mapping, condition), tick)
    try:
        written = insert_text(warehouse, into, mapping.wire, stream.chunks(), writers=writers, few=few)
    except PipelineError as error:
        # An insert that is broken off because the copy failed tells of the connection, the copy tells why.
        raise (stream.error if isinstance(stream.error, PipelineError) else error) from None
    return Copied(stream.sent.rows, written, stream.sent.bytes)
