"""Putting what was built in the place of what is published, whenever it is cut.

EXCHANGE is its own inverse: a swap that arrives late, from a worker that was killed, must not be able to undo one. So what
is to be published is first renamed to a name with a mark that nobody else knows. Whoever renamed last is the only one
whose EXCHANGE finds anything, and a swap is done only where the old UUID is still published.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from webhook.publishing import journal
from webhook.publishing.journal import Entry
from webhook.publishing.names import own_name, quoted
from webhook.publishing.relations import NO_UUID, Relation, drop, relations
from webhook.warehouse import Warehouse, WarehouseError

_ATTEMPTS = 5
# ClickHouse's codes for a name that somebody else has renamed, swapped or made in between: look again.
_OVERTAKEN = (57, 60)


def roll_forward(warehouse: Warehouse, entries: Sequence[Entry]) -> list[Entry]:
    """Do every swap that is not done, and close the journal. Returns it closed.

    An entry is abandoned only where somebody else has replaced the published table meanwhile. Raises WarehouseError
    with the journal still open; the next call goes on where this one stopped.
    """
    for _ in range(_ATTEMPTS):
        there = relations(warehouse)
        waiting = [entry for entry in entries if _is_waiting(entry, there)]
        if not waiting:
            break
        _swap(warehouse, waiting)
    there = relations(warehouse)
    closed = [_closed(entry, there) for entry in entries]
    for entry in closed:
        # Gone before the journal says so: nothing late may find what was given up, or was published once.
        for uuid in (entry.new_uuid, entry.old_uuid):
            holder = _holder(uuid, there)
            if holder is not None and holder != entry.target:
                drop(warehouse, holder)
    journal.write(warehouse, closed)
    return closed


def _swap(warehouse: Warehouse, waiting: Sequence[Entry]) -> None:
    there = relations(warehouse)
    own: dict[str, str] = {}
    for entry in waiting:
        holder = _holder(entry.new_uuid, there)
        if holder is not None:
            own[entry.target] = own_name(entry.target)
            _rename(warehouse, holder, own[entry.target])
    there = relations(warehouse)
    # One after the other and nothing in between: who reads two marts in one query sees both old or both new, but for
    # these milliseconds.
    for entry in waiting:
        name = own.get(entry.target, "")
        if _uuid(name, there) != entry.new_uuid or _uuid(entry.target, there) != entry.old_uuid:
            continue
        if entry.old_uuid == NO_UUID:
            _rename(warehouse, name, entry.target)
        else:
            _command(warehouse, f"EXCHANGE TABLES {quoted(name)} AND {quoted(entry.target)}")


def _is_waiting(entry: Entry, there: dict[str, Relation]) -> bool:
    return _uuid(entry.target, there) == entry.old_uuid and _holder(entry.new_uuid, there) is not None


def _closed(entry: Entry, there: dict[str, Relation]) -> Entry:
    done = _uuid(entry.target, there) == entry.new_uuid
    return replace(entry, status="done" if done else "abandoned", closed_at=datetime.now(UTC))


def _uuid(name: str, there: dict[str, Relation]) -> UUID:
    return there[name].uuid if name in there else NO_UUID


def _holder(uuid: UUID, there: dict[str, Relation]) -> str | None:
    return next((name for name, relation in there.items() if relation.uuid == uuid != NO_UUID), None)


def _rename(warehouse: Warehouse, name: str, to: str) -> None:
    _command(warehouse, f"RENAME TABLE {quoted(name)} TO {quoted(to)}")


def _command(warehouse: Warehouse, sql: str) -> None:
    try:
        warehouse.command(sql)
    except WarehouseError as error:
        if error.code not in _OVERTAKEN:
            raise
