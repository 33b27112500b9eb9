"""Mode by_day: the rows of one day take the place of that day's rows in a clone of the published table, which shares all other days."""

from __future__ import annotations

from dataclasses import replace

from warehouse import ops
from warehouse.client import Warehouse
from warehouse.errors import TerminalError
from warehouse.quoting import literal
from warehouse.swap import NO_UUID

from elt.pipeline.names import raw
from elt.publishing.publish import uuids
from elt.runs.modes.base import Base, find_published
from elt.runs.modes.incremental import changes_table, merge
from elt.sources.base import Divided, TableReader


class ByDay:
    name = "by_day"
    condition: str | None = None
    reads = True

    def __init__(self, warehouse: Warehouse, reader: TableReader, run: ops.Run, target: str) -> None:
        """Raises TerminalError where the published table is not as the loader left it: its other days would be lost, or wrong."""
        if not isinstance(reader, Divided):
            raise TerminalError(f"{reader.mapping.name} is not read by the day; take mode full in pipeline.yml")
        self._warehouse, self._mapping, self._day = warehouse, reader.mapping, reader.partition
        self._rows = 0
        self._present = uuids(warehouse).get(target, NO_UUID)
        self.base: Base | None = None
        published = find_published(warehouse, target) if self._day is not None else None
        if published is not None:
            problem = published.problem
            if not problem and published.load.shape != reader.mapping.fingerprint:
                problem = f"raw.{target} has other columns, or is divided in another way"
            if problem:
                raise TerminalError(
                    f"{problem}, so that its other days cannot be kept; load every day that the lake has: python -m elt load {target} --full-refresh"
                )
            self.base = Base(target, published.rows)

    def table_for_rows(self, loading: str) -> str:
        return loading if self.base is None else changes_table(loading)

    def table_to_verify(self, loading: str) -> str:
        # Its parts are those of the day in the clone.
        return self.table_for_rows(loading)

    def arrived(self, loading: str) -> int:
        """Puts the day into the clone, in place of what that has of it."""
        if self.base is None:
            self._rows = self._warehouse.count(raw(loading))
            return self._rows
        self._warehouse.command(f"ALTER TABLE {raw(loading)} DROP PARTITION {literal(self._day or '')}")
        merge(self._warehouse, self._mapping, loading)
        self._rows = self._warehouse.count(raw(loading))
        return self._warehouse.count(raw(loading), f"{self._mapping.entry.partition_by} = {literal(self._day or '')}")

    def complete(self, event: ops.Load) -> ops.Load:
        return replace(event, rows_present=self._rows, shape=self._mapping.fingerprint, base_uuid=self._present)
