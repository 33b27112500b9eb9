"""The journal of swaps, `ops.dbt_publishes`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from warehouse import records
from warehouse.client import Warehouse
from warehouse.swap import swap_all

from webhook.publishing.names import PLACE
from webhook.publishing.relations import drop


@dataclass(frozen=True)
class Entry:
    """That `analytics.<target>`, which was `old_uuid`, shall be `new_uuid`. `status`: open, done, abandoned or set_aside."""

    TABLE: ClassVar[str] = "ops.dbt_publishes"

    run_id: str
    attempt: int
    target: str
    status: str
    old_uuid: UUID
    new_uuid: UUID
    rows: int | None
    opened_at: datetime
    closed_at: datetime | None = None
    error: str = ""
    version: int = 0
    """Of the row that was read: what is written next takes a higher one."""


class JournalError(Exception):
    """The journal is not in ClickHouse as it was written."""


def open_journal(writer: Warehouse, entries: Sequence[Entry]) -> None:
    """Writes all entries of an attempt in one insert. Raises JournalError if they are not there afterwards.

    `writer` is a client of user `webhook`.
    """
    records.append(writer, entries)
    attempts = {(entry.run_id, entry.attempt) for entry in entries}
    found = {entry.new_uuid for entry in open_entries(writer) if (entry.run_id, entry.attempt) in attempts}
    if found != {entry.new_uuid for entry in entries}:
        raise JournalError(f"{Entry.TABLE} does not hold what was written to it")


def open_entries(warehouse: Warehouse) -> list[Entry]:
    """Publishes that were interrupted before their last swap was on record."""
    return records.read(warehouse, Entry, "status = 'open' ORDER BY opened_at, target")


def roll_forward(warehouse: Warehouse, writer: Warehouse, entries: Sequence[Entry]) -> list[Entry]:
    """Does every swap of an attempt that is not done, and closes its journal through `writer`. Returns it closed.

    An entry is abandoned only where somebody else has replaced the published table meanwhile. Raises WarehouseError or
    TransientError with the journal still open; the next call goes on where this one stopped.
    """
    swapped = swap_all(warehouse, PLACE, entries)
    # Dropped before the journal is closed: nothing late may find what was given up, or was published before.
    drop(warehouse, sorted({*swapped.given_up, *swapped.replaced}))
    now = records.now()
    closed = [
        replace(entry, status="done" if entry.target in swapped.done else "abandoned", closed_at=now)
        for entry in entries
    ]
    records.append(writer, closed)
    return closed
