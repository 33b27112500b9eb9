"""Strategies of a load, by the `mode` of a table."""

from collections.abc import Callable

from warehouse import ops
from warehouse.client import Warehouse

from elt.pipeline.options import TableEntry
from elt.runs.modes.base import Mode
from elt.runs.modes.by_day import ByDay
from elt.runs.modes.full import Full
from elt.runs.modes.incremental import Incremental
from elt.sources.base import TableReader

_MODES: dict[str, Callable[[Warehouse, TableReader, ops.Run, str], Mode]] = {
    "full": Full,
    "incremental": Incremental,
    "by_day": ByDay,
}


def choose_mode(warehouse: Warehouse, reader: TableReader, run: ops.Run, entry: TableEntry) -> Mode:
    """The strategy of pipeline.yml for this table, which has looked at what is published."""
    return _MODES[entry.mode](warehouse, reader, run, entry.target_name)
