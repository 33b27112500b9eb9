"""Cleans up after earlier runs: completes interrupted publishes, closes dead runs, drops leftovers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from elt.destination import ops
from elt.destination.warehouse import Warehouse
from elt.pipeline.names import raw, run_of_loading_table
from elt.publishing import misfits, publish
from elt.publishing.lock import RunLock
from elt.publishing.turns import WAIT_SECONDS

CLI_PREFIX = "cli/"
_log = logging.getLogger(__name__)
SILENT_AFTER = timedelta(hours=1)
"""A scheduled run holds no lock between its tasks; without an event for this long it counts as dead."""


@dataclass(frozen=True)
class Recovered:
    """The result of a recovery, for people."""

    published: tuple[str, ...] = ()
    closed_runs: tuple[int, ...] = ()
    dropped: tuple[str, ...] = ()
    set_aside: tuple[str, ...] = ()
    """A sentence for each row of the journal that was set aside."""

    @property
    def nothing(self) -> bool:
        return not (self.published or self.closed_runs or self.dropped or self.set_aside)


def recover(
    warehouse: Warehouse,
    lock: RunLock,
    *,
    own_run: int | None = None,
    wait_seconds: float = WAIT_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> Recovered:
    """Rolls open journals forward, closes dead runs, and drops the loading tables of final runs, under the run lock.

    `own_run` is the caller's living run. Safe to call at any time, and safe to interrupt anywhere.
    """
    sorted_journal = _sort_out(warehouse)
    finished = []
    if sorted_journal.publishes:
        publish.await_turn(warehouse, sorted_journal.publishes, lock, wait_seconds=wait_seconds, tell=tell)
        finished = publish.roll_forward(warehouse, sorted_journal.publishes)
    closed = _close_dead_runs(warehouse, own_run)
    dropped = _sweep(warehouse)
    return Recovered(
        tuple(entry.target for entry in finished if entry.status == "done"),
        tuple(closed),
        tuple(dropped),
        tuple(map(misfits.describe, sorted_journal.set_aside)),
    )


def _sort_out(warehouse: Warehouse) -> misfits.SortedJournal:
    """Reports and sets aside rows that do not fit; returns the rest of the open journal."""
    journal = ops.open_publishes(warehouse)
    if not journal:
        return misfits.SortedJournal((), ())
    found = misfits.sort_out(warehouse, journal)
    for entry in found.set_aside:
        _log.error("%s", misfits.describe(entry))
    ops.write(warehouse, found.set_aside)
    return found


def _close_dead_runs(warehouse: Warehouse, own_run: int | None) -> list[int]:
    closed = []
    for run in ops.running(warehouse):
        journal = ops.publishes(warehouse, run.run)
        if journal and all(entry.status == "done" for entry in journal):
            # The run was interrupted after its last swap: all its tables are published.
            publish.close_run(warehouse, run.run, journal)
        elif run.run != own_run and _is_dead(warehouse, run):
            error = "The run was cut before it published; nothing was changed, run again"
            ops.write(warehouse, [replace(run, status="failed", ended_at=ops.now(), error=error)])
        else:
            continue
        closed.append(run.run)
    return closed


def _is_dead(warehouse: Warehouse, run: ops.Run) -> bool:
    # A manual run holds the lock from begin to end, and now we hold it.
    if run.run_key.startswith(CLI_PREFIX):
        return True
    return ops.now() - ops.last_sign(warehouse, run.run) > SILENT_AFTER


def _sweep(warehouse: Warehouse) -> list[str]:
    alive = {run.run for run in ops.running(warehouse)} | {entry.run for entry in ops.open_publishes(warehouse)}
    leftovers = [
        name
        for name in publish.uuids(warehouse)
        if (run := run_of_loading_table(name)) is not None and run not in alive
    ]
    for name in leftovers:
        warehouse.drop(raw(name))
    return leftovers
