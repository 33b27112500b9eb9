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
from webhook.publishing.relations import NO_UUID, Relation, drop, holder, relations
from webhook.warehouse import Warehouse, WarehouseError

_ATTEMPTS = 5
# ClickHouse's codes for a name that somebody else has renamed, swapped or made in between: look again.
_OVERTAKEN = (57, 60)


def roll_forward(warehouse: Warehouse, records: Warehouse, entries: Sequence[Entry]) -> list[Entry]:
    """Does every swap of an attempt that is not done, and closes its journal through `records`. Returns it closed.

    An entry is abandoned only where somebody else has replaced the published table meanwhile. Raises WarehouseError
    with the journal still open; the next call goes on where this one stopped.
    """
    for attempt in range(_ATTEMPTS):
        there = relations(warehouse)
        waiting = [entry for entry in entries if _is_waiting(entry, there)]
        if not waiting:
            break
        _swap(warehouse, waiting, there, together=attempt == 0)
    else:
        there = relations(warehouse)
    closed = [_closed(entry, there) for entry in entries]
    holders = {(entry.target, holder(uuid, there)) for entry in closed for uuid in (entry.new_uuid, entry.old_uuid)}
    # Gone before the journal says so: nothing late may find what was given up, or was published once.
    drop(warehouse, sorted(name for target, name in holders if name is not None and name != target))
    journal.write(records, closed)
    return closed


def _swap(warehouse: Warehouse, waiting: Sequence[Entry], there: dict[str, Relation], *, together: bool) -> None:
    own: dict[str, str] = {}
    renames = []
    for entry in waiting:
        name = holder(entry.new_uuid, there)
        if name is not None:
            own[entry.target] = own_name(entry.target)
            renames.append(f"{quoted(name)} TO {quoted(own[entry.target])}")
    _command(warehouse, "RENAME TABLE", renames, together=together)
    there = relations(warehouse)
    exchanges, firsts = [], []
    for entry in waiting:
        name = own.get(entry.target, "")
        if _uuid(name, there) != entry.new_uuid or _uuid(entry.target, there) != entry.old_uuid:
            continue
        if entry.old_uuid == NO_UUID:
            firsts.append(f"{quoted(name)} TO {quoted(entry.target)}")
        else:
            exchanges.append(f"{quoted(name)} AND {quoted(entry.target)}")
    # One after the other and nothing in between: who reads two marts in one query sees both old or both new, but for
    # these milliseconds.
    _command(warehouse, "EXCHANGE TABLES", exchanges, together=together)
    _command(warehouse, "RENAME TABLE", firsts, together=together)


def _is_waiting(entry: Entry, there: dict[str, Relation]) -> bool:
    return _uuid(entry.target, there) == entry.old_uuid and holder(entry.new_uuid, there) is not None


def _closed(entry: Entry, there: dict[str, Relation]) -> Entry:
    done = _uuid(entry.target, there) == entry.new_uuid
    return replace(entry, status="done" if done else "abandoned", closed_at=datetime.now(UTC))


def _uuid(name: str, there: dict[str, Relation]) -> UUID:
    return there[name].uuid if name in there else NO_UUID


def _command(warehouse: Warehouse, verb: str, pairs: Sequence[str], *, together: bool) -> None:
    """Runs the verb for the pairs; `together`: in one statement, of which the server may do all, the first few or none.

    A Replicated database refuses several, and one that fails keeps the rest from being done. Whoever calls looks again.
    """
    for pair in [", ".join(pairs)] if together and pairs else pairs:
        try:
            warehouse.command(f"{verb} {pair}")
        except WarehouseError as error:
            if error.code is None or not (together or error.code in _OVERTAKEN):
                raise
