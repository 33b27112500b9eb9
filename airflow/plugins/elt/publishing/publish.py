"""Publishing: every table of a run is put in its place by a swap, all of them or none, whenever it is cut.

A journal of all swaps (ops.publishes, one insert) is written before the first one. It names tables by UUID, which
moves with a table when it is renamed or exchanged, so that anybody can tell later which swaps are done.

EXCHANGE is its own inverse: a publisher that wakes up late must not be able to repeat it. So each publisher first
renames the new table to a name with a mark that nobody else knows. Whoever renamed last is the only one whose
EXCHANGE finds a table, and after it that name is gone.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from uuid import UUID

from elt.destination import ops
from elt.destination.warehouse import TABLE_EXISTS, UNKNOWN_TABLE, Warehouse, in_parallel
from elt.errors import TerminalError, TransientError, WarehouseRefusedError
from elt.pipeline.names import publisher_table, raw, run_of_loading_table
from elt.publishing import keeping
from elt.publishing.lock import RunLock
from elt.publishing.turns import WAIT_SECONDS, wait_for_dbt

_HEARTBEAT_SECONDS = 5.0
_SWAP_ATTEMPTS = 5
_COUNTED_AT_ONCE = 50


@dataclass(frozen=True)
class Opened:
    """A journal that was written this moment, with what was read for it."""

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
    """Checks what the run has loaded and writes its journal. `attempts` are the run's loads where the caller knows them.

    What is to be done `before` the journal is there is done beside the checks.

    A table that keeps what is published (elt.publishing.keeping) is not in it.

    Raises TerminalError when no table or not every other one is loaded, when one has not the rows it had when it was counted, was not read from
    the run's snapshot, or when a newer run has published meanwhile.
    """
    with ThreadPoolExecutor(2 + len(before)) as pool:
        ended = [pool.submit(call) for call in before]
        there = pool.submit(_uuids_and_newest, warehouse, run.tables)
        attempts = ops.loads(warehouse, run.run) if attempts is None else attempts
        kept = {load.target for load in keeping.kept(attempts)}
        targets = [target for target in run.tables if target not in kept]
        loaded = {load.target: load for load in attempts if load.status in ("loaded", "published")}
        counts = pool.submit(_count, warehouse, [loaded[target] for target in targets if target in loaded])
    for call in ended:
        call.result()
    tables, newest = there.result()
    if newest > run.run:
        raise TerminalError(
            f"Run {run.run} was overtaken: run {newest} began later and has published already; start a new run"
        )
    if not targets:
        raise TerminalError(
            f"Run {run.run} could load none of its tables, so that there is nothing to publish: {keeping.describe(keeping.kept(attempts))}"
        )
    opened = ops.now()
    journal = []
    for target in targets:
        load = loaded.get(target)
        if load is None or load.loading_table not in tables:
            raise TerminalError(
                f"Run {run.run} has not loaded {target}; nothing was published, load it and publish again"
            )
        # A run of one table may have read an instant of its own.
        if load.snapshot != (run.snapshot or (load.snapshot if len(run.tables) == 1 else None)):
            raise TerminalError(
                f"{target} was not read from the snapshot of run {run.run}; nothing was published, start the whole run again"
            )
        old, new = tables.get(target, ops.NO_UUID), tables[load.loading_table]
        journal.append(
            ops.Publish(
                run.run, target, "open", load.loading_table, old, new, load.rows_present, load.snapshot, opened, opened
            )
        )
    for entry in journal:
        _check_rows(loaded[entry.target], *counts.result()[entry.loading_table])
    ops.write(warehouse, journal)
    return Opened(run, journal, attempts, tables)


def confirm(warehouse: Warehouse, opened: Opened) -> None:
    """Raises TransientError when the journal is not there as it was written."""
    if ops.open_uuids(warehouse, opened.run.run) != {entry.new_uuid for entry in opened.journal}:
        raise TransientError(f"The journal of run {opened.run.run} is not in ops.publishes as written; publish again")


def _count(warehouse: Warehouse, loads: Sequence[ops.Load]) -> dict[str, tuple[int, int]]:
    """By loading table: rows that its run has loaded, and all rows."""
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
    # Of what was there before only the numbers of the runs are read, and how many rows there are is known of each part.
    return (
        f"SELECT {number} AS number, count() AS own, (SELECT count() FROM {table}) AS present FROM {table} WHERE {own}"
    )


def _check_rows(load: ops.Load, own: int, present: int) -> None:
    """Raises TerminalError when the table no longer has the rows that it had when it was counted."""
    # What this run has loaded, and what it began with: merges collapse older rows of a key, never the newest.
    if own != load.rows_sent or present < load.rows_present:
        found, loaded = (own, load.rows_sent) if own != load.rows_sent else (present, load.rows_present)
        raise TerminalError(
            f"raw.{load.loading_table} has {found} rows and was loaded with {loaded}; "
            "nothing was published, start a new run"
        )


def await_turn(
    warehouse: Warehouse,
    journal: Sequence[ops.Publish],
    lock: RunLock,
    *,
    wait_seconds: float = WAIT_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Returns when no dbt run is at work, with the open journal written before, so that none begins.

    `tell` gets a sentence for each dbt run that is waited for.
    Raises TransientError when dbt does not end in time or the lock is lost; no swap was done here then.
    """
    beat = time.monotonic()

    def keep_alive() -> None:
        nonlocal beat
        if time.monotonic() - beat >= _HEARTBEAT_SECONDS:
            beat = time.monotonic()
            lock.check()
            ops.write(warehouse, [replace(entry, heartbeat_at=ops.now()) for entry in journal])

    wait_for_dbt(warehouse, seconds=wait_seconds, while_waiting=keep_alive, tell=tell)
    lock.check()


