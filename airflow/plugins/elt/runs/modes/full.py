"""Mode full: every row is read. A table that the source knows to be unchanged is not read again; it is published as it is."""

from __future__ import annotations

from dataclasses import replace

from warehouse import ops
from warehouse.client import Warehouse

from elt.pipeline.names import raw
from elt.runs.modes.base import Base, find_published, joined
from elt.sources.base import TableReader, Versioned

VERSIONED = "versioned"


class Full:
    condition: str | None = None

    def __init__(self, warehouse: Warehouse, reader: TableReader, run: ops.Run, target: str) -> None:
        self._warehouse = warehouse
        self._version = self._note = ""
        self._rows = 0
        self.base: Base | None = None
        if isinstance(reader, Versioned):
            self._version = reader.version()
            published = find_published(warehouse, target)
            if published is not None and published.load.origin:
                self._note = reader.changes_since(published.load.origin)
                is_same = published.load.origin == self._version and not published.problem and not run.full_refresh
                # Somebody may have deleted rows in `raw`.
                if is_same and warehouse.count(raw(target)) == published.rows:
                    self.base = Base(target, published.rows)
        self.reads = self.base is None
        self.name = "full" if self.reads else "unchanged"

    def table_for_rows(self, loading: str) -> str:
        return loading

    def arrived(self, loading: str) -> int:
        self._rows = self._warehouse.count(raw(loading))
        return self._rows if self.reads else self._rows - (self.base.rows if self.base else 0)

    def table_to_verify(self, loading: str) -> str:
        return loading

    def complete(self, event: ops.Load) -> ops.Load:
        if not self._version:
            return replace(event, rows_present=self._rows)
        return replace(
            event,
            rows_present=self._rows,
            origin=self._version,
            # The version says more, and is known without a look at the rows.
            shape=VERSIONED,
            note=joined(event.note, self._note),
        )
