"""One instant for all loads of a run: it is held, and the loads of this process or of others read it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.errors import TerminalError, TransientError, WarehouseUnavailableError
from warehouse.leases import HEARTBEAT_SECONDS, Lease, LeaseLostError

from elt.pipeline.options import TableEntry
from elt.publishing.keeping import keep_published
from elt.settings import Settings
from elt.sources.base import Daily, Held, Source

MAX_AGE_SECONDS = 6 * 3600.0
"""How long a snapshot is held at most: it keeps the source from cleaning up dead rows and from altering the tables."""

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class HeldSnapshot:
    snapshot: str
    run: int
    expires_at: datetime
    horizon: datetime | None = None


def hold_source(
    source: Source, run: ops.Run, entries: Sequence[TableEntry], tell: Callable[[str], None] = lambda _: None
) -> AbstractContextManager[Held]:
    """Holds an instant of the source for this run: what it has now, or the run's day."""
    if isinstance(source, Daily):
        return source.hold_day(entries, run.run, date.fromisoformat(run.day), whole=run.full_refresh, tell=tell)
    return source.hold(entries, run.run_key)


@contextmanager
def held_snapshot(
    settings: Settings,
    warehouse: Warehouse,
    source: Source,
    run: ops.Run,
    entries: Sequence[TableEntry],
    max_age_seconds: float = MAX_AGE_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[HeldSnapshot, Held, list[ops.Load]]]:
    """Holds an instant of the tables in the body, and says so in ops.runs, where each load of the run finds it.

    Yields it with its holder, and with the tables that could not be held and keep what is published.
    """
    with hold_source(source, run, entries, tell) as holder:
        expires = records.now() + timedelta(seconds=max_age_seconds)
        held = HeldSnapshot(holder.instant, run.run, expires, holder.horizon)
        locked = replace(run, snapshot=holder.instant, horizon=holder.horizon)
        records.append(warehouse, [locked])
        kept = [keep_published(settings, warehouse, locked, entry, error, 0) for entry, error in holder.refused]
        yield held, holder, kept


def hold(
    warehouse: Warehouse,
    source: Source,
    *,
    settings: Settings,
    run: ops.Run,
    entries: Sequence[TableEntry],
    ready: Callable[[HeldSnapshot], None],
    finished: Callable[[], bool],
    lease: Lease | None = None,
    max_age_seconds: float = MAX_AGE_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Holds an instant for the loads of other processes until `finished`, asked every second, says so.

    `ready` is called once when it can be read. Raises TerminalError when it is held too long, when the source lets it go, and
    when another process has taken over the `lease`: the loads that have not begun then fail, and the whole run must start over.
    """
    with held_snapshot(settings, warehouse, source, run, entries, max_age_seconds, tell) as (held, holder, _):
        ready(held)
        checked = time.monotonic()
        while not finished():
            if records.now() >= held.expires_at:
                raise TerminalError(
                    f"Run {run.run} held its snapshot for {max_age_seconds:.0f} s and its loads had not ended; "
                    "start the whole run again with fewer tables, or when the source is less busy"
                )
            time.sleep(_POLL_SECONDS)
            try:
                holder.check()
            except TransientError:
                raise TerminalError(
                    f"The source ended the session that held the snapshot of run {run.run}; nothing was published, start the whole run again"
                ) from None
            if lease is not None and time.monotonic() - checked >= HEARTBEAT_SECONDS:
                checked = time.monotonic()
                _check(lease, run.run)


def _check(lease: Lease, run: int) -> None:
    """A warehouse that is away takes no lease from anybody."""
    try:
        with suppress(WarehouseUnavailableError):
            lease.check()
    except LeaseLostError as error:
        raise TerminalError(f"Run {run} cannot go on, nothing was published: {error}") from None
