"""Cleans up after earlier runs: completes interrupted publishes, closes dead runs, drops leftovers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType

from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.leases import LeaseTakenError
from warehouse.turns import WAIT_SECONDS

from elt.pipeline.names import raw, run_of_loading_table
from elt.publishing import misfits, publish
from elt.publishing.leases import publishing_lease, run_lease_is_free

CLI_PREFIX = "cli/"
_log = logging.getLogger(__name__)
SILENT_AFTER = timedelta(hours=1)
"""A scheduled run holds no lease between its tasks; without an event for this long it counts as dead."""


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
    source_name: str,
    *,
    holder: str,
    own_run: int | None = None,
    adopts: Callable[[str], bool] = lambda _: False,
    dead: Mapping[int, str] = MappingProxyType({}),
    wait_seconds: float = WAIT_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> Recovered:
    """Rolls open journals forward, closes dead runs of the source, and drops what its final runs left, under the lease of the source.

    `own_run` is the caller's living run. `adopts` says of the name of another source that its runs are this one's, unless somebody holds
    its lease: that of a source that pipeline.yml does not have any more. `dead` are runs that the caller knows to be dead, each with its error for ops.runs. The
    journals of all sources are rolled forward, under the lease for publishing. Safe to call at any time, and safe to interrupt anywhere.
    """
    sorted_journal, finished = misfits.SortedJournal((), ()), []
    if journal := ops.open_publishes(warehouse):
        is_own = any(entry.source_name in ("", source_name) for entry in journal)
        try:
            with publishing_lease(
                warehouse, holder=holder, wait_seconds=wait_seconds if is_own else 0, tell=tell
            ) as lease:
                sorted_journal = _sort_out(warehouse)
                if sorted_journal.publishes:
                    publish.await_turn(
                        warehouse, sorted_journal.publishes, [lease], wait_seconds=wait_seconds, tell=tell
                    )
                    finished = publish.roll_forward(warehouse, sorted_journal.publishes)
        except LeaseTakenError:
            # Another source publishes at this moment.
            if is_own:
                raise
    owns = _ownership(warehouse, source_name, adopts)
    closed = _close_dead_runs(warehouse, owns, own_run, dead)
    dropped = _sweep(warehouse, owns)
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
    records.append(warehouse, found.set_aside)
    return found


def _ownership(warehouse: Warehouse, source_name: str, adopts: Callable[[str], bool]) -> Callable[[ops.Run], bool]:
    """Whether a run is the source's to close and to clear up."""
    adopted: dict[str, bool] = {}

    def owns(run: ops.Run) -> bool:
        name = run.source_name
        # Runs from before there were several sources have no name.
        if name in ("", source_name):
            return True
        if name not in adopted:
            adopted[name] = adopts(name) and run_lease_is_free(warehouse, name)
        return adopted[name]

    return owns


def close_unpublished(warehouse: Warehouse, run: int, error: str) -> bool:
    """Ends a dead run as failed while another run holds the lease of its source; returns whether it did.

    Leaves a run alone that is final, or has begun to publish. Its tables stay until the next sweep.
    """
    found = ops.find_run(warehouse, run)
    if found.status != "running" or ops.publishes(warehouse, run):
        return False
    _fail(warehouse, found, error)
    return True


def _fail(warehouse: Warehouse, run: ops.Run, error: str) -> None:
    records.append(warehouse, [replace(run, status="failed", ended_at=records.now(), error=error)])


def _close_dead_runs(
    warehouse: Warehouse, owns: Callable[[ops.Run], bool], own_run: int | None, dead: Mapping[int, str]
) -> list[int]:
    closed = []
    for run in ops.running(warehouse):
        if not owns(run):
            continue
        journal = ops.publishes(warehouse, run.run)
        if journal and all(entry.status == "done" for entry in journal):
            # The run was interrupted after its last swap: all its tables are published.
            publish.close_run(warehouse, run.run, journal)
        elif run.run in dead:
            _fail(warehouse, run, dead[run.run])
        elif run.run != own_run and _is_dead(warehouse, run):
            _fail(warehouse, run, "The run was cut before it published; nothing was changed, run again")
        else:
            continue
        closed.append(run.run)
    return closed


def _is_dead(warehouse: Warehouse, run: ops.Run) -> bool:
    # A manual run holds the lease from begin to end, and now we hold it.
    if run.run_key.startswith(CLI_PREFIX):
        return True
    return records.now() - ops.last_sign(warehouse, run.run) > SILENT_AFTER


def sweep(warehouse: Warehouse, source_name: str) -> list[str]:
    """Drops the loading tables of the source's final runs; returns their names. Call it only while holding the source's lease."""
    return _sweep(warehouse, _ownership(warehouse, source_name, lambda _: False))


def _sweep(warehouse: Warehouse, owns: Callable[[ops.Run], bool]) -> list[str]:
    # Tables first: one that is made after this list was read is not in it, and its run is not taken for a dead one.
    loading = {name: run for name in publish.uuids(warehouse) if (run := run_of_loading_table(name)) is not None}
    runs = ops.known_runs(warehouse, loading.values())
    alive = {run.run for run in ops.running(warehouse)} | {entry.run for entry in ops.open_publishes(warehouse)}
    leftovers = [name for name, run in loading.items() if run not in alive and (run not in runs or owns(runs[run]))]
    for name in leftovers:
        warehouse.drop(raw(name))
    return leftovers
