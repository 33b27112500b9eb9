"""Compares the keys of incremental tables with the source: rows that were missed, and rows that were deleted there.

A cursor sees neither a row that was deleted nor one that was written without a new cursor value (a restored dump, a trigger
that was switched off).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from elt import ops, publish, statements
from elt.catalogue import read_table
from elt.errors import CountMismatchError, TerminalError
from elt.lock import run_lock
from elt.names import loading_table, publisher_table, quote_clickhouse, raw
from elt.pipeline import TableEntry
from elt.plan import choose
from elt.pump import CopyStream
from elt.run import LOCK_WAIT_SECONDS, all_entries
from elt.settings import Settings
from elt.snapshot import kinds
from elt.source import Source
from elt.statements import Shape
from elt.warehouse import Warehouse
from elt.whole_run import run_key

_EXAMPLES = 5


@dataclass(frozen=True)
class Compared:
    """What the keys of one table say."""

    target: str
    rows: int
    """Keys of the source."""
    missing: int
    """Keys of the source that readers of `raw` do not see."""
    deleted: int
    """Keys that readers of `raw` see, and the source no longer has."""
    examples: tuple[str, ...]
    """A few keys that were deleted, as text."""


def reconcile(
    settings: Settings, *, tables: Sequence[str] | None = None, step: Callable[[str], None] = lambda _: None
) -> list[Compared]:
    """Compares every incremental table that is published, and changes nothing. Reads only the keys.

    Raises TerminalError when there is none, RunLockedError when a run is at work: a table must not be replaced meanwhile.
    """
    chosen = [entry for entry in choose(all_entries(settings), tables) if entry.mode == "incremental"]
    if not chosen:
        raise TerminalError(
            "None of these tables is incremental, so that every run copies them whole; there is nothing to compare"
        )
    with Warehouse(settings) as warehouse:
        ops.check_tables(warehouse)
        with run_lock(settings, warehouse, holder=f"{run_key()}, reconciling", wait_seconds=LOCK_WAIT_SECONDS):
            there = publish.uuids(warehouse)
            found = []
            for entry in chosen:
                if entry.target_name in there:
                    step(f"comparing the keys of {entry.name}")
                    found.append(_compare(settings, warehouse, entry))
            return found


def _compare(settings: Settings, warehouse: Warehouse, entry: TableEntry) -> Compared:
    with Source(settings, f"elt reconcile {entry.name}", salted=bool(entry.mask)) as source:
        source.begin(kinds(source, [entry]), copies=True)
        whole = statements.shape(read_table(source, entry.name), entry, warehouse.years())
        shape = replace(
            whole,
            columns=tuple(column for column in whole.columns if column.name in whole.key),
            entry=entry.model_copy(update={"order_by": (), "partition_by": None}),
        )
        # The name of a loading table of a run that never was: the next run sweeps it should this process be cut.
        number = ops.microseconds()
        keys = publisher_table(loading_table(entry.target_name, number, 1), "c")
        warehouse.command(statements.create(shape, keys, number, ops.now(), changes=True))
        try:
            rows = _stream(warehouse, source, shape, keys, entry)
            return _difference(warehouse, shape, entry.target_name, keys, rows)
        finally:
            warehouse.drop(raw(keys))


def _stream(warehouse: Warehouse, source: Source, shape: Shape, keys: str, entry: TableEntry) -> int:
    stream = CopyStream(source.copying, statements.select(shape), lambda rows, size: None)
    written = warehouse.insert_text(raw(keys), shape.wire, stream.chunks())
    present = warehouse.count(raw(keys))
    if not stream.sent.rows == written == present:
        raise CountMismatchError(str(entry.name), stream.sent.rows, written, present)
    return present


def _difference(warehouse: Warehouse, shape: Shape, target: str, keys: str, rows: int) -> Compared:
    key, plain = shape.key_to_compare, ", ".join(quote_clickhouse(name) for name in shape.key)
    here, there = f"SELECT {key} FROM {raw(keys)}", f"SELECT {key} FROM {raw(target)}"
    missing = warehouse.rows(f"SELECT count() FROM {raw(keys)} WHERE ({key}) NOT IN ({there})")[0][0]
    gone = f"FROM {raw(target)} WHERE ({key}) NOT IN ({here})"
    deleted = warehouse.rows(f"SELECT uniqExact({key}) {gone}")[0][0]
    examples = warehouse.rows(f"SELECT DISTINCT toString(tuple({plain})) {gone} LIMIT {_EXAMPLES}") if deleted else []
    return Compared(target, rows, int(missing), int(deleted), tuple(str(row[0]) for row in examples))