def execute_journal(warehouse: Warehouse, opened: Opened) -> list[ops.Publish]:
    """Fast path of `roll_forward` for the process that just wrote the journal."""
    closed, left = _swap_all(warehouse, opened.journal, opened.tables)
    in_parallel(lambda: ops.write(warehouse, closed), lambda: _mark_loads(warehouse, opened.attempts, closed))
    # The run is ended last: who finds it still running, with a closed journal, has only to end it; the sweep drops what is left.
    in_parallel(lambda: _end_run(warehouse, opened.run, closed, opened.attempts), lambda: _drop(warehouse, left))
    return closed


def roll_forward(warehouse: Warehouse, journal: Sequence[ops.Publish]) -> list[ops.Publish]:
    """Does every swap of `journal` that is not done, and closes it. Returns it closed.

    A swap is done only where `raw` still has the old UUID, so that it is never done twice and never swaps back.
    """
    closed, left = _swap_all(warehouse, journal, None)
    _drop(warehouse, left)
    ops.write(warehouse, closed)
    for run in sorted({entry.run for entry in closed}):
        close_run(warehouse, run, [entry for entry in closed if entry.run == run])
    return closed


def close_run(warehouse: Warehouse, run: int, journal: Sequence[ops.Publish]) -> None:
    """Writes into ops.loads and ops.runs what the closed journal of a run says."""
    attempts = ops.loads(warehouse, run)
    _mark_loads(warehouse, attempts, journal)
    _end_run(warehouse, ops.find_run(warehouse, run), journal, attempts)


def _mark_loads(warehouse: Warehouse, attempts: Sequence[ops.Load], journal: Sequence[ops.Publish]) -> None:
    done = _done(journal)
    last = {load.target: load for load in attempts if load.status == "loaded"}
    ops.write(warehouse, [replace(load, status="published") for target, load in last.items() if target in done])


def _end_run(warehouse: Warehouse, run: ops.Run, journal: Sequence[ops.Publish], attempts: Sequence[ops.Load]) -> None:
    given_up = sorted(set(run.tables) - _done(journal) - {load.target for load in keeping.kept(attempts)})
    if given_up:
        error = f"Somebody else replaced {', '.join(given_up)}, or its row of the journal, during the publish; start a new run"
        ops.write(warehouse, [replace(run, status="failed", ended_at=ops.now(), error=error)])
    else:
        error = keeping.describe(keeping.kept(attempts))
        ops.write(warehouse, [replace(run, status="success", ended_at=ops.now(), error=error)])


def _done(journal: Sequence[ops.Publish]) -> set[str]:
    return {entry.target for entry in journal if entry.status == "done"}


def _drop(warehouse: Warehouse, names: Sequence[str]) -> None:
    for name in names:
        warehouse.drop(raw(name))


