"""Reads the rows that failed a test, which dbt stores in tables `failed__<test>`, for people to see."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from warehouse.client import Warehouse

from webhook.publishing.names import DATABASE, FAILED, PLACE
from webhook.publishing.relations import Relation, relations

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


def failing_tables(existing: Mapping[str, Relation]) -> dict[str, UUID]:
    """Returns the tables of failing rows among `existing`, with their UUIDs."""
    return {name: relation.uuid for name, relation in existing.items() if name.startswith(FAILED)}


def failing_rows(warehouse: Warehouse, *, before: dict[str, UUID]) -> list[FailingRows]:
    """Returns the first rows of each table of failing rows that is not in `before`."""
    now = failing_tables(relations(warehouse))
    return [_first_rows(warehouse, name) for name in sorted(now) if before.get(name) != now[name]]


def _first_rows(warehouse: Warehouse, table: str) -> FailingRows:
    [(count,)] = warehouse.rows(f"SELECT count() FROM {PLACE.quoted(table)}")
    rows = warehouse.rows(f"SELECT formatRowNoNewline('JSONEachRow', *) FROM {PLACE.quoted(table)} LIMIT {_SHOWN}")
    return FailingRows(table, int(count), tuple(_short(row[0]) for row in rows))


def _short(row: str) -> str:
    """Returns a row without empty values and without the loader's instants, shortened to one line."""
    kept = {name: value for name, value in json.loads(row).items() if value is not None and name != "loaded_at"}
    text = json.dumps(kept, ensure_ascii=False)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 2] + " …"
