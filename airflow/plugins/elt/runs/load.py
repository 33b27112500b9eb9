"""One attempt to load one table: made, streamed, counted, recorded. Nothing that readers see is touched."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from warehouse import ops, records
from warehouse.client import Warehouse, in_parallel
from warehouse.errors import TABLE_EXISTS, PipelineError, WarehouseRefusedError, WarehouseUnavailableError

from elt.destination import statements
from elt.destination.inserts import years_held
from elt.errors import CountMismatchError, VerificationError
from elt.pipeline.names import loading_table, publisher_table, raw
from elt.pipeline.options import TableEntry, Verify
from elt.publishing.keeping import KEPT
from elt.runs.copying import copy_rows
from elt.runs.modes import choose_mode
from elt.runs.modes.base import Mode, joined
from elt.runs.progress import LoadResult, Progress
from elt.settings import Settings
from elt.sources.base import Explaining, Session, Summed, TableReader
from elt.verification import verify as verification

HEARTBEAT_SECONDS = 15.0

OnProgress = Callable[[Progress], None]


def load(
    settings: Settings,
    warehouse: Warehouse,
    session: Session,
    *,
    run: ops.Run,
    entry: TableEntry,
    attempt: int,
    on_progress: OnProgress | None = None,
    verify: Verify = "daily",
) -> tuple[ops.Load, Callable[[], None]]:
    """Loads the table as the session has it into a table of this attempt's own, and compares it with the source as often as `verify` says.

    Returns the load and a callback that records it; call it before publishing. An attempt whose number is taken gets the next free one.
    Raises PipelineError, which names the table, VerificationError where the rows differ; the attempt is then recorded as failed
    and its table dropped.
    """
    try:
        return _load(settings, warehouse, session, run, entry, attempt, on_progress, verify)
    except PipelineError as error:
        error.naming(str(entry.name))
        raise


def _load(
    settings: Settings,
    warehouse: Warehouse,
    session: Session,
    run: ops.Run,
    entry: TableEntry,
    attempt: int,
    on_progress: OnProgress | None,
    verify: Verify,
) -> tuple[ops.Load, Callable[[], None]]:
    reader = session.describe(entry, years_held(warehouse))
    mode = choose_mode(warehouse, reader, run, entry)
    event = _claim(warehouse, run, reader, entry, mode, attempt, session.instant)
    into = mode.table_for_rows(event.loading_table)
    try:
        if into != event.loading_table:
            warehouse.command(statements.create(reader.mapping, into, run.run, event.started_at, changes=True))
        if mode.reads:
            event = _stream(warehouse, reader, mode, event, into, on_progress)
        event = replace(event, rows_present=mode.arrived(event.loading_table))
        if not event.rows_sent == event.rows_written == event.rows_present:
            mismatch = CountMismatchError(str(entry.name), event.rows_sent, event.rows_written, event.rows_present)
            # Some servers acknowledge an insert whose conversion failed (chDB 4.4, streaming insert).
            raise _explained(warehouse, reader, mode.condition, mismatch)
        if mode.base is None:
            for statement in statements.finalize_table(reader.mapping, into):
                warehouse.command(statement)
        event = mode.complete(event)
        if verification.is_due(warehouse, verify, entry.target_name):
            event = _verified(warehouse, reader, event, mode.table_to_verify(event.loading_table))
    except BaseException as error:
        if isinstance(error, PipelineError):
            error.naming(str(entry.name))
        reason = settings.redact(str(error)) or type(error).__name__
        # Raise the first error, not that of the clean-up; the next sweep drops the table if the warehouse is away.
        with suppress(PipelineError):
            records.append(warehouse, [replace(event, status="failed", ended_at=records.now(), error=reason)])
            warehouse.drop(raw(into))
            warehouse.drop(raw(event.loading_table))
        raise
    loaded = replace(event, status="loaded", ended_at=records.now())

    def end() -> None:
        in_parallel(
            lambda: records.append(warehouse, [loaded]),
            lambda: None if into == event.loading_table else warehouse.drop(raw(into)),
        )

    return loaded, end


def result(event: ops.Load) -> LoadResult:
    """The result, for a caller, of a load that went well, or after which the published table stays."""
    return LoadResult(
        event.target,
        event.rows_sent,
        event.bytes,
        event.seconds,
        event.try_,
        event.loading_table,
        event.snapshot,
        event.mode,
        event.note,
        event.verified_columns,
        event.not_verified,
        event.error if event.status == KEPT else "",
    )


def _explained(warehouse: Warehouse, reader: TableReader, condition: str | None, cause: PipelineError) -> PipelineError:
    """The error that names the value because of which the load failed, where the source finds one; else `cause`."""
    if not isinstance(reader, Explaining):
        return cause
    try:
        # A server that is away needs no explanation by the source's rows.
        warehouse.rows("SELECT 1")
    except PipelineError:
        return cause
    return reader.explain(condition, cause) or cause


def _verified(warehouse: Warehouse, reader: TableReader, event: ops.Load, table: str) -> ops.Load:
    """The load with what a comparison of `table` with the source has found. Raises VerificationError when they differ."""
    if not isinstance(reader, Summed):
        return replace(event, not_verified=("every column: the source computes no checksums",))
    last_beat = time.monotonic()

    def beat() -> None:
        nonlocal last_beat
        if time.monotonic() - last_beat >= HEARTBEAT_SECONDS:
            last_beat = time.monotonic()
            with suppress(WarehouseUnavailableError):
                records.append(warehouse, [event])

    scratch = publisher_table(event.loading_table, "d")
    found = verification.verify(warehouse, reader, table, scratch, beat)
    if not found.is_right:
        cure = f"copy it whole: python -m elt load {event.target} --full-refresh"
        if event.mode == "full":
            cure = "start a new run; should that find the same, this is a fault of the loader or of the warehouse: please report it"
        raise VerificationError(reader.mapping.name, found.difference, cure)
    note = f"{event.source}: {found.note}" if found.note else ""
    return replace(
        event,
        verified_at=records.now() if found.columns else None,
        verified_columns=found.columns,
        not_verified=found.not_compared,
        note=joined(event.note, note),
    )


def _claim(
    warehouse: Warehouse,
    run: ops.Run,
    reader: TableReader,
    entry: TableEntry,
    mode: Mode,
    attempt: int,
    instant: str,
) -> ops.Load:
    """Makes the attempt's table. That it can be made only once is what gives each attempt a table of its own."""
    target = entry.target_name
    started = records.now()
    number = max([attempt, *(1 + load.try_ for load in ops.loads(warehouse, run.run) if load.target == target)])
    while True:
        name = loading_table(target, run.run, number)
        try:
            if mode.base is None:
                warehouse.command(statements.create(reader.mapping, name, run.run, started))
            else:
                warehouse.command(statements.clone(name, mode.base.target))
            break
        except WarehouseRefusedError as error:
            if error.code != TABLE_EXISTS:
                raise
            number += 1
    event = ops.Load(run.run, target, number, str(entry.name), name, mode.name, "running", instant, started)
    records.append(warehouse, [event])
    return event


