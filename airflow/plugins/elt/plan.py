"""Which tables a run copies: from pipeline.yml, the source's catalogue, or the plan file that remembers both.

The DAG file reads the plan file and never the source.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from elt.catalogue import Reads, list_tables, table_bytes
from elt.errors import TerminalError
from elt.names import target_problem
from elt.pipeline import PipelineFile, TableEntry, collisions, read_pipeline
from elt.settings import Settings
from elt.source import Source

_VERSION = 1

TASKS_OF_THEIR_OWN = 12
SMALL_BYTES = 64 << 20
SHARED_TABLES = 50
SHARED_BYTES = 512 << 20
"""When there are more small tables than so many, they share tasks, each of so many tables and bytes at most."""


@dataclass(frozen=True)
class PlannedTable:
    source: str
    """schema.table in the source."""
    target: str
    """Table in `raw`."""
    mode: str
    task: str = ""
    """Name of the task that loads it together with other small tables; empty for a task of its own."""


Plan = tuple[PlannedTable, ...]


def read_plan(path: Path | str, pipeline: Path | str | None = None) -> Plan:
    """The tables of the plan file, in its order. Touches no source.

    Where there is no plan file yet, the tables of pipeline.yml (`pipeline`, or the file that ELT_PIPELINE names) when
    they are a list, and none when they are `all`. Raises TerminalError when a file is malformed.
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
    """Writes the plan file whole or not at all, and returns it. Reads the source where `tables` is `all`."""
    file = read_pipeline(settings.elt_pipeline)
    if file.source.tables == "all":
        with Source(settings, "elt plan") as source:
            plan = share_tasks(_planned(entries(file, source)), table_bytes(source))
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
        # Other users read it: Airflow's processes in a container are not the one that wrote it.
        Path(scratch.name).chmod(0o644)
        Path(scratch.name).replace(path)
    except OSError as error:
        raise TerminalError(f"The plan {path} cannot be written ({error.strerror}); correct ELT_PLAN") from None
    return plan


def share_tasks(plan: Plan, size: Mapping[str, int]) -> Plan:
    """The plan, with small tables sharing tasks where there are many: a task costs a second, and most tables less.

    `size` is in bytes, by schema.table; a table that is not in it is taken for a large one.
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


def entries(file: PipelineFile, source: Reads) -> tuple[TableEntry, ...]:
    """The entries of pipeline.yml, with `all` spelled out and its options. Raises TerminalError when two would share a name in `raw`."""
    if file.source.tables != "all":
        return file.source.tables
    special = {entry.name: entry for entry in file.source.options}
    names = list_tables(source)
    whole = (special.pop(name) if name in special else TableEntry(name=name) for name in names)
    found = (*whole, *special.values())
    mistakes = collisions([(entry.name, entry.target_name) for entry in found])
    for entry in found:
        if problem := target_problem(entry.target_name):
            mistakes.append(f"raw.{entry.target_name} {problem}")
    if mistakes:
        raise TerminalError(f"tables: all does not work here ({'; '.join(mistakes)}); list the tables in pipeline.yml")
    return found


def choose(found: Sequence[TableEntry], wanted: Sequence[str] | None) -> tuple[TableEntry, ...]:
    """The entries that are `wanted`, by their name in `raw` or in the source; all when None or empty.

    Raises TerminalError that names what is not in pipeline.yml.
    """
    if not wanted:
        if not found:
            raise TerminalError(
                "There is no table to copy; list some in pipeline.yml, or grant this role SELECT on them"
            )
        return tuple(found)
    unknown = [name for name in wanted if not any(name in (e.target_name, str(e.name)) for e in found)]
    if unknown:
        known = ", ".join(entry.target_name for entry in found)
        raise TerminalError(f"pipeline.yml has no table {', '.join(unknown)}; it has {known}")
    return tuple(entry for entry in found if {entry.target_name, str(entry.name)} & set(wanted))


def _planned(found: Sequence[TableEntry]) -> Plan:
    return tuple(PlannedTable(str(entry.name), entry.target_name, entry.mode) for entry in found)
