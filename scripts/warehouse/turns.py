"""Keeps dbt from reading raw while the loader swaps its tables.

Each side first writes its own row to `ops` and then reads the other's, so that of two that start together at least one sees
the other. The loader waits for dbt; dbt's run goes back to the queue while a publish is open.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from warehouse.client import Warehouse
from warehouse.errors import TransientError

FRESH_SECONDS = 60
"""A dbt run whose heartbeat is older is dead and waited for no longer."""

WAIT_SECONDS = 30 * 60.0
_POLL_SECONDS = 1.0


def running_dbt(warehouse: Warehouse) -> list[str]:
    """Ids of the dbt runs that are at work now."""
    found = warehouse.rows(
        "SELECT id FROM ops.dbt_runs FINAL WHERE status = 'running'"
        " AND heartbeat_at > now64(6) - toIntervalSecond({fresh:UInt32}) ORDER BY id",
        {"fresh": FRESH_SECONDS},
    )
    return [str(row[0]) for row in found]


def wait_for_dbt(
    warehouse: Warehouse, *, seconds: float, while_waiting: Callable[[], None], tell: Callable[[str], None]
) -> None:
    """Returns when no dbt run is at work. Raises TransientError, which names the run, after `seconds`.

    `while_waiting` is called about once a second; `tell` gets a sentence for each run that is waited for.
    """
    deadline = time.monotonic() + seconds
    told: set[str] = set()
    while found := running_dbt(warehouse):
        if found[0] not in told:
            told.add(found[0])
            tell(
                f"waiting for dbt run {found[0]} to end, for {max(deadline - time.monotonic(), 0) / 60:.0f} min at most"
            )
        if time.monotonic() >= deadline:
            raise TransientError(
                f"dbt run {found[0]} has been at work for all of the {seconds:.0f} s that the publish waited; "
                "nothing was published, run again when it has ended or cancel it at the webhook"
            )
        time.sleep(_POLL_SECONDS)
        while_waiting()


@dataclass(frozen=True)
class OpenPublish:
    """A publish of raw tables that has not been closed."""

    run: int
    tables: tuple[str, ...]
    seconds_since_heartbeat: float


def open_publishes(warehouse: Warehouse) -> list[OpenPublish]:
    found = warehouse.rows(
        "SELECT run, groupArray(target), dateDiff('second', max(heartbeat_at), now64(6)) FROM ops.publishes FINAL"
        " WHERE status = 'open' GROUP BY run ORDER BY run"
    )
    return [OpenPublish(int(run), tuple(targets), float(seconds)) for run, targets, seconds in found]
