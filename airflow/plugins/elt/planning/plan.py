"""The tables of a run: from pipeline.yml, the source's catalogue, or the plan file, which caches both.

The DAG file reads the plan file and never the source.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from warehouse.errors import TerminalError

from elt.pipeline.file import OnError, PipelineFile, TableEntry, collisions, read_pipeline
from elt.pipeline.names import TableName, target_problem
from elt.settings import Settings
from elt.sources.postgres.catalogue import list_tables, table_bytes
from elt.sources.postgres.origin import read_identity
from elt.sources.postgres.session import Source

_VERSION = 1

TASKS_OF_THEIR_OWN = 12
SMALL_BYTES = 64 << 20
SHARED_TABLES = 50
SHARED_BYTES = 512 << 20
"""With more small tables than this, they share tasks, each with a limited number of tables and bytes."""


@dataclass(frozen=True)
class PlannedTable:
    source: str
    """schema.table in the source."""
    target: str
    """Table in `raw`."""
    mode: str
    task: str = ""
    """Name of the task that it shares with other small tables; empty for its own task."""


Plan = tuple[PlannedTable, ...]


def read_plan(path: Path | str, pipeline: Path | str | None = None) -> Plan:
    """Returns the tables of the plan file, in its order. Does not connect to the source.

    Without a plan file it returns the tables of pipeline.yml (`pipeline`, or the file of ELT_PIPELINE) if they are a list, and none if they are `all`. Raises
    TerminalError if a file is malformed.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        file = read_pipeline(Path(pipeline or os.environ.get("ELT_PIPELINE") or "pipeline.yml"))
        return () if file.source.tables == "all" else _planned(file.source.tables)
    except (OSError, ValueError) as error:
        raise TerminalError(
            f"The plan {path} cannot be read ({error}); write it anew with python -m elt plan"
        ) from None
    try:
        if content["version"] != _VERSION:
            raise ValueError(f"version {content['version']}")
        return tuple(PlannedTable(t["source"], t["target"], t["mode"], t.get("task", "")) for t in content["tables"])
    except (KeyError, TypeError, ValueError) as error:
        raise TerminalError(
            f"The plan {path} is not one of this loader ({error!r}); write it anew with python -m elt plan"
        ) from None


def write_plan(settings: Settings) -> Plan:
    """Writes the plan file atomically, and returns the plan. Connects to the source if `tables` is `all`."""
    file = read_pipeline(settings.elt_pipeline)
    if file.source.tables == "all":
        with Source(settings, "elt plan") as source:
            plan = share_tasks(_planned(select_tables(file, source).entries), table_bytes(source))
    else:
        plan = _planned(file.source.tables)
    path = settings.elt_plan
    text = json.dumps({"version": _VERSION, "tables": [asdict(table) for table in plan]}, indent=2, ensure_ascii=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=path.name, delete=False
        ) as scratch:
            scratch.write(text + "\n")
        # Other users read the file: in a container Airflow's processes run as another user.
        Path(scratch.name).chmod(0o644)
        Path(scratch.name).replace(path)
    except OSError as error:
        raise TerminalError(f"The plan {path} cannot be written ({error.strerror}); correct ELT_PLAN") from None
    return plan


def share_tasks(plan: Plan, size: Mapping[str, int]) -> Plan:
    """Returns the plan; many small tables share tasks, because a task costs a second and most tables less.

    `size` is in bytes, by schema.table; a table without a size counts as large.
    """
    small = [table for table in plan if table.mode == "full" and size.get(table.source, SMALL_BYTES) < SMALL_BYTES]
    if len(small) <= TASKS_OF_THEIR_OWN:
        return plan
    shared: dict[str, str] = {}
    number = count = total = 0
    for table in small:
        if not count or count == SHARED_TABLES or total + size[table.source] > SHARED_BYTES:
            number, count, total = number + 1, 0, 0
        count, total = count + 1, total + size[table.source]
        shared[table.target] = f"small tables {number}"
    return tuple(replace(table, task=shared.get(table.target, "")) for table in plan)


@dataclass(frozen=True)
class LeftOut:
    """A table that `tables: all` cannot copy."""

    name: TableName
    target: str
    reason: str
    """Reason, as a clause."""


