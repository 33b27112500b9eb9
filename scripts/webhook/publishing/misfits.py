"""Finds journal entries that contradict the tables in `analytics`; they must not swap anything."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import groupby

from warehouse import records
from warehouse.client import Warehouse
from warehouse.swap import NO_UUID

from webhook.publishing.journal import Entry
from webhook.publishing.names import DATABASE, MARK, target_of
from webhook.publishing.relations import Relation, holder, relations

NOT_PUBLISHABLE = ("MaterializedView", "Dictionary")


@dataclass(frozen=True)
class SortedJournal:
    """Open entries, sorted: publishes to continue in order, and entries to set aside, already closed."""

    publishes: tuple[tuple[Entry, ...], ...]
    set_aside: tuple[Entry, ...]


def sort_out(warehouse: Warehouse, entries: Sequence[Entry]) -> SortedJournal:
    """Compares open entries with the recorded runs and the tables in `analytics`.

    If one entry does not fit, its whole attempt is set aside. Exception: an attempt interrupted between its swaps; then the entries that fit
    continue, so that no half of a publish stays.
    """
    known = _known_runs(warehouse, {entry.run_id for entry in entries})
    existing = relations(warehouse)
    publishes, set_aside = [], []
    for (run_id, attempt), group in groupby(sorted(entries, key=_by_attempt), key=lambda e: (e.run_id, e.attempt)):
        whole = tuple(group)
        reasons = {entry.target: reason for entry in whole if (reason := _reason(entry, existing, known))}
        fitting = tuple(entry for entry in whole if entry.target not in reasons)
        if reasons and not any(_is_done(entry, existing) for entry in fitting):
            others = (
                f"nothing of attempt {attempt} of run {run_id} is published, since {', '.join(reasons)} does not fit"
            )
            reasons |= {entry.target: others for entry in fitting}
            fitting = ()
        if fitting:
            publishes.append(fitting)
        set_aside += [_set_aside(entry, reasons[entry.target]) for entry in whole if entry.target in reasons]
    publishes.sort(key=lambda publish: min(entry.opened_at for entry in publish))
    return SortedJournal(tuple(publishes), tuple(set_aside))


def describe(entry: Entry) -> str:
    """Returns a sentence for people about an entry that was set aside."""
    return (
        f"A row of ops.dbt_publishes was set aside and has moved nothing: {DATABASE}.{entry.target},"
        f" run {entry.run_id}, attempt {entry.attempt}: {entry.error}"
    )


def _reason(entry: Entry, existing: Mapping[str, Relation], known_runs: AbstractSet[str]) -> str | None:
    if entry.run_id not in known_runs:
        return "ops.dbt_runs has no such run"
    if not entry.target or MARK in entry.target:
        return "its target is not the name of a published table"
    if entry.new_uuid in (NO_UUID, entry.old_uuid):
        return "its new_uuid is not that of a new table"
    for column, uuid in (("new_uuid", entry.new_uuid), ("old_uuid", entry.old_uuid)):
        name = holder(uuid, existing)
        if name not in (None, entry.target) and target_of(name) != entry.target:
            return f"its {column} is that of {DATABASE}.{name}"
        if column == "new_uuid" and name is not None and existing[name].engine in NOT_PUBLISHABLE:
            return f"its new_uuid is that of a {existing[name].engine}"
    return None


def _is_done(entry: Entry, existing: Mapping[str, Relation]) -> bool:
    return holder(entry.new_uuid, existing) == entry.target


def _set_aside(entry: Entry, reason: str) -> Entry:
    return replace(entry, status="set_aside", closed_at=records.now(), error=reason)


def _known_runs(warehouse: Warehouse, run_ids: AbstractSet[str]) -> set[str]:
    rows = warehouse.rows(
        "SELECT DISTINCT id FROM ops.dbt_runs WHERE id IN {ids:Array(String)}", {"ids": sorted(run_ids)}
    )
    return {run_id for (run_id,) in rows}


def _by_attempt(entry: Entry) -> tuple[str, int]:
    return entry.run_id, entry.attempt
