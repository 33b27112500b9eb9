"""Rows that failed a test: dbt stores them in tables `failed__<test>`, and a person is told what they are."""

import json
from dataclasses import dataclass
from uuid import UUID

from webhook.publishing.names import DATABASE, FAILED, quoted
from webhook.publishing.relations import drop, relations
from webhook.warehouse import Warehouse

_SHOWN = 5
_WIDTH = 300


@dataclass(frozen=True)
class FailingRows:
    """The first rows of a table of failing rows, as JSON."""

    table: str
    count: int
    first: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.count} in {DATABASE}.{self.table}: {', '.join(self.first)}"


def failing_tables(warehouse: Warehouse) -> dict[str, UUID]:
    """Tables of failing rows that there are."""
    return {name: found.uuid for name, found in relations(warehouse).items() if name.startswith(FAILED)}


def forget(warehouse: Warehouse) -> None:
    """Drop them all: a whole build tests everything anew."""
    for name in failing_tables(warehouse):
        drop(warehouse, name)


def failing_rows(warehouse: Warehouse, *, before: dict[str, UUID]) -> list[FailingRows]:
    """What is stored now and was not in `before`."""
    new = {name for name, uuid in failing_tables(warehouse).items() if before.get(name) != uuid}
    return [_first_rows(warehouse, name) for name in sorted(new)]


def _first_rows(warehouse: Warehouse, table: str) -> FailingRows:
    [(count,)] = warehouse.rows(f"SELECT count() FROM {quoted(table)}")
    rows = warehouse.rows(f"SELECT formatRowNoNewline('JSONEachRow', *) FROM {quoted(table)} LIMIT {_SHOWN}")
    return FailingRows(table, int(count), tuple(_short(row[0]) for row in rows))


def _short(row: str) -> str:
    """A row without what is empty, and without the instants of the loader, within a line."""
    kept = {name: value for name, value in json.loads(row).items() if value is not None and name != "loaded_at"}
    text = json.dumps(kept, ensure_ascii=False)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 2] + " …"
