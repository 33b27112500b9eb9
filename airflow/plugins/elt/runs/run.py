"""The steps of a run, as the DAG calls them: begin, load each table, publish, or fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import date

from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.errors import PipelineError, TerminalError, TransientError
from warehouse.leases import Lease
from warehouse.turns import WAIT_SECONDS

from elt.errors import NotInRunError
from elt.pipeline.options import TableEntry
from elt.planning.plan import read_plan
from elt.planning.selection import choose, select_tables
from elt.publishing import publish as publishing
from elt.publishing import recovery
from elt.publishing.keeping import KEPT, keep_published, on_error
from elt.publishing.leases import publishing_lease, run_lease
from elt.runs import gone, load, snapshot
from elt.runs.place import Place, adopts, entry_of, place_of
from elt.runs.progress import LoadResult, Progress, PublishedTable, PublishResult
from elt.settings import Settings
from elt.sources.base import Daily
from elt.sources.registry import read_pipeline


def begin(
    settings: Settings,
    *,
    run_key: str,
    tables: Sequence[str] | None,
    full_refresh: bool,
    source: str | None = None,
    day: date | None = None,
    warn: Callable[[str], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> int:
    """Begins a run of `source`, the main one without, and returns its id; for a run_key whose run is not final, returns that run's.

    First finishes what earlier runs left: rolls cut publishes forward, closes dead runs, drops their leftovers.
    `tables` are names in `raw` or in the source; None or empty means all of the plan file that pipeline.yml still has,
    since those are the tables that the DAG has tasks for, and all of pipeline.yml where there is no plan. `day` is what a run of a source
    that is read by the day brings, today (UTC) without. `warn` gets the note of the run, `tell` a sentence for whatever is waited for. Raises TerminalError when the warehouse
    has not been set up or a table is unknown, LeaseTakenError when another run is at work.
    """
    place = place_of(settings, source)
    with Warehouse(settings.warehouse) as warehouse:
        ops.check_tables(warehouse)
        with run_lease(warehouse, place.name, holder=f"{run_key}, beginning", tell=tell):
            wanted = tables or _still_planned(place)
            run = begin_leased(
                place, warehouse, run_key=run_key, tables=wanted, full_refresh=full_refresh, day=day, tell=tell
            )
            if run.note:
                warn(run.note)
            return run.run


def begin_leased(
    place: Place,
    warehouse: Warehouse,
    *,
    run_key: str,
    tables: Sequence[str] | None,
    full_refresh: bool,
    day: date | None = None,
    tell: Callable[[str], None] = lambda _: None,
    drop_gone: bool = True,
) -> ops.Run:
    """As `begin`, for a caller that holds the lease of the source. Without `drop_gone` no copy of a table that is gone is dropped."""
    # A run by hand is never taken up again: what has its key is another process that had the same number.
    earlier = None if run_key.startswith(recovery.CLI_PREFIX) else ops.latest_run(warehouse, run_key)
    own = earlier.run if earlier and earlier.status == "running" else None
    recovery.recover(warehouse, place.name, holder=run_key, own_run=own, adopts=place.adopts, tell=tell)
    if own is not None and (found := ops.find_run(warehouse, own)).status == "running":
        # It starts over, at an instant of its own: what it has loaded from an earlier one no longer counts.
        found = replace(found, snapshot="", horizon=None)
        records.append(warehouse, [found])
        return found
    selection = select_tables(place.file, place.source)
    chosen = choose(selection.entries, tables, selection.left_out)
    number = records.microseconds()
    # Before the run's own start: it counts among the runs that went without the tables that it finds gone.
    note = gone.follow(warehouse, place.file, place.source, selection, number, drop=drop_gone)
    run = ops.Run(
        run=number,
        run_key=run_key,
        status="running",
        tables=tuple(entry.target_name for entry in chosen),
        full_refresh=full_refresh,
        snapshot="",
        started_at=records.now(),
        source=selection.identity,
        note=note,
        source_name=place.name,
        day=(day or records.now().date()).isoformat() if isinstance(place.source, Daily) else "",
    )
    records.append(warehouse, [run])
    return run


def hold_snapshot(
    settings: Settings,
    *,
    run: int,
    ready: Callable[[snapshot.HeldSnapshot], None],
    finished: Callable[[], bool],
    max_age_seconds: float = snapshot.MAX_AGE_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Holds the lease of the source, and one snapshot of all tables of the run, until `finished` says so: elt.runs.snapshot.hold.

    Raises LeaseTakenError when another run is at work, TerminalError when the snapshot is lost or held too long.
    """
    with Warehouse(settings.warehouse) as warehouse:
        found = _workable(warehouse, run)
        place = place_of(settings, found.source_name)
        chosen = choose(place.entries(), found.tables)
        with run_lease(warehouse, place.name, holder=f"{found.run_key}, loading", tell=tell) as lease:
            snapshot.hold(
                warehouse,
                place.source,
                settings=settings,
                run=found,
                entries=chosen,
                ready=ready,
                finished=finished,
                lease=lease,
                max_age_seconds=max_age_seconds,
                tell=tell,
            )


