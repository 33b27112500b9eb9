"""The journal of swaps, `ops.dbt_publishes`. It names tables by UUID, which moves with a table that is renamed or
exchanged, so that anybody can tell later which swaps are done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from webhook.queue.database import now
from webhook.warehouse import Warehouse

_TABLE = "ops.dbt_publishes"
_HIGHEST_VERSION = 2**64 - 1


@dataclass(frozen=True)
class Entry:
    """That `analytics.<target>`, which was `old_uuid`, shall be `new_uuid`."""

    run_id: str
    attempt: int
    target: str
    status: Literal["open", "done", "abandoned", "set_aside"]
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


def open_journal(records: Warehouse, entries: Sequence[Entry]) -> None:
    """Writes all entries of an attempt in one insert. Raises JournalError if they are not there afterwards.

    `records` is a client of user `webhook`, the only writer.
    """
    write(records, entries)
    attempts = {(entry.run_id, entry.attempt) for entry in entries}
    found = {entry.new_uuid for entry in open_entries(records) if (entry.run_id, entry.attempt) in attempts}
    if found != {entry.new_uuid for entry in entries}:
        raise JournalError(f"{_TABLE} does not hold what was written to it")


def write(records: Warehouse, entries: Iterable[Entry]) -> None:
    records.write(_TABLE, [_event(entry) for entry in entries])


def open_entries(warehouse: Warehouse) -> list[Entry]:
    """Publishes that were cut before their last swap was on record."""
    found = warehouse.rows(
        "SELECT run_id, attempt, target, status, toString(old_uuid), toString(new_uuid), rows, opened_at, closed_at,"
        " error, version"
        f" FROM {_TABLE} FINAL WHERE status = 'open' ORDER BY opened_at, target"
    )
    return [_entry(row) for row in found]


def _entry(row: tuple[Any, ...]) -> Entry:
    run_id, attempt, target, status, old_uuid, new_uuid, *rest = row
    return Entry(run_id, attempt, target, status, UUID(old_uuid), UUID(new_uuid), *rest)


def _event(entry: Entry) -> dict[str, Any]:
    return {
        "run_id": entry.run_id,
        "attempt": entry.attempt,
        "target": entry.target,
        "status": entry.status,
        "old_uuid": str(entry.old_uuid),
        "new_uuid": str(entry.new_uuid),
        "rows": entry.rows,
        "opened_at": _text(entry.opened_at),
        "closed_at": None if entry.closed_at is None else _text(entry.closed_at),
        "error": entry.error,
        # ClickHouse keeps the row of the highest version, and of equal ones the last.
        "version": max(now(), min(entry.version + 1, _HIGHEST_VERSION)),
    }


def _text(instant: datetime) -> str:
    if instant.tzinfo is not None:
        instant = instant.astimezone(UTC)
    return f"{instant:%Y-%m-%d %H:%M:%S.%f}"