def _stream(
    warehouse: Warehouse,
    reader: TableReader,
    mode: Mode,
    event: ops.Load,
    into: str,
    on_progress: OnProgress | None,
) -> ops.Load:
    started = time.monotonic()
    last_beat = started
    # The source's figure is for the whole table.
    estimate = None if mode.condition else reader.mapping.estimated_rows

    def tick(rows: int, size: int) -> None:
        nonlocal last_beat
        seconds = time.monotonic() - started
        if on_progress is not None:
            on_progress(Progress(event.target, rows, size, seconds, estimate))
        if time.monotonic() - last_beat >= HEARTBEAT_SECONDS:
            last_beat = time.monotonic()
            with suppress(WarehouseUnavailableError):
                records.append(warehouse, [replace(event, rows_sent=rows, bytes=size, seconds=seconds)])

    try:
        copied = copy_rows(warehouse, reader, raw(into), mode.condition, tick)
    except PipelineError as error:
        raise _explained(warehouse, reader, mode.condition, error) from None
    seconds = time.monotonic() - started
    if on_progress is not None:
        on_progress(Progress(event.target, copied.sent, copied.bytes, seconds, copied.sent))
    return replace(
        event,
        rows_sent=copied.sent,
        rows_written=copied.written,
        bytes=copied.bytes,
        seconds=seconds,
    )
