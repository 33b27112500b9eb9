"""State of the loader from its events: the last runs and the published tables."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.turns import running_dbt

from elt.settings import Settings

_TOLD_FOR = timedelta(days=7)


@dataclass(frozen=True)
class TableStatus:
    target: str
    rows: int
    published_at: datetime
    run: int


@dataclass(frozen=True)
class Status:
    runs: tuple[ops.Run, ...]
    """Newest first."""
    tables: tuple[TableStatus, ...]
    absences: tuple[ops.Absence, ...]
    """Tables that are not copied any more, and tables whose copy was dropped."""
    open_publishes: tuple[ops.Publish, ...]
    set_aside: tuple[ops.Publish, ...]
    """Rows of the journal that were set aside in the last week."""
    dbt_runs: tuple[str, ...]


def read_status(settings: Settings, *, runs: int = 10) -> Status:
    """Raises PipelineError when the warehouse does not answer or has not been set up."""
    with Warehouse(settings.warehouse) as warehouse:
        ops.check_tables(warehouse)
        there = ops.published_runs(warehouse)
        return Status(
            tuple(ops.recent_runs(warehouse, runs)),
            tuple(
                TableStatus(done.target, done.rows, done.closed_at or done.opened_at, done.run)
                for done in ops.latest_publishes(warehouse)
                if done.target in there
            ),
            tuple(one for one in ops.absences(warehouse) if one.status != "over"),
            tuple(ops.open_publishes(warehouse)),
            tuple(ops.set_aside_publishes(warehouse, records.now() - _TOLD_FOR)),
            tuple(running_dbt(warehouse)),
        )
