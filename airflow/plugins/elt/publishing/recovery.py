"""Cleans up after earlier runs: publishes that were cut are finished, dead runs closed, leftovers dropped."""

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
"""A run of the scheduler's holds no lock between its tasks; one that writes no event for so long is dead."""


@dataclass(frozen=True)
class Recovered:
    """The work of a recovery, for a person to read."""

    published: tuple[str, ...] = ()
    closed_runs: tuple[int, ...] = ()
    dropped: tuple[str, ...] = ()
    set_aside: tuple[str, ...] = ()
    """A sentence for each row of the journal that did not fit what is there."""

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
    """Under the run lock: rolls open journals forward, closes dead runs, drops the loading tables of final runs.

    `own_run` is the caller's, which is alive. Safe to call at any time, and to be cut anywhere.
    """
    found = _sort_out(warehouse)
    finished = []
    if found.publishes:
        publish.await_turn(warehouse, found.publishes, lock, wait_seconds=wait_seconds, tell=tell)
        finished = publish.roll_forward(warehouse, found.publishes)
    closed = _close_dead_runs(warehouse, own_run)
    dropped = sweep(warehouse)
    return Recovered(
        tuple(entry.target for entry in finished if entry.status == "done"),
        tuple(closed),
        tuple(dropped),
        tuple(map(misfits.describe, found.set_aside)),
    )


def _sort_out(warehouse: Warehouse) -> misfits.SortedJournal:
    """The open journal, after rows that do not fit what is there were reported and set aside."""
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
            # It was cut after its last swap: everything it wanted is in place.
            publish.close_run(warehouse, run.run, journal)
        elif run.run != own_run and _is_dead(warehouse, run):
            error = "The run was cut before it published; nothing was changed, run again"
            ops.write(warehouse, [replace(run, status="failed", ended_at=ops.now(), error=error)])
        else:
            continue
        closed.append(run.run)
    return closed


def _is_dead(warehouse: Warehouse, run: ops.Run) -> bool:
    # A run by hand holds the lock from begin to end, and now it is ours.
    if run.run_key.startswith(CLI_PREFIX):
        return True
    return ops.now() - ops.last_sign(warehouse, run.run) > SILENT_AFTER


def sweep(warehouse: Warehouse) -> list[str]:
    """Drops the loading tables of final runs; returns their names. Call it only while holding the run lock."""
    alive = {run.run for run in ops.running(warehouse)} | {entry.run for entry in ops.open_publishes(warehouse)}
    leftovers = [
        name
        for name in publish.uuids(warehouse)
        if (run := run_of_loading_table(name)) is not None and run not in alive
    ]
    for name in leftovers:
        warehouse.drop(raw(name))
    return leftovers