def load_table(
    settings: Settings,
    *,
    run: int,
    target: str,
    attempt: int,
    progress: Callable[[Progress], None] | None = None,
) -> LoadResult:
    """Loads one table of the run, verified, into a table that readers do not see.

    It reads the run's snapshot where one is held, else an instant of its own, which publish takes from a run of one table
    only. `attempt` counts from 1; a taken number is
    replaced by the next free one. `progress` is called about once a second. Raises NotInRunError for a table that the
    run does not copy, else TerminalError where a retry can only repeat it, TransientError where it may help.
    """
    with Warehouse(settings.warehouse) as warehouse:
        found = ops.find_run(warehouse, run)
        if target not in found.tables:
            raise NotInRunError(run, target, found.tables)
        found = _workable(warehouse, run)
        place = place_of(settings, found.source_name)
        (entry,) = choose(place.entries(), [target])
        _check_locked(warehouse, found, target)
        with ExitStack() as stack:
            if not found.snapshot:
                held = stack.enter_context(snapshot.hold_source(place.source, found, [entry]))
                found = replace(found, snapshot=held.instant, horizon=held.horizon)
            session = stack.enter_context(place.source.join([entry], f"{target} {found.run_key}", found.snapshot))
            event, end = load.load(
                settings,
                warehouse,
                session,
                run=found,
                entry=entry,
                attempt=attempt,
                on_progress=progress,
                verify=place.source.entry.verify,
            )
            end()
            return load.result(event)


def load_tables(
    settings: Settings,
    *,
    run: int,
    targets: Sequence[str],
    attempt: int,
    last_attempt: bool = True,
    progress: Callable[[Progress], None] | None = None,
) -> list[LoadResult]:
    """Loads those of the tables that the run copies and has not loaded yet from its snapshot, one after the other.

    Raises as load_table does, at the first that fails; a repetition goes on from there. A table of `on_error: keep` that was published before
    does not raise, except where a repetition may help and this is not the `last_attempt`: its result says why it is `kept`. NotInRunError when the
    run copies none of them.
    """
    with Warehouse(settings.warehouse) as warehouse:
        found = ops.find_run(warehouse, run)
        done = {
            load.target
            for load in ops.loads(warehouse, run)
            if load.status == "loaded" and found.snapshot and load.snapshot == found.snapshot
        }
    wanted = [target for target in targets if target in found.tables]
    if not wanted:
        raise NotInRunError(run, ", ".join(targets), found.tables)
    results = []
    for target in wanted:
        if target in done:
            continue
        try:
            results.append(load_table(settings, run=run, target=target, attempt=attempt, progress=progress))
        except PipelineError as error:
            if not last_attempt and isinstance(error, TransientError):
                raise
            results.append(_keep(settings, run, target, error, attempt))
    return results


def _keep(settings: Settings, run: int, target: str, error: PipelineError, attempt: int) -> LoadResult:
    """Raises `error` where the table cannot keep what is published."""
    with Warehouse(settings.warehouse) as warehouse:
        found = ops.find_run(warehouse, run)
        if on_error(entry_of(settings, found), target) != "keep":
            raise error
        # Where the table is not in the source any more, its name there is that of its last publish.
        name = ops.published_sources(warehouse, [target]).get(target)
        if name is None:
            raise error
        entry = TableEntry(name=name, target=target, on_error="keep")
        return load.result(keep_published(settings, warehouse, found, entry, error, attempt))


def _check_locked(warehouse: Warehouse, run: ops.Run, target: str) -> None:
    """Raises TerminalError for a table that was not locked when the snapshot was taken: it may have been emptied since."""
    for attempt in ops.loads(warehouse, run.run):
        of_this = attempt.target == target and attempt.snapshot == run.snapshot
        if of_this and attempt.status == KEPT and not attempt.loading_table:
            raise TerminalError(attempt.error)


