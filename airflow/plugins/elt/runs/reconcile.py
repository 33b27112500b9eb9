"""Compares what is published with the source, and changes nothing: rows that were missed or changed unseen, and rows that were deleted there.

A cursor sees neither a row that was deleted nor one that was written without a new cursor value (a restored dump, a trigger
that was switched off).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.errors import TerminalError

from elt.destination.inserts import years_held
from elt.pipeline.names import loading_table, publisher_table, raw
from elt.pipeline.options import TableEntry
from elt.planning.selection import choose
from elt.publishing import publish
from elt.publishing.leases import run_lease
from elt.runs.place import Place, place_of
from elt.runs.whole_run import run_key
from elt.settings import Settings
from elt.sources.base import Summed
from elt.verification.verify import Verified, verify


@dataclass(frozen=True)
class Compared:
    """One published table beside the source."""

    source: str
    target: str
    found: Verified


def reconcile(
    settings: Settings,
    *,
    source: str | None = None,
    tables: Sequence[str] | None = None,
    step: Callable[[str], None] = lambda _: None,
) -> list[Compared]:
    """Compares every incremental table of `source` that is published, of the main source without.

    Raises TerminalError when there is none, LeaseTakenError when a run is at work: a table must not be replaced meanwhile.
    """
    place = place_of(settings, source)
    chosen = [entry for entry in choose(place.entries(), tables) if entry.mode == "incremental"]
    if not chosen:
        raise TerminalError(
            "None of these tables is incremental, so that every run copies them whole; there is nothing to compare"
        )
    return _compare_all(place, chosen, step)


def compare_published(
    settings: Settings,
    *,
    source: str | None = None,
    tables: Sequence[str] | None = None,
    step: Callable[[str], None] = lambda _: None,
) -> list[Compared]:
    """Compares every table that is published, of any mode, with what the source has now. Raises as `reconcile` does."""
    place = place_of(settings, source)
    return _compare_all(place, choose(place.entries(), tables), step)


def _compare_all(place: Place, chosen: Sequence[TableEntry], step: Callable[[str], None]) -> list[Compared]:
    with Warehouse(place.settings.warehouse) as warehouse:
        ops.check_tables(warehouse)
        with run_lease(warehouse, place.name, holder=f"{run_key()}, comparing", tell=step):
            there, runs = publish.uuids(warehouse), ops.published_runs(warehouse)
            found = []
            for entry in chosen:
                if entry.target_name in there:
                    step(f"comparing {entry.name}")
                    found.append(_compare(place, warehouse, entry, runs.get(entry.target_name, records.microseconds())))
            return found


def _compare(place: Place, warehouse: Warehouse, entry: TableEntry, run: int) -> Compared:
    """`run` has published the table; by its number a sweep knows whose the scratch table is, should this process be cut."""
    label = f"compare {entry.name}"
    with place.source.hold([entry], label) as held, place.source.join([entry], label, held.instant) as session:
        reader = session.describe(entry, years_held(warehouse))
        if not isinstance(reader, Summed):
            raise TerminalError(f"{entry.name} cannot be compared: its source computes no checksums")
        scratch = publisher_table(loading_table(entry.target_name, run, 1), "d")
        warehouse.drop(raw(scratch))
        return Compared(str(entry.name), entry.target_name, verify(warehouse, reader, entry.target_name, scratch))
