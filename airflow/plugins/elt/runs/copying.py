"""The rows of one load on their way: one stream, or several that each read a range of the table."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass

from warehouse.client import Warehouse
from warehouse.errors import PipelineError

from elt.destination.inserts import insert_stream
from elt.errors import SourceUnavailableError
from elt.sources.base import Ranged, RangeReader, TableReader, Tick


@dataclass(frozen=True)
class Copied:
    sent: int
    """Rows that the source says it sent."""
    written: int
    """Rows that ClickHouse says it wrote."""
    bytes: int


def copy_rows(warehouse: Warehouse, reader: TableReader, into: str, condition: str | None, tick: Tick) -> Copied:
    """Copies the rows that meet `condition`, as the reader's instant has them, into the table `into` (quoted).

    A table of ranges is read by several sessions at once, all at the same instant; the rows of an incremental load are few,
    and read by one. Raises the PipelineError of the side that failed first.
    """
    parts = reader.ranges(warehouse.host) if condition is None and isinstance(reader, Ranged) else [condition]
    if len(parts) == 1 or not isinstance(reader, Ranged):
        # Of a block each partition makes a part, so that small blocks would make very many.
        few = condition is not None and not reader.mapping.entry.partition_by
        # While one writes a block the other takes the next, so that the source does not have to wait.
        return _copy_one(warehouse, reader, into, parts[0], tick, writers=2, few=few)
    progress = [(0, 0)] * len(parts)

    def tick_of(number: int) -> Tick:
        def ticked(rows: int, size: int) -> None:
            progress[number] = rows, size
            if number == 0:
                tick(sum(rows for rows, _ in progress), sum(size for _, size in progress))

        return ticked

    opened = _Opened([reader])

    def copy_range(number: int) -> Copied:
        """The first begins at once, with the session that is there, while the others open theirs."""
        if number == 0:
            return _copy_one(warehouse, reader, into, parts[0], tick_of(0), writers=1)
        with reader.beside(number) as other:
            opened.add(other)
            return _copy_one(warehouse, other, into, parts[number], tick_of(number), writers=1)

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
    """The readers of several threads, so that each can be stopped by another, also one that is opened after that."""

    def __init__(self, readers: list[RangeReader]) -> None:
        self._lock = threading.Lock()
        self._readers = readers
        self._cancelled = False

    def add(self, reader: RangeReader) -> None:
        """Raises SourceUnavailableError when all have been stopped."""
        with self._lock:
            self._readers.append(reader)
            if self._cancelled:
                raise SourceUnavailableError("The copy was stopped, since another range of the table failed; run again")

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            for reader in self._readers:
                reader.cancel()


def _copy_one(
    warehouse: Warehouse,
    reader: TableReader,
    into: str,
    condition: str | None,
    tick: Tick,
    *,
    writers: int,
    few: bool = False,
) -> Copied:
    stream = reader.read(condition, tick)
    try:
        written = insert_stream(warehouse, into, stream, writers=writers, few=few)
    except PipelineError as error:
        # An insert that is broken off because the copy failed tells of the connection, the copy tells why.
        raise (stream.error if isinstance(stream.error, PipelineError) else error) from None
    return Copied(stream.sent.rows, written, stream.sent.bytes)
