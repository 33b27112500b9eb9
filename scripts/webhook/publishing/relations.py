"""Lists and drops relations of `analytics`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from warehouse.client import Warehouse
from warehouse.errors import WarehouseError
from warehouse.swap import NO_UUID

from webhook.publishing.names import DATABASE, MARK, quoted


@dataclass(frozen=True)
class Relation:
    """A table or view. `rows` is None for a view."""

    name: str
    uuid: UUID
    engine: str
    rows: int | None


def relations(warehouse: Warehouse) -> dict[str, Relation]:
    """All tables and views by name."""
    found = warehouse.rows(
        "SELECT name, toString(uuid), engine, total_rows FROM system.tables WHERE database = {database:String}",
        {"database": DATABASE},
    )
    return {name: Relation(name, UUID(uuid), engine, rows) for name, uuid, engine, rows in found}


def holder(uuid: UUID, there: Mapping[str, Relation]) -> str | None:
    """The name under which the relation of that UUID stands now; None where it is gone."""
    return next((name for name, relation in there.items() if relation.uuid == uuid != NO_UUID), None)


def drop(warehouse: Warehouse, names: Sequence[str]) -> None:
    """Drop those tables and views that are there. Queries that read them go on to their end."""
    if not names:
        return
    try:
        warehouse.command(f"DROP TABLE IF EXISTS {', '.join(map(quoted, names))}")
    except WarehouseError as error:
        if error.code is None or len(names) == 1:
            raise
        # One that cannot be dropped must not keep the rest, and not every server takes several.
        for name in names:
            drop(warehouse, [name])


def drop_unpublished(warehouse: Warehouse) -> list[str]:
    """Drop what builds and publishes have left; call it when no journal is open. Returns the names."""
    left = sorted(name for name in relations(warehouse) if MARK in name)
    drop(warehouse, left)
    return left
