"""What there is in `analytics`, and dropping it."""

from dataclasses import dataclass
from uuid import UUID

from webhook.publishing.names import DATABASE, MARK, quoted
from webhook.warehouse import Warehouse

NO_UUID = UUID(int=0)


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


def drop(warehouse: Warehouse, name: str) -> None:
    """Drop a table or view, if it is there. Queries that read it go on to their end."""
    warehouse.command(f"DROP TABLE IF EXISTS {quoted(name)}")


def drop_unpublished(warehouse: Warehouse) -> list[str]:
    """Drop what builds and publishes have left; call it when no journal is open. Returns the names."""
    left = sorted(name for name in relations(warehouse) if MARK in name)
    for name in left:
        drop(warehouse, name)
    return left
