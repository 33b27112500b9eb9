"""A whole run in one process: one lease, one snapshot for every table, loads side by side, one publish."""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import date

from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.errors import PipelineError
from warehouse.turns import WAIT_SECONDS

from elt.pipeline.names import raw
from elt.pipeline.options import TableEntry, Verify
from elt.planning.selection import choose
from elt.publishing.keeping import keep_published
from elt.publishing.leases import run_lease
from elt.publishing.recovery import CLI_PREFIX
from elt.runs import load
from elt.runs.place import Place, daily, place_of
from elt.runs.progress import LoadResult, Progress, PublishResult
from elt.runs.run import begin_leased, publish_own
from elt.runs.snapshot import held_snapshot
from elt.settings import Settings
from elt.sources.base import Session

_RUN_WAIT_SECONDS = 3.0


@dataclass(frozen=True)
class WholeRun:
    """The result of a run."""

    run: int
    loads: tuple[LoadResult, ...]
    published: PublishResult
    note: str = ""
    """Sentences on tables that are gone at the source, or left out; empty where there are none."""


@dataclass(frozen=True)
class _Loaded:
    """The run with its snapshot, what it has loaded, and what is left to do before that is published."""

    run: ops.Run
    loads: list[ops.Load]
    ends: list[Callable[[], None]]


@dataclass(frozen=True)
class Listener:
    """Where a run tells what it does: steps in words, and progress about once a second for each table."""

    step: Callable[[str], None]
    progress: Callable[[Progress], None]


def run_key() -> str:
    """Who asks, for ops.runs: this host and process."""
    return f"{CLI_PREFIX}{socket.gethostname()}/{os.getpid()}"


def load_everything(
    settings: Settings,
    listener: Listener,
    *,
    source: str | None = None,
    tables: Sequence[str] | None = None,
    full_refresh: bool = False,
    workers: int = 2,
    wait_seconds: float = WAIT_SECONDS,
    verify: bool = False,
    publish: bool = True,
    day: date | None = None,
    from_lake: bool = False,
) -> WholeRun:
    """Copies the tables of `source`, of the main one without, as they are at one instant and publishes them, all or none.

    With `verify` each is compared with the source, whatever pipeline.yml says of that. Without `publish` what was loaded is dropped.
    `day` and `from_lake` are for a source that is read by the day: which one, today (UTC) without, and that nothing is fetched.
    Raises PipelineError; nothing that readers see has then changed, or recovery will finish it. LeaseTakenError when
    another run is at work.
    """
    key = run_key()
    place = place_of(settings, source)
    if from_lake or day is not None:
        source_of_day = daily(place)
        place = replace(place, source=source_of_day.from_lake() if from_lake else source_of_day)
    with Warehouse(settings.warehouse) as warehouse:
        ops.check_tables(warehouse)
        with run_lease(warehouse, place.name, holder=key, wait_seconds=_RUN_WAIT_SECONDS, tell=listener.step) as lease:
            listener.step("finishing what earlier runs left")
            run = begin_leased(
                place,
                warehouse,
                run_key=key,
                tables=tables,
                full_refresh=full_refresh,
                day=day,
                tell=listener.step,
                drop_gone=publish,
            )
            try:
                chosen = choose(place.entries(), run.tables)
                if not publish:
                    # A table that differs, or cannot be read, is what such a run is to tell.
                    chosen = tuple(entry.model_copy(update={"on_error": "fail"}) for entry in chosen)
                listener.step("taking a snapshot of the source")
                with ExitStack() as stack:
                    often = "every_run" if verify else place.source.entry.verify
                    loaded = _load_all(place, warehouse, run, chosen, workers, listener, stack, often)
                    if not publish:
                        _drop(warehouse, loaded)
                        return WholeRun(
                            run.run, tuple(map(load.result, loaded.loads)), PublishResult(run.run, ()), run.note
                        )
                    listener.step("publishing")
                    done = publish_own(
                        warehouse,
                        lease,
                        loaded.run,
                        attempts=loaded.loads,
                        before=loaded.ends,
                        wait_seconds=wait_seconds,
                        tell=listener.step,
                    )
            except BaseException as error:
                _record_failure(settings, warehouse, run.run, error)
                raise
            return WholeRun(run.run, tuple(map(load.result, loaded.loads)), done, run.note)