@dataclass(frozen=True)
class Selection:
    """The tables of pipeline.yml; with `tables: all` also the other tables of the source."""

    entries: tuple[TableEntry, ...]
    left_out: tuple[LeftOut, ...] = ()
    excluded: tuple[TableName, ...] = ()
    """Tables of `exclude:`."""
    withheld: tuple[TableName, ...] = ()
    """Tables that this role cannot read."""
    source: str = ""
    """The source's identity as text (elt.sources.postgres.origin); empty for a list, which needs no connection."""


def read_selection(settings: Settings) -> Selection:
    """Calls `select_tables`, with its own session if the file says `all`."""
    file = read_pipeline(settings.elt_pipeline)
    if file.source.tables != "all":
        return select_tables(file, None)
    with Source(settings, "elt tables") as source:
        return select_tables(file, source)


def select_tables(file: PipelineFile, source: Source | None) -> Selection:
    """Returns the entries of pipeline.yml, with `all` expanded and options applied.

    Reads `source` if the file says `all`. Raises TerminalError if two tables would share a name in `raw`.
    """
    entry = file.source
    if entry.tables != "all":
        return Selection(_with_on_error(entry.tables, entry.on_error))
    if source is None:
        raise ValueError("the tables of `all` are known to the source alone")
    special = {one.name: one for one in entry.options}
    chosen: list[TableEntry] = []
    left_out: list[LeftOut] = []
    excluded: list[TableName] = []
    withheld: list[TableName] = []
    for table in list_tables(source):
        name = table.name
        if name in special:
            # An explicitly named table is not left out; its load fails with a message of its own.
            chosen.append(special.pop(name))
        elif any(pattern.matches(name) for pattern in entry.exclude):
            excluded.append(name)
        elif not table.readable:
            withheld.append(name)
        elif table.problem:
            left_out.append(LeftOut(name, name.target, table.problem))
        else:
            chosen.append(TableEntry(name=name))
    entries = _with_on_error((*chosen, *special.values()), entry.on_error)
    mistakes = collisions([(one.name, one.target_name) for one in entries])
    for one in entries:
        if problem := target_problem(one.target_name):
            mistakes.append(f"raw.{one.target_name} {problem}")
    if mistakes:
        raise TerminalError(
            f"tables: all does not work here ({'; '.join(mistakes)}); name the tables under options: or exclude: in pipeline.yml"
        )
    identity = read_identity(source, source.address).text()
    return Selection(entries, tuple(left_out), tuple(excluded), tuple(withheld), identity)


def _with_on_error(entries: Sequence[TableEntry], on_error: OnError) -> tuple[TableEntry, ...]:
    return tuple(
        entry if entry.on_error is not None else entry.model_copy(update={"on_error": on_error}) for entry in entries
    )


def choose(
    entries: Sequence[TableEntry], wanted: Sequence[str] | None, left_out: Sequence[LeftOut] = ()
) -> tuple[TableEntry, ...]:
    """Returns the `wanted` entries, by their name in `raw` or in the source; all if None or empty.

    Raises TerminalError that names tables that are not in pipeline.yml, or are `left_out`.
    """
    if not wanted:
        if not entries:
            reasons = "".join(f"; {table.name} is left out: {table.reason}" for table in left_out)
            raise TerminalError(
                f"There is no table to copy; list some in pipeline.yml, or grant this role SELECT on them{reasons}"
            )
        return tuple(entries)
    for table in left_out:
        if {table.target, str(table.name)} & set(wanted):
            raise TerminalError(f"{table.name} is left out of tables: all: {table.reason}")
    unknown = [name for name in wanted if not any(name in (e.target_name, str(e.name)) for e in entries)]
    if unknown:
        names = ", ".join(entry.target_name for entry in entries)
        raise TerminalError(f"pipeline.yml has no table {', '.join(unknown)}; it has {names}")
    return tuple(entry for entry in entries if {entry.target_name, str(entry.name)} & set(wanted))


def _planned(entries: Sequence[TableEntry]) -> Plan:
    return tuple(PlannedTable(str(entry.name), entry.target_name, entry.mode) for entry in entries)
