"""Publishes the tables of a run by swaps: all of them or none, even if interrupted at any moment.

A journal of all swaps (ops.publishes, one insert) is written before the first one; warehouse.swap says why that is safe.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from uuid import UUID

from warehouse import ops, records
from warehouse.client import Warehouse, in_parallel
from warehouse.errors import TerminalError, TransientError
from warehouse.leases import Lease, check_all
from warehouse.swap import NO_UUID, Place, swap_all
from warehouse.turns import WAIT_SECONDS, wait_for_dbt

from elt.pipeline.names import publisher_table, raw, run_of_loading_table
from elt.publishing import days, keeping

PLACE = Place("raw", lambda name: run_of_loading_table(name) is not None, publisher_table)
_HEARTBEAT_SECONDS = 5.0
_COUNTED_AT_ONCE = 50


@dataclass(frozen=True)
class Opened:
    """A journal just written, with the data read for it."""

    run: ops.Run
    journal: list[ops.Publish]
    attempts: Sequence[ops.Load]
    tables: dict[str, UUID]


def open_journal(
    warehouse: Warehouse,
    run: ops.Run,
    attempts: Sequence[ops.Load] | None = None,
    before: Sequence[Callable[[], None]] = (),
) -> Opened:
    """Checks the loads of the run and writes its journal. `attempts` are the run's loads, if the caller knows them.

    The calls of `before` run in parallel with the checks and end before the journal is written. Kept tables (elt.publishing.keeping) are not in the journal.

    Raises TerminalError if no table is loaded or one is missing, if a table lost rows since it was counted or was not read from the run's snapshot,
    or if a newer run has published meanwhile.
    """
    attempts = ops.loads(warehouse, run.run) if attempts is None else attempts
    if run.day:
        for call in before:
            call()
        before, attempts = (), days.onto_published(warehouse, run, attempts, uuids(warehouse))
    with ThreadPoolExecutor(2 + len(before)) as pool:
        ended = [pool.submit(call) for call in before]
        there = pool.submit(_uuids_and_newest, warehouse, run)
        kept = {load.target for load in keeping.kept(attempts)}
        targets = [target for target in run.tables if target not in kept]
        loaded = {load.target: load for load in attempts if load.status in ("loaded", "published")}
        counts = pool.submit(_count, warehouse, [loaded[target] for target in targets if target in loaded])
    for done in ended:
        done.result()
    tables, newest = there.result()
    if newest > run.run:
        raise TerminalError(
            f"Run {run.run} was overtaken: run {newest} began later and has published already; start a new run"
        )
    if not targets:
        raise TerminalError(
            f"Run {run.run} could load none of its tables, so that there is nothing to publish: {keeping.describe(keeping.kept(attempts))}"
        )
    opened = records.now()
    journal = []
    for target in targets:
        load = loaded.get(target)
        if load is None or load.loading_table not in tables:
            raise TerminalError(
                f"Run {run.run} has not loaded {target}; nothing was published, load it and publish again"
            )
        # A run of one table may have its own snapshot.
        if load.snapshot != (run.snapshot or (load.snapshot if len(run.tables) == 1 else None)):
            raise TerminalError(
                f"{target} was not read from the snapshot of run {run.run}; nothing was published, start the whole run again"
            )
        old, new = tables.get(target, NO_UUID), tables[load.loading_table]
        journal.append(
            ops.Publish(
                run.run,
                target,
                "open",
                load.loading_table,
                old,
                new,
                load.rows_present,
                load.snapshot,
                opened,
                opened,
                source_name=run.source_name,
            )
        )
    for entry in journal:
        _check_rows(loaded[entry.target], *counts.result()[entry.loading_table])
    records.append(warehouse, journal)
    return Opened(run, journal, attempts, tables)


def confirm(warehouse: Warehouse, opened: Opened) -> None:
    """Raises TransientError if the journal in the warehouse differs from what was written."""
    if ops.open_uuids(warehouse, opened.run.run) != {entry.new_uuid for entry in opened.journal}:
        raise TransientError(f"The journal of run {opened.run.run} is not in ops.publishes as written; publish again")


def _count(warehouse: Warehouse, loads: Sequence[ops.Load]) -> dict[str, tuple[int, int]]:
    """Returns, by loading table, the rows that its run has loaded, and all rows."""
    counts: dict[str, tuple[int, int]] = {}
    for start in range(0, len(loads), _COUNTED_AT_ONCE):
        some = loads[start : start + _COUNTED_AT_ONCE]
        selects = (_count_of(number, load) for number, load in enumerate(some))
        for number, own, present in warehouse.rows(" UNION ALL ".join(selects)):
            counts[some[number].loading_table] = own, present
    return counts


def _count_of(number: int, load: ops.Load) -> str:
    table, own = raw(load.loading_table), f"_elt_run = {load.run}"
    if load.mode == "full":
        return f"SELECT {number} AS number, countIf({own}) AS own, count() AS present FROM {table}"
    # Of older rows only `_elt_run` is read; the number of rows comes from the parts' metadata.
    return (
        f"SELECT {number} AS number, count() AS own, (SELECT count() FROM {table}) AS present FROM {table} WHERE {own}"
    )


def _check_rows(load: ops.Load, own: int, present: int) -> None:
    """Raises TerminalError if the table has lost rows since it was counted."""
    # This run's rows, and the rows before it: merges collapse older rows of a key, never the newest.
    if own != load.rows_sent or present < load.rows_present:
        found, loaded = (own, load.rows_sent) if own != load.rows_sent else (present, load.rows_present)
        raise TerminalError(
            f"raw.{load.loading_table} has {found} rows and was loaded with {loaded}; "
            "nothing was published, start a new run"
        )


def await_turn(
    warehouse: Warehouse,
    journal: Sequence[ops.Publish],
    leases: Sequence[Lease],
    *,
    wait_seconds: float = WAIT_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Waits until no dbt run is running. The journal is already open, so no new one starts.

    `tell` gets a sentence for each dbt run that delays the publish. Raises TransientError if dbt does not end in time or one of the leases is lost;
    then no swap was done here.
    """
    beat = time.monotonic()

    def keep_alive() -> None:
        nonlocal beat
        if time.monotonic() - beat >= _HEARTBEAT_SECONDS:
            beat = time.monotonic()
            check_all(leases)
            records.append(warehouse, [replace(entry, heartbeat_at=records.now()) for entry in journal])

    wait_for_dbt(warehouse, seconds=wait_seconds, while_waiting=keep_alive, tell=tell)
    check_all(leases)


