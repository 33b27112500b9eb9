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

from elt.destination import statements
from elt.destination.inserts import years_held
from elt.pipeline.file import TableEntry
from elt.pipeline.names import loading_table, publisher_table
from elt.planning.plan import choose
from elt.publishing import publish
from elt.publishing.leases import run_lease
from elt.runs.run import all_entries, source_name
from elt.runs.snapshot import kinds
from elt.runs.whole_run import run_key
from elt.settings import Settings
from elt.sources.postgres.catalogue import read_table
from elt.sources.postgres.session import Source
from elt.verification.verify import Verified, verify


@dataclass(frozen=True)
class Compared:
    """One published table beside the source."""

    source: str
    target: str
    found: Verified


def reconcile(
    settings: Settings, *, tables: Sequence[str] | None = None, step: Callable[[str], None] = lambda _: None
) -> list[Compared]:
    """Compares every incremental table that is published.

    Raises TerminalError when there is none, LeaseTakenError when a run is at work: a table must not be replaced meanwhile.
    """
    chosen = [entry for entry in choose(all_entries(settings), tables) if entry.mode == "incremental"]
    if not chosen:
        raise TerminalError(
            "None of these tables is incremental, so that every run copies them whole; there is nothing to compare"
        )
    return _compare_all(settings, chosen, step)


def compare_published(
    settings: Settings, *, tables: Sequence[str] | None = None, step: Callable[[str], None] = lambda _: None
) -> list[Compared]:
    """Compares every table that is published, of any mode, with what the source has now. Raises as `reconcile` does."""
    return _compare_all(settings, choose(all_entries(settings), tables), step)


def _compare_all(settings: Settings, chosen: Sequence[TableEntry], step: Callable[[str], None]) -> list[Compared]:
    with Warehouse(settings.warehouse) as warehouse:
        ops.check_tables(warehouse)
        with run_lease(warehouse, source_name(settings), holder=f"{run_key()}, comparing", tell=step):
            there = publish.uuids(warehouse)
            found = []
            for entry in chosen:
                if entry.target_name in there:
                    step(f"comparing {entry.name}")
                    found.append(_compare(settings, warehouse, entry))
            return found


def _compare(settings: Settings, warehouse: Warehouse, entry: TableEntry) -> Compared:
    with Source(settings, f"elt compare {entry.name}", salted=bool(entry.mask)) as source:
        source.begin(kinds(source, [entry]), copies=True)
        mapping = statements.map_table(read_table(source, entry.name), entry, years_held(warehouse))
        # The name of a loading table of a run that never was: the next run sweeps it should this process be cut.
        scratch = publisher_table(loading_table(entry.target_name, records.microseconds(), 1), "d")
        return Compared(
            str(entry.name), entry.target_name, verify(warehouse, source, mapping, entry.target_name, scratch)
        )
