"""An incremental load that would read most of its table takes a full copy instead, which costs less from a share of the rows on.

Both are right at the same snapshot; a full copy follows deletes besides. The planner says how many rows there are to read, and where
its statistics are silent the load stays incremental.
"""

from __future__ import annotations

from dataclasses import replace

from elt.destination import statements
from elt.destination.statements import TableMapping
from elt.runs.modes import incremental
from elt.runs.modes.incremental import Base, Start
from elt.sources.postgres.catalogue import Reads, estimate_rows

WHOLE_FROM_SHARE = 0.6
"""Share of a table's rows from which an incremental load costs more than a full copy: 0.48 to 0.53 of rows that are published already,
0.53 to 0.69 of new ones (`benchmarks/run.sh copy --only share`, tables of 1M and 5M rows)."""
SMALL_ROWS = 100_000
"""Below this either is done within a moment, and a table would change its mode again and again for nothing."""


def take_the_cheaper(source: Reads, mapping: TableMapping, start: Start) -> Start:
    """The start of a full copy in place of an incremental load that would cost more, with a note; else `start`."""
    if start.base is None:
        return start
    whole = estimate_rows(source, f"SELECT FROM {mapping.table.name.sql}{statements.where(mapping)}")
    if not costs_more(whole, whole):
        # Not even a load that reads every row: the planner need not be asked for how many it reads.
        return start
    rows = _rows_to_read(source, mapping, start.base, whole)
    if not costs_more(rows, whole):
        return start
    note = (
        f"{mapping.table.name} is copied whole: by the planner's estimate an incremental load would read {min(rows / whole, 1):.0%} of "
        f"its rows, and from {WHOLE_FROM_SHARE:.0%} on a full copy costs less"
    )
    return Start(None, note, start.watermark)


def costs_more(rows: float, whole: float) -> bool:
    """Whether an incremental load of so many rows costs more than a full copy of the table with `whole` rows."""
    return whole >= SMALL_ROWS and rows > WHOLE_FROM_SHARE * whole


def _rows_to_read(source: Reads, mapping: TableMapping, base: Base, whole: float) -> float:
    # The planner takes every row for one of an attached partition: it knows one value of tableoid in each.
    condition = incremental.condition(mapping, replace(base, attached=()))
    rows = estimate_rows(source, f"SELECT FROM {mapping.table.name.sql}{statements.where(mapping, condition)}")
    if mapping.table.estimated_rows and not mapping.entry.where:
        # Rows that came after the last ANALYZE, or with a partition, are not in the statistics of the cursor. But the planner counts
        # them by the size of the table: what is beyond the published rows is to be read.
        rows = max(rows, whole - base.rows)
    return rows