def execute_journal(warehouse: Warehouse, opened: Opened) -> list[ops.Publish]:
    """Fast path of `roll_forward` for the process that just wrote the journal."""
    closed, replaced = _swap_all(warehouse, opened.journal, opened.tables)
    in_parallel(lambda: records.append(warehouse, closed), lambda: _mark_loads(warehouse, opened.attempts, closed))
    # The run is ended last: who finds it still running, with a closed journal, has only to end it; the sweep drops what is left.
    in_parallel(lambda: _end_run(warehouse, opened.run, closed, opened.attempts), lambda: _drop(warehouse, replaced))
    return closed


def roll_forward(warehouse: Warehouse, journal: Sequence[ops.Publish]) -> list[ops.Publish]:
    """Does the remaining swaps of `journal` and closes it. Returns the closed rows.

    A swap happens only while `raw` still has the old UUID, so it is never repeated and never undone.
    """
    closed: list[ops.Publish] = []
    for run in sorted({entry.run for entry in journal}):
        done, replaced = _swap_all(warehouse, [entry for entry in journal if entry.run == run], None)
        _drop(warehouse, replaced)
        records.append(warehouse, done)
        close_run(warehouse, run, done)
        closed += done
    return closed


def close_run(warehouse: Warehouse, run: int, journal: Sequence[ops.Publish]) -> None:
    """Records the result of a closed journal in ops.loads and ops.runs."""
    attempts = ops.loads(warehouse, run)
    _mark_loads(warehouse, attempts, journal)
    _end_run(warehouse, ops.find_run(warehouse, run), journal, attempts)


