"""Lists and drops relations of `analytics`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from warehouse.client import Warehouse
from warehouse.errors import WarehouseError
from warehouse.swap import NO_UUID

from webhook.publishing.names import DATABASE, MARK, PLACE


@dataclass(frozen=True)
class Relation:
    """A table or view. `rows` is None for a view."""

    name: str
    uuid: UUID
    engine: str
    rows: int | None


def relations(warehouse: Warehouse) -> dict[str, Relation]:
    """Returns all tables and views by name."""
    tables = warehouse.rows(
        "SELECT name, toString(uuid), engine, total_rows FROM system.tables WHERE database = {database:String}",
        {"database": DATABASE},
    )
    return {name: Relation(name, UUID(uuid), engine, rows) for name, uuid, engine, rows in tables}


def holder(uuid: UUID, existing: Mapping[str, Relation]) -> str | None:
    """Returns the present name of the relation with that UUID; None if it is gone."""
    return next((name for name, relation in existing.items() if relation.uuid == uuid != NO_UUID), None)


def drop(warehouse: Warehouse, names: Sequence[str]) -> None:
    """Drops those of the tables and views that exist. Queries that read them run to their end."""
    if not names:
        return
    try:
        warehouse.command(f"DROP TABLE IF EXISTS {', '.join(map(PLACE.quoted, names))}")
    except WarehouseError as error:
        if error.code is None or len(names) == 1:
            raise
        # One statement each: a failing drop must not keep the rest, and not every server accepts several.
        for name in names:
            drop(warehouse, [name])


def drop_unpublished(warehouse: Warehouse) -> list[str]:
    """Drops what builds and publishes leftovers; call it when no journal is open. Returns the names."""
    leftovers = sorted(name for name in relations(warehouse) if MARK in name)
    drop(warehouse, leftovers)
    return leftovers