def abandon(warehouse: Warehouse, journal: Sequence[ops.Publish]) -> None:
    """Closes a journal of which no swap is done, so that it holds up nobody. The run may publish again. Call it only while holding the run lock.

    Its tables get new names first: a publisher that still believes in this journal finds nothing to swap.
    """
    tables = {uuid: name for name, uuid in uuids(warehouse).items()}
    for entry in journal:
        holder = tables.get(entry.new_uuid)
        if holder is None or not _is_loading(holder):
            continue
        own = publisher_table(holder, _mark())
        warehouse.command(f"RENAME TABLE {raw(holder)} TO {raw(own)}")
        attempts = [load for load in ops.loads(warehouse, entry.run) if load.loading_table == entry.loading_table]
        ops.write(warehouse, [replace(load, loading_table=own) for load in attempts])
    ops.write(warehouse, [replace(entry, status="abandoned", closed_at=ops.now()) for entry in journal])


def uuids(warehouse: Warehouse) -> dict[str, UUID]:
    """Tables of `raw` by name."""
    return {
        str(name): UUID(str(uuid))
        for name, uuid in warehouse.rows("SELECT name, toString(uuid) FROM system.tables WHERE database = 'raw'")
    }


def _uuids_and_newest(warehouse: Warehouse, targets: Sequence[str]) -> tuple[dict[str, UUID], int]:
    """Tables of `raw` by name, and the newest run that has published one of `targets`; 0 when none has."""
    # Nothing comes after `done`, so that it does not matter which of a swap's events are merged.
    found = warehouse.rows(
        "SELECT name, toString(uuid), (SELECT max(run) FROM ops.publishes"
        " WHERE status = 'done' AND has({targets:Array(String)}, target)) FROM system.tables WHERE database = 'raw'",
        {"targets": list(targets)},
    )
    return {str(name): UUID(uuid) for name, uuid, _ in found}, max((int(newest) for _, _, newest in found), default=0)


def _swap_all(
    warehouse: Warehouse, journal: Sequence[ops.Publish], tables: dict[str, UUID] | None
) -> tuple[list[ops.Publish], list[str]]:
    """The journal closed, and the names of the tables that were taken out of their place."""
    left: list[str] = []
    states = [_put_in_place(warehouse, entry, tables, left) for entry in journal]
    closed = [
        replace(entry, status="done" if done else "abandoned", heartbeat_at=ops.now(), closed_at=ops.now())
        for entry, done in zip(journal, states, strict=True)
    ]
    return closed, left


def _put_in_place(warehouse: Warehouse, entry: ops.Publish, tables: dict[str, UUID] | None, left: list[str]) -> bool:
    """Whether `raw.<target>` is the new table, after swapping it in where that is still to be done.

    `tables` are those that the journal was written by, which are looked at again only if they have changed since.
    """
    for _ in range(_SWAP_ATTEMPTS):
        seen, tables = uuids(warehouse) if tables is None else tables, None
        current = seen.get(entry.target, ops.NO_UUID)
        if current == entry.new_uuid:
            return True
        holder = next((name for name, uuid in seen.items() if uuid == entry.new_uuid and _is_loading(name)), None)
        if current != entry.old_uuid or holder is None:
            if holder is not None:
                # Gone before the journal says so: a late publisher must find nothing to put here.
                warehouse.drop(raw(holder))
            return False
        try:
            if _swap(warehouse, entry, holder, left):
                return True
        except WarehouseRefusedError as error:
            # Another publisher has renamed or swapped it in between: look again.
            if error.code not in (UNKNOWN_TABLE, TABLE_EXISTS):
                raise
    raise TransientError(f"raw.{entry.target} is being published by somebody else at this moment; run again")


def _swap(warehouse: Warehouse, entry: ops.Publish, holder: str, left: list[str]) -> bool:
    """Whether it was done here; `left` gets the name under which the old table then stands."""
    own = publisher_table(holder, _mark())
    warehouse.command(f"RENAME TABLE {raw(holder)} TO {raw(own)}")
    tables = uuids(warehouse)
    if tables.get(own) != entry.new_uuid or tables.get(entry.target, ops.NO_UUID) != entry.old_uuid:
        return False
    if entry.old_uuid == ops.NO_UUID:
        warehouse.command(f"RENAME TABLE {raw(own)} TO {raw(entry.target)}")
    else:
        warehouse.command(f"EXCHANGE TABLES {raw(entry.target)} AND {raw(own)}")
        left.append(own)
    return True


def _is_loading(name: str) -> bool:
    return run_of_loading_table(name) is not None


def _mark() -> str:
    """A mark that nobody else knows."""
    return secrets.token_hex(4)