def _mark_loads(warehouse: Warehouse, attempts: Sequence[ops.Load], journal: Sequence[ops.Publish]) -> None:
    done = _done(journal)
    last = {load.target: load for load in attempts if load.status == "loaded"}
    records.append(warehouse, [replace(load, status="published") for target, load in last.items() if target in done])


def _end_run(warehouse: Warehouse, run: ops.Run, journal: Sequence[ops.Publish], attempts: Sequence[ops.Load]) -> None:
    given_up = sorted(set(run.tables) - _done(journal) - {load.target for load in keeping.kept(attempts)})
    if given_up:
        error = f"Somebody else replaced {', '.join(given_up)}, or its row of the journal, during the publish; start a new run"
        records.append(warehouse, [replace(run, status="failed", ended_at=records.now(), error=error)])
    else:
        error = keeping.describe(keeping.kept(attempts))
        records.append(warehouse, [replace(run, status="success", ended_at=records.now(), error=error)])


def _done(journal: Sequence[ops.Publish]) -> set[str]:
    return {entry.target for entry in journal if entry.status == "done"}


def _drop(warehouse: Warehouse, names: Sequence[str]) -> None:
    for name in names:
        warehouse.drop(raw(name))


def abandon(warehouse: Warehouse, journal: Sequence[ops.Publish]) -> None:
    """Closes a journal without any done swap, so that it blocks nobody. The run may publish again. Call it only while holding the lease.

    It renames the tables first, so that a late publisher of this journal finds nothing to swap.
    """
    tables = {uuid: name for name, uuid in uuids(warehouse).items()}
    for entry in journal:
        holder = tables.get(entry.new_uuid)
        if holder is None or not PLACE.is_unpublished(holder):
            continue
        own = publisher_table(holder, secrets.token_hex(4))
        warehouse.command(f"RENAME TABLE {raw(holder)} TO {raw(own)}")
        attempts = [load for load in ops.loads(warehouse, entry.run) if load.loading_table == entry.loading_table]
        records.append(warehouse, [replace(load, loading_table=own) for load in attempts])
    records.append(warehouse, [replace(entry, status="abandoned", closed_at=records.now()) for entry in journal])


def uuids(warehouse: Warehouse) -> dict[str, UUID]:
    """Tables of `raw` by name."""
    return PLACE.tables(warehouse)


def _uuids_and_newest(warehouse: Warehouse, run: ops.Run) -> tuple[dict[str, UUID], int]:
    """Returns the UUIDs of the tables of `raw` by name, and the newest run that has published one of the run's tables; 0 without one.

    A run of one day is overtaken only by another one of that day, or of all days.
    """
    # `done` is a swap's last status, so it does not matter which of its events are merged.
    found = warehouse.rows(
        "SELECT name, toString(uuid), (SELECT max(run) FROM ops.publishes"
        " WHERE status = 'done' AND has({targets:Array(String)}, target) AND ({day:String} = ''"
        " OR run IN (SELECT run FROM ops.runs FINAL WHERE day = {day:String} OR full_refresh)))"
        " FROM system.tables WHERE database = 'raw'",
        {"targets": list(run.tables), "day": "" if run.full_refresh else run.day},
    )
    return {str(name): UUID(uuid) for name, uuid, _ in found}, max((int(newest) for _, _, newest in found), default=0)


def _swap_all(
    warehouse: Warehouse, journal: Sequence[ops.Publish], tables: dict[str, UUID] | None
) -> tuple[list[ops.Publish], tuple[str, ...]]:
    """The journal closed, and the names of the tables that were published before."""
    swapped = swap_all(warehouse, PLACE, journal, tables)
    _drop(warehouse, swapped.given_up)
    now = records.now()
    closed = [
        replace(entry, status="done" if entry.target in swapped.done else "abandoned", heartbeat_at=now, closed_at=now)
        for entry in journal
    ]
    return closed, swapped.replaced
