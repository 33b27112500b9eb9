"""One instant for all loads of a run: a transaction that is held open, and whose snapshot the loads read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.errors import PipelineError, TerminalError, TransientError, WarehouseUnavailableError
from warehouse.leases import HEARTBEAT_SECONDS, Lease, LeaseLostError

from elt.pipeline.file import TableEntry
from elt.pipeline.names import TableName
from elt.publishing.keeping import keep_published
from elt.settings import Settings
from elt.sources.postgres.catalogue import Kind, find_kind
from elt.sources.postgres.horizon import read_horizon
from elt.sources.postgres.session import Source

MAX_AGE_SECONDS = 6 * 3600.0
"""How long a snapshot is held at most: it keeps the source from cleaning up dead rows and from altering the tables."""

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class HeldSnapshot:
    snapshot: str
    run: int
    expires_at: datetime
    horizon: datetime | None = None


@contextmanager
def held_snapshot(
    settings: Settings,
    warehouse: Warehouse,
    run: ops.Run,
    found: Sequence[TableEntry],
    max_age_seconds: float = MAX_AGE_SECONDS,
) -> Iterator[tuple[HeldSnapshot, Source, list[ops.Load]]]:
    """Holds a snapshot of the tables in the body, and says so in ops.runs, where each load of the run finds it.

    Yields it with the session that holds it, and with the tables that could not be locked and keep what is published.
    """
    with Source(settings, f"elt snapshot {run.run_key}") as source:
        # Before the snapshot: a transaction that is open at the snapshot was open here already, or begins after this.
        horizon = read_horizon(source)
        failed = _lock_what_can_be(source, found)
        name = source.export_snapshot()
        held = HeldSnapshot(name, run.run, records.now() + timedelta(seconds=max_age_seconds), horizon)
        locked = replace(run, snapshot=name, horizon=horizon)
        records.append(warehouse, [locked])
        yield held, source, [keep_published(settings, warehouse, locked, entry, error, 0) for entry, error in failed]


def hold(
    settings: Settings,
    *,
    run: int,
    entries: Sequence[TableEntry],
    ready: Callable[[HeldSnapshot], None],
    finished: Callable[[], bool],
    lease: Lease | None = None,
    max_age_seconds: float = MAX_AGE_SECONDS,
) -> None:
    """Holds a snapshot for the loads of other processes until `finished`, asked every second, says so.

    `ready` is called once when it can be read. Raises TerminalError when it is held too long, when the source ends its session, and
    when another process has taken over the `lease`: the loads that have not begun then fail, and the whole run must start over.
    """
    with (
        Warehouse(settings.warehouse) as warehouse,
        held_snapshot(settings, warehouse, ops.find_run(warehouse, run), entries, max_age_seconds) as (held, source, _),
    ):
        ready(held)
        checked = time.monotonic()
        while not finished():
            if records.now() >= held.expires_at:
                raise TerminalError(
                    f"Run {run} held its snapshot for {max_age_seconds:.0f} s and its loads had not ended; "
                    "start the whole run again with fewer tables, or when the source is less busy"
                )
            time.sleep(_POLL_SECONDS)
            try:
                source.rows("SELECT 1")
            except TransientError:
                raise TerminalError(
                    f"The source ended the session that held the snapshot of run {run}; nothing was published, start the whole run again"
                ) from None
            if lease is not None and time.monotonic() - checked >= HEARTBEAT_SECONDS:
                checked = time.monotonic()
                _check(lease, run)


def _check(lease: Lease, run: int) -> None:
    """A warehouse that is away takes no lease from anybody."""
    try:
        with suppress(WarehouseUnavailableError):
            lease.check()
    except LeaseLostError as error:
        raise TerminalError(f"Run {run} cannot go on, nothing was published: {error}") from None


def _lock_what_can_be(source: Source, found: Sequence[TableEntry]) -> list[tuple[TableEntry, PipelineError]]:
    """Begins the transaction with every table locked; returns those of `on_error: keep` that cannot be, with the reason.

    Raises the PipelineError of any other table.
    """
    try:
        source.begin(kinds(source, found))
        return []
    except PipelineError:
        source.execute("ROLLBACK")
        failed = [
            (entry, error) for entry in found if entry.on_error == "keep" and (error := _lock_problem(source, entry))
        ]
        if not failed:
            raise
    source.begin(kinds(source, [entry for entry in found if all(entry is not one for one, _ in failed)]))
    return failed


def _lock_problem(source: Source, entry: TableEntry) -> PipelineError | None:
    try:
        source.begin(kinds(source, [entry]))
    except PipelineError as error:
        return error
    finally:
        # Raises where it is the session that failed, and not the table.
        source.execute("ROLLBACK")
    return None


def kinds(source: Source, found: Sequence[TableEntry]) -> list[tuple[TableName, Kind]]:
    """The kind of each table, which decides how it is locked. Raises SourceRefusedError when one is missing."""
    return [(entry.name, find_kind(source, entry.name)[1]) for entry in found]
