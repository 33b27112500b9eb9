"""Puts new tables in the place of published ones, whenever it is cut.

A journal names both tables by UUID, which moves with a table that is renamed or exchanged, so that anybody can tell later
which swaps are done. EXCHANGE is its own inverse: a publisher that wakes up late must not be able to repeat one. So each
publisher first renames the new table to a name with a mark that nobody else knows. Whoever renamed last is the only one
whose EXCHANGE finds a table, and a swap is done only where the old UUID is still published.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from warehouse.client import Warehouse
from warehouse.errors import TABLE_EXISTS, UNKNOWN_TABLE, TransientError, WarehouseError
from warehouse.quoting import qualified

NO_UUID = UUID(int=0)
_ATTEMPTS = 5
# Somebody else has renamed, swapped or made the name in between: look again.
_OVERTAKEN = (TABLE_EXISTS, UNKNOWN_TABLE)


class Swap(Protocol):
    """That `target`, which was `old_uuid` (NO_UUID: not there), shall be `new_uuid`."""

    @property
    def target(self) -> str: ...
    @property
    def old_uuid(self) -> UUID: ...
    @property
    def new_uuid(self) -> UUID: ...


@dataclass(frozen=True)
class Place:
    """A database in which tables are published by swaps."""

    database: str
    is_unpublished: Callable[[str], bool]
    """Whether a name is one of a table that waits to be published, or was published once."""
    marked: Callable[[str, str], str]
    """A name for the table that has this name now, with this mark (hex digits) in place of an earlier one."""

    def tables(self, warehouse: Warehouse) -> dict[str, UUID]:
        """Tables and views by name."""
        found = warehouse.rows(
            "SELECT name, toString(uuid) FROM system.tables WHERE database = {database:String}",
            {"database": self.database},
        )
        return {str(name): UUID(str(uuid)) for name, uuid in found}

    def quoted(self, name: str) -> str:
        return qualified(self.database, name)

    def holder(self, uuid: UUID, tables: Mapping[str, UUID]) -> str | None:
        """The unpublished name under which the table of that UUID stands now; None where there is none."""
        named = (name for name, one in tables.items() if one == uuid != NO_UUID)
        return next((name for name in named if self.is_unpublished(name)), None)


@dataclass(frozen=True)
class Swapped:
    """Targets that are the new table, and names of tables that wait to be dropped."""

    done: frozenset[str]
    given_up: tuple[str, ...]
    """New tables whose target somebody else has replaced: drop them before the journal is closed, so that a late publisher
    finds nothing to swap."""
    replaced: tuple[str, ...]
    """Tables that were published before."""


def swap_all(
    warehouse: Warehouse, place: Place, swaps: Sequence[Swap], tables: Mapping[str, UUID] | None = None
) -> Swapped:
    """Does every swap that is not done, each target once. `tables` are those that the journal was written by, where the caller has them.

    Raises WarehouseError, or TransientError where another publisher stays in the way; call it again then.
    """
    for attempt in range(_ATTEMPTS):
        seen = place.tables(warehouse) if tables is None or attempt else tables
        waiting = [swap for swap in swaps if _is_waiting(place, swap, seen)]
        if not waiting:
            break
        _swap(warehouse, place, waiting, seen, together=attempt == 0)
    else:
        seen = place.tables(warehouse)
        if overtaken := [swap.target for swap in swaps if _is_waiting(place, swap, seen)]:
            raise TransientError(
                f"{place.database}.{', '.join(overtaken)} is being published by somebody else at this moment; run again"
            )
    done = frozenset(swap.target for swap in swaps if seen.get(swap.target) == swap.new_uuid)
    given_up = [place.holder(swap.new_uuid, seen) for swap in swaps if swap.target not in done]
    replaced = [place.holder(swap.old_uuid, seen) for swap in swaps if swap.target in done]
    return Swapped(done, tuple(filter(None, given_up)), tuple(filter(None, replaced)))


def _is_waiting(place: Place, swap: Swap, tables: Mapping[str, UUID]) -> bool:
    return tables.get(swap.target, NO_UUID) == swap.old_uuid and place.holder(swap.new_uuid, tables) is not None


def _swap(
    warehouse: Warehouse, place: Place, waiting: Sequence[Swap], tables: Mapping[str, UUID], *, together: bool
) -> None:
    own: dict[str, str] = {}
    renames = []
    for swap in waiting:
        holder = place.holder(swap.new_uuid, tables)
        if holder is not None:
            own[swap.target] = place.marked(holder, secrets.token_hex(4))
            renames.append(f"{place.quoted(holder)} TO {place.quoted(own[swap.target])}")
    _command(warehouse, "RENAME TABLE", renames, together=together)
    seen = place.tables(warehouse)
    exchanges, firsts = [], []
    for swap in waiting:
        name = own.get(swap.target, "")
        if seen.get(name) != swap.new_uuid or seen.get(swap.target, NO_UUID) != swap.old_uuid:
            continue
        if swap.old_uuid == NO_UUID:
            firsts.append(f"{place.quoted(name)} TO {place.quoted(swap.target)}")
        else:
            exchanges.append(f"{place.quoted(name)} AND {place.quoted(swap.target)}")
    # One after the other and nothing in between: a query of two tables reads both old or both new, but for these milliseconds.
    _command(warehouse, "EXCHANGE TABLES", exchanges, together=together)
    _command(warehouse, "RENAME TABLE", firsts, together=together)


def _command(warehouse: Warehouse, verb: str, pairs: Sequence[str], *, together: bool) -> None:
    """Does what the pairs say; `together`: in one statement, of which the server may do all, the first few or none.

    A Replicated database refuses several, and one that fails keeps the rest from being done. The caller looks again.
    """
    for pair in [", ".join(pairs)] if together and pairs else pairs:
        try:
            warehouse.command(f"{verb} {pair}")
        except WarehouseError as error:
            if error.code is None or not (together or error.code in _OVERTAKEN):
                raise
