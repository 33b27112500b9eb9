"""Loads of one day, when another day was published after they had begun: they take over that table's other days."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.errors import TerminalError
from warehouse.quoting import literal
from warehouse.swap import NO_UUID

from elt.pipeline.names import publisher_table, raw

BY_DAY = "by_day"


def onto_published(
    warehouse: Warehouse, run: ops.Run, attempts: Sequence[ops.Load], present: Mapping[str, UUID]
) -> list[ops.Load]:
    """Returns the loads of a run of one day, each on top of what is published now; `present` are the tables of `raw`.

    Call it only while holding the lease of the source, and that for publishing. Safe to repeat at any point. Raises TerminalError for a run of all
    days: nobody knows which of them are newer.
    """
    last = {load.target: load for load in attempts if load.status in ("loaded", "published")}
    moved: dict[str, ops.Load] = {}
    for target, load in last.items():
        now = present.get(target, NO_UUID)
        if load.mode != BY_DAY or load.status != "loaded" or load.base_uuid == now or load.loading_table not in present:
            continue
        if run.full_refresh:
            raise TerminalError(
                f"raw.{target} was published by another run while run {run.run} loaded every day of it; start a new run"
            )
        moved[target] = _moved(warehouse, run.day, load, now)
    return [moved[load.target] if load is last.get(load.target) and load.target in moved else load for load in attempts]


def _moved(warehouse: Warehouse, day: str, load: ops.Load, now: UUID) -> ops.Load:
    own = publisher_table(load.loading_table, secrets.token_hex(4))
    if now == NO_UUID:
        raise TerminalError(
            f"raw.{load.target} was dropped while its day {day} was loaded; "
            f"load every day that the lake has: python -m elt load {load.target} --full-refresh"
        )
    warehouse.command(f"CREATE TABLE {raw(own)} CLONE AS {raw(load.target)}")
    warehouse.command(f"ALTER TABLE {raw(own)} DROP PARTITION {literal(day)}")
    warehouse.command(f"ALTER TABLE {raw(own)} ATTACH PARTITION {literal(day)} FROM {raw(load.loading_table)}")
    found = replace(load, loading_table=own, base_uuid=now, rows_present=warehouse.count(raw(own)))
    records.append(warehouse, [found])
    warehouse.drop(raw(load.loading_table))
    return found