def _load_all(
    place: Place,
    warehouse: Warehouse,
    run: ops.Run,
    chosen: Sequence[TableEntry],
    workers: int,
    listener: Listener,
    stack: ExitStack,
    verify: Verify,
) -> _Loaded:
    """Loads the tables; `stack` closes what that takes, if the ends of what is returned are not taken."""
    sources = stack.enter_context(ExitStack())
    with held_snapshot(place.settings, warehouse, place.source, run, chosen, tell=listener.step) as (held, _, kept):
        here = replace(run, snapshot=held.snapshot, horizon=held.horizon)
        chosen = [entry for entry in chosen if entry.target_name not in {load.target for load in kept}]
        if not chosen:
            return _Loaded(here, kept, [])
        sessions = []
        for number in range(min(workers, len(chosen))):
            session = sources.enter_context(place.source.join(chosen, f"{number + 1} {run.run_key}", held.snapshot))
            sessions.append((session, stack.enter_context(Warehouse(place.settings.warehouse))))
        waiting: queue.SimpleQueue[TableEntry] = queue.SimpleQueue()
        for entry in chosen:
            waiting.put(entry)
        stop = threading.Event()
        listener.step("loading")
        with ThreadPoolExecutor(len(sessions), thread_name_prefix="load") as pool:
            futures = [
                pool.submit(_work, place.settings, client, session, here, waiting, stop, listener, verify)
                for session, client in sessions
            ]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                failed = next((f for f in futures if f.done() and f.exception() is not None), None)
                if failed is None:
                    results = [future.result() for future in futures]
                    loads = [*kept, *(done for result in results for done in result[0])]
                    return _Loaded(here, loads, [*(result[1] for result in results), sources.close])
                for future in futures:
                    if future.done() and future.exception() is None:
                        with suppress(PipelineError):
                            future.result()[1]()
                failed.result()
            finally:
                stop.set()
                if not all(future.done() for future in futures):
                    for session, _ in sessions:
                        with suppress(PipelineError):
                            session.cancel()
    raise AssertionError("unreachable: a failed load has raised")


def _work(
    settings: Settings,
    warehouse: Warehouse,
    session: Session,
    run: ops.Run,
    waiting: queue.SimpleQueue[TableEntry],
    stop: threading.Event,
    listener: Listener,
    verify: Verify,
) -> tuple[list[ops.Load], Callable[[], None]]:
    """Returns the loads, and the last step of the last load."""
    done: list[ops.Load] = []
    end: Callable[[], None] = _nothing
    while not stop.is_set():
        try:
            entry = waiting.get_nowait()
        except queue.Empty:
            return done, end
        end()
        try:
            event, end = load.load(
                settings,
                warehouse,
                session,
                run=run,
                entry=entry,
                attempt=1,
                on_progress=listener.progress,
                verify=verify,
            )
        except PipelineError as error:
            if stop.is_set():
                raise
            event, end = keep_published(settings, warehouse, run, entry, error, 1), _nothing
            session.again()
        done.append(event)
    end()
    return done, _nothing


def _nothing() -> None:
    """Nothing is left to do."""


def _drop(warehouse: Warehouse, loaded: _Loaded) -> None:
    """Ends a run that was to verify only."""
    for end in loaded.ends:
        end()
    for one in loaded.loads:
        warehouse.drop(raw(one.loading_table))
    records.append(warehouse, [replace(one, status="verified") for one in loaded.loads])
    records.append(warehouse, [replace(loaded.run, status="verified", ended_at=records.now())])


def _record_failure(settings: Settings, warehouse: Warehouse, run: int, error: BaseException) -> None:
    reason = settings.redact(str(error)) if isinstance(error, PipelineError) else f"stopped by {type(error).__name__}"
    # A warehouse that is away cannot be told; the next run closes this one.
    with suppress(PipelineError):
        found = ops.find_run(warehouse, run)
        if found.status == "running" and not any(e.status == "open" for e in ops.publishes(warehouse, run)):
            records.append(warehouse, [replace(found, status="failed", ended_at=records.now(), error=reason)])