def publish(
    settings: Settings,
    *,
    run: int,
    wait_seconds: float = WAIT_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> PublishResult:
    """Puts every table of the run in place, all or none, and ends the run as success. Safe to repeat at any point.

    Waits up to `wait_seconds` for a dbt run that is at work, and says so to `tell`. Raises TerminalError when a table is not loaded as it
    was counted or a newer run has published, TransientError when dbt or another run stood in the way.
    """
    with Warehouse(settings.warehouse) as warehouse:
        found = ops.find_run(warehouse, run)
        if found.status != "success":
            name, holder = entry_of(settings, found).name, f"{found.run_key}, publishing"
            with run_lease(warehouse, name, holder=holder, tell=tell) as lease:
                # First it goes on, so that recovery does not sweep away the tables of a run that had failed.
                _workable(warehouse, run, publishing_again=True)
                recovery.recover(warehouse, name, holder=holder, own_run=run, wait_seconds=wait_seconds, tell=tell)
                found = ops.find_run(warehouse, run)
                if found.status != "success":
                    publish_own(warehouse, lease, found, wait_seconds=wait_seconds, tell=tell)
                    # An attempt that was killed may have left a table of any size.
                    recovery.sweep(warehouse, name)
        return published(warehouse, run)


def publish_own(
    warehouse: Warehouse,
    source_lease: Lease,
    run: ops.Run,
    *,
    attempts: Sequence[ops.Load] | None = None,
    before: Sequence[Callable[[], None]] = (),
    wait_seconds: float = WAIT_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> PublishResult:
    """As `publish`, for a caller that has held the lease of the source since the run began, may know what it has loaded, and may
    have something left to do `before`."""
    left = list(before)

    def waiting(sentence: str) -> None:
        # Nothing of the source is held while another one publishes.
        while left:
            left.pop()()
        tell(sentence)

    with publishing_lease(warehouse, holder=run.run_key, wait_seconds=wait_seconds, tell=waiting) as lease:
        leases = (source_lease, lease)
        opened = publishing.open_journal(warehouse, run, attempts, left)
        try:
            with ThreadPoolExecutor(1) as pool:
                confirmed = pool.submit(publishing.confirm, warehouse, opened)
                publishing.await_turn(warehouse, opened.journal, leases, wait_seconds=wait_seconds, tell=tell)
            confirmed.result()
        except TransientError:
            # Without the lease another publisher may be at work on this journal, or have put its tables in their place.
            if all(one.is_held() for one in leases):
                publishing.abandon(warehouse, opened.journal)
            raise
        closed = publishing.execute_journal(warehouse, opened)
    if any(entry.status != "done" for entry in closed):
        raise TerminalError(ops.find_run(warehouse, run.run).error)
    return _result(run.run, closed)


def published(warehouse: Warehouse, run: int) -> PublishResult:
    """The tables that a published run has put in place."""
    return _result(run, [entry for entry in ops.publishes(warehouse, run) if entry.status == "done"])


def _result(run: int, done: Sequence[ops.Publish]) -> PublishResult:
    return PublishResult(run, tuple(PublishedTable(entry.target, entry.rows) for entry in done))


def fail(settings: Settings, *, run: int | None, run_key: str, error: str) -> None:
    """Records that the run has failed, unless it is published. A run that never began gets a row of its own.

    A publish that was cut stays in the journal, and the next run finishes it.
    """
    with Warehouse(settings.warehouse) as warehouse:
        found = ops.find_run(warehouse, run) if run is not None else ops.latest_run(warehouse, run_key)
        if found is None or (run is None and found.status != "running"):
            found = ops.Run(records.microseconds(), run_key, "failed", (), False, "", records.now())
        if found.status == "success":
            return
        text = settings.redact(" ".join(error.split()))[:2000]
        records.append(warehouse, [replace(found, status="failed", ended_at=records.now(), error=text)])


def recover(
    settings: Settings,
    *,
    holder: str,
    source: str | None = None,
    wait_seconds: float = WAIT_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> recovery.Recovered:
    """Finishes what cut runs of `source` left, of the main one without, and nothing else. Raises LeaseTakenError when a run is at work."""
    file = read_pipeline(settings.elt_pipeline)
    name = (file.find(source) if source else file.main).name
    with Warehouse(settings.warehouse) as warehouse:
        ops.check_tables(warehouse)
        with run_lease(warehouse, name, holder=holder, tell=tell):
            return recovery.recover(
                warehouse,
                name,
                holder=holder,
                adopts=lambda other: adopts(file, name, other),
                wait_seconds=wait_seconds,
                tell=tell,
            )


def _still_planned(place: Place) -> list[str]:
    plan = place.settings.elt_plan
    if not plan.exists():
        return []
    planned = next((one for one in read_plan(plan, place.settings.elt_pipeline) if one.name == place.name), None)
    known = {entry.target_name for entry in place.entries()}
    return [table.target for table in planned.tables if table.target in known] if planned else []


def _workable(warehouse: Warehouse, run: int, *, publishing_again: bool = False) -> ops.Run:
    """The run, which may go on. One that failed goes on when a person has its task run again."""
    found = ops.find_run(warehouse, run)
    if found.status == "success" and not publishing_again:
        raise TerminalError(f"Run {run} is published already; start a new run to load again")
    if found.status == "failed":
        found = replace(found, status="running", ended_at=None, error="")
        records.append(warehouse, [found])
    return found
