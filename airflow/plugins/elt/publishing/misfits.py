"""Finds rows of ops.publishes that contradict the tables in `raw`; they must not swap anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from uuid import UUID

from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.swap import NO_UUID

from elt.pipeline.names import loading_table, unmarked
from elt.publishing.keeping import kept
from elt.publishing.publish import uuids


@dataclass(frozen=True)
class SortedJournal:
    """Open rows of the journal, sorted: rows to continue, and rows to set aside, already closed."""

    publishes: tuple[ops.Publish, ...]
    set_aside: tuple[ops.Publish, ...]


def sort_out(warehouse: Warehouse, journal: Sequence[ops.Publish]) -> SortedJournal:
    """Compares open rows with the recorded runs and loads and with the tables of `raw`.

    If a row does not fit, or a table is missing, the whole run is set aside. Exception: a run interrupted between its swaps; then the rows that fit
    continue, so that no half of a publish stays.
    """
    tables = {uuid: name for name, uuid in uuids(warehouse).items()}
    runs = ops.known_runs(warehouse, (entry.run for entry in journal))
    publishes: list[ops.Publish] = []
    set_aside: list[ops.Publish] = []
    for number, group in groupby(sorted(journal, key=lambda entry: entry.run), key=lambda entry: entry.run):
        entries = list(group)
        reasons = _reasons(warehouse, runs.get(number), entries, tables)
        publishes += [entry for entry in entries if entry.target not in reasons]
        set_aside += [_set_aside(entry, reasons[entry.target]) for entry in entries if entry.target in reasons]
    return SortedJournal(tuple(publishes), tuple(set_aside))


def describe(entry: ops.Publish) -> str:
    """Returns a sentence for people about a row that was set aside."""
    return f"A row of ops.publishes was set aside and has moved nothing: raw.{entry.target}, run {entry.run}: {entry.error}"


def _reasons(
    warehouse: Warehouse, run: ops.Run | None, entries: Sequence[ops.Publish], tables: Mapping[UUID, str]
) -> dict[str, str]:
    """Returns, by target, why its row is set aside."""
    if run is None:
        return {entry.target: "ops.runs has no such run" for entry in entries}
    loads = ops.loads(warehouse, run.run)
    attempts = _attempts(loads)
    newest = {publish.target: publish.run for publish in ops.latest_publishes(warehouse)}
    reasons = {}
    for entry in entries:
        reason = _reason(entry, run, attempts, tables, newest.get(entry.target, 0))
        if reason is not None:
            reasons[entry.target] = reason
    fitting = {entry.target for entry in entries if entry.target not in reasons}
    closed = {entry.target for entry in ops.publishes(warehouse, run.run) if entry.status == "done"}
    # A kept table has no row in the journal.
    lacking = set(run.tables) - fitting - closed - {load.target for load in kept(loads)}
    begun = closed or any(tables.get(e.new_uuid) == e.target for e in entries if e.target in fitting)
    if lacking and not begun:
        whole = f"the run publishes all of its tables or none, and {', '.join(sorted(lacking))} has no row that fits"
        reasons |= dict.fromkeys(fitting, whole)
    return reasons


def _attempts(loads: Sequence[ops.Load]) -> dict[str, set[str]]:
    """Returns, by target, the loading tables of its finished attempts, without a publisher's mark."""
    tables: dict[str, set[str]] = {}
    for load in loads:
        if load.status in ("loaded", "published"):
            tables.setdefault(load.target, set()).add(loading_table(load.target, load.run, load.try_))
    return tables


def _reason(
    entry: ops.Publish, run: ops.Run, attempts: Mapping[str, set[str]], tables: Mapping[UUID, str], newest: int
) -> str | None:
    holder = tables.get(entry.new_uuid)
    attempt = unmarked(entry.loading_table)
    if entry.target not in run.tables:
        return "the run does not copy this table"
    if attempt not in attempts.get(entry.target, ()):
        return f"ops.loads has no finished load of it into {entry.loading_table or 'a table without a name'}"
    if entry.new_uuid in (NO_UUID, entry.old_uuid):
        return "its new_uuid is not that of a new table"
    if holder not in (None, entry.target) and unmarked(holder) != attempt:
        return f"its new_uuid is that of raw.{holder}"
    if holder != entry.target and newest > run.run:
        return f"run {newest} began later and has published already"
    return None


def _set_aside(entry: ops.Publish, reason: str) -> ops.Publish:
    return replace(entry, status="set_aside", closed_at=records.now(), error=reason)
