"""One attempt to load one table: made, streamed, counted, recorded. Nothing that readers see is touched."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from warehouse import ops, records
from warehouse.client import Warehouse, in_parallel
from warehouse.errors import (
    TABLE_EXISTS,
    PipelineError,
    TerminalError,
    WarehouseRefusedError,
    WarehouseUnavailableError,
)

from elt.destination import statements
from elt.destination.inserts import years_held
from elt.destination.statements import TableMapping
from elt.errors import CountMismatchError, VerificationError
from elt.pipeline.file import TableEntry, read_pipeline
from elt.pipeline.names import loading_table, publisher_table, raw
from elt.publishing.keeping import KEPT
from elt.runs.modes import cost, incremental
from elt.runs.copying import copy_rows
from elt.sources.postgres.explain import explain
from elt.runs.modes.incremental import Arrived, Base, Instants, Start
from elt.runs.progress import LoadResult, Progress
from elt.settings import Settings
from elt.sources.postgres.catalogue import read_table
from elt.sources.postgres.origin import read_origin
from elt.sources.postgres.session import Source
from elt.verification import verify as verification

HEARTBEAT_SECONDS = 15.0

OnProgress = Callable[[Progress], None]


def load(
    settings: Settings,
    warehouse: Warehouse,
    source: Source,
    *,
    run: ops.Run,
    entry: TableEntry,
    attempt: int,
    on_progress: OnProgress | None = None,
    verify: bool = False,
) -> tuple[ops.Load, Callable[[], None]]:
    """Loads the table as the transaction of `source` sees it into a table of this attempt's own.

    Compares it with the source where pipeline.yml says so, and always with `verify`. VerificationError when they differ.
    Returns the load and a callback that records it; call it before publishing.
    An attempt whose number is taken gets the next free one. Raises PipelineError, which names the table; the attempt is then
    recorded as failed and its table dropped.
    """
    try:
        return _load(settings, warehouse, source, run, entry, attempt, on_progress, verify=verify)
    except PipelineError as error:
        error.naming(str(entry.name))
        raise


def _load(
    settings: Settings,
    warehouse: Warehouse,
    source: Source,
    run: ops.Run,
    entry: TableEntry,
    attempt: int,
    on_progress: OnProgress | None,
    *,
    verify: bool,
) -> tuple[ops.Load, Callable[[], None]]:
    table = read_table(source, entry.name)
    mapping = statements.map_table(table, entry, years_held(warehouse))
    start, origin = Start(None), ""
    instants = incremental.read_instants(source, mapping, run.horizon)
    file = read_pipeline(settings.elt_pipeline).source
    if mapping.incremental:
        known = read_origin(source, table, source.address)
        start = incremental.find_start(
            warehouse, run, entry.target_name, mapping, known, instants, any_host=file.any_host
        )
        start = cost.take_the_cheaper(source, mapping, start)
        origin = known.text()
    base = start.base
    event = _claim(warehouse, run, entry, mapping, base, attempt, run.snapshot or source.snapshot_text())
    into = event.loading_table if base is None else incremental.changes_table(event.loading_table)
    condition = None if base is None else incremental.condition(mapping, base)
    try:
        if base is not None:
            warehouse.command(statements.create(mapping, into, run.run, event.started_at, changes=True))
        event = _stream(settings, warehouse, source, mapping, event, into, condition, on_progress)
        arrived = None
        if mapping.incremental:
            # Merge the arrived rows into the clone, which belongs to this attempt, while they are counted.
            with ThreadPoolExecutor(1) as pool:
                joined = pool.submit(incremental.merge, warehouse, mapping, event.loading_table) if base else None
                arrived = incremental.count_changes(warehouse, mapping, into, base, instants)
            if joined is not None:
                joined.result()
        event = replace(event, rows_present=arrived.rows if arrived else warehouse.count(raw(into)))
        if not event.rows_sent == event.rows_written == event.rows_present:
            mismatch = CountMismatchError(str(entry.name), event.rows_sent, event.rows_written, event.rows_present)
            # Some servers acknowledge an insert whose conversion failed (chDB 4.4, streaming insert).
            explain(settings, warehouse, mapping, condition, mismatch)
            raise mismatch
        if base is None:
            # A table of changed rows is dropped, not published: nothing to finalize.
            for statement in statements.finalize_table(mapping, into):
                warehouse.command(statement)
        if arrived is not None:
            event = _follow(warehouse, source, mapping, event, start, into, arrived, condition, instants)
            note = _joined(start.note, incremental.future_note(mapping, arrived, instants))
            event = replace(event, origin=origin, note=note)
        if verify or verification.is_due(warehouse, file, entry.target_name):
            event = _verified(warehouse, source, mapping, event)
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
            lambda: records.append(warehouse, [loaded]), lambda: None if base is None else warehouse.drop(raw(into))
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


def _joined(*sentences: str) -> str:
    return "; ".join(sentence for sentence in sentences if sentence)


def _follow(
    warehouse: Warehouse,
    source: Source,
    mapping: TableMapping,
    event: ops.Load,
    start: Start,
    into: str,
    arrived: Arrived,
    condition: str | None,
    instants: Instants,
) -> ops.Load:
    """The rows of an incremental table in their place, with what the next load begins from."""
    if not mapping.key_is_proven:
        found = incremental.duplicates(warehouse, mapping, into)
        if not found and condition is not None:
            # A new row may have the key of one that is not read again: only the source tells that from a changed row.
            found = int(source.rows(statements.count_duplicates(mapping, condition))[0][0])
        if found:
            raise TerminalError(
                f"{mapping.table.name} has {found} keys ({', '.join(mapping.key)}) that stand in more than one row; "
                "name columns with key: in pipeline.yml that tell rows apart, or take mode full"
            )
    if start.base is not None:
        event = replace(event, rows_present=start.base.rows + arrived.rows - arrived.known)
    mark = incremental.watermark(mapping, arrived, start, instants)
    return replace(event, watermark=mark, shape=mapping.fingerprint)


def _verified(warehouse: Warehouse, source: Source, mapping: TableMapping, event: ops.Load) -> ops.Load:
    """The load with what a comparison with the source has found. Raises VerificationError when they differ."""
    last_beat = time.monotonic()

    def beat() -> None:
        nonlocal last_beat
        if time.monotonic() - last_beat >= HEARTBEAT_SECONDS:
            last_beat = time.monotonic()
            with suppress(WarehouseUnavailableError):
                records.append(warehouse, [event])

    loading = event.loading_table
    found = verification.verify(warehouse, source, mapping, loading, publisher_table(loading, "d"), beat)
    if not found.is_right:
        cure = f"copy it whole: python -m elt load {event.target} --full-refresh"
        if event.mode == "full":
            cure = "start a new run; should that find the same, this is a fault of the loader or of the warehouse: please report it"
        raise VerificationError(str(mapping.table.name), found.difference, cure)
    note = f"{event.source}: {found.note}" if found.note else ""
    return replace(
        event,
        verified_at=records.now() if found.columns else None,
        verified_columns=found.columns,
        not_verified=found.not_compared,
        note=_joined(event.note, note),
    )


def _claim(
    warehouse: Warehouse,
    run: ops.Run,
    entry: TableEntry,
    mapping: TableMapping,
    base: Base | None,
    attempt: int,
    snapshot: str,
) -> ops.Load:
    """Makes the attempt's table. That it can be made only once is what gives each attempt a table of its own."""
    target = entry.target_name
    started = records.now()
    number = max([attempt, *(1 + load.try_ for load in ops.loads(warehouse, run.run) if load.target == target)])
    while True:
        name = loading_table(target, run.run, number)
        try:
            warehouse.command(
                statements.create(mapping, name, run.run, started) if base is None else incremental.clone(name, base)
            )
            break
        except WarehouseRefusedError as error:
            if error.code != TABLE_EXISTS:
                raise
            number += 1
    mode = "full" if base is None else "incremental"
    event = ops.Load(run.run, target, number, str(entry.name), name, mode, "running", snapshot, started)
    records.append(warehouse, [event])
    return event


def _stream(
    settings: Settings,
    warehouse: Warehouse,
    source: Source,
    mapping: TableMapping,
    event: ops.Load,
    into: str,
    condition: str | None,
    on_progress: OnProgress | None,
) -> ops.Load:
    started = time.monotonic()
    last_beat = started
    name = raw(into)
    # What a condition leaves, the planner's figure for the table does not say.
    estimate = None if condition or mapping.entry.where else mapping.table.estimated_rows

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
        copied = copy_rows(warehouse, source, mapping, name, condition, tick)
    except PipelineError as error:
        explain(settings, warehouse, mapping, condition, error)
        raise
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
