"""The plan file: the tables of each source, as its DAG shows them. The DAG file reads it and never a source."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from warehouse.errors import PipelineError, TerminalError

from elt.errors import PipelineFileError
from elt.pipeline.file import PipelineFile
from elt.pipeline.options import SourceEntry, TableEntry
from elt.planning.selection import select_tables
from elt.settings import Settings
from elt.sources.registry import open_source, read_pipeline

_VERSION = 2

TASKS_OF_THEIR_OWN = 12
SMALL_BYTES = 64 << 20
SHARED_TABLES = 50
SHARED_BYTES = 512 << 20
"""With more small tables than this, they share tasks, each with a limited number of tables and bytes."""


@dataclass(frozen=True)
class PlannedTable:
    source: str
    """Name at the source."""
    target: str
    """Table in `raw`."""
    mode: str
    task: str = ""
    """Name of the task that it shares with other small tables; empty for its own task."""


@dataclass(frozen=True)
class PlannedSource:
    name: str
    kind: str
    main: bool
    """Whether its DAG is `elt_pipeline`."""
    schedule: str | None
    """As in pipeline.yml; None where that says nothing."""
    tables: tuple[PlannedTable, ...]


Plan = tuple[PlannedSource, ...]


def read_plan(path: Path | str, pipeline: Path | str | None = None) -> Plan:
    """Returns the sources of the plan file with their tables, in its order. Does not connect to a source.

    A source that the plan file lacks is planned from pipeline.yml (`pipeline`, or the file of ELT_PIPELINE): its list, or nothing where it says
    `tables: all`; one that pipeline.yml lacks is not in the plan any more. While pipeline.yml has mistakes the plan stays as it was written: a run
    begins, fails with the mistakes, and somebody is told. Raises TerminalError if a file is malformed and there is no plan in its place.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        content = None
    except (OSError, ValueError) as error:
        raise TerminalError(
            f"The plan {path} cannot be read ({error}); write it anew with python -m elt plan"
        ) from None
    try:
        written = () if content is None else _read(content)
    except (KeyError, TypeError, ValueError) as error:
        raise TerminalError(
            f"The plan {path} is not one of this loader ({error!r}); write it anew with python -m elt plan"
        ) from None
    try:
        file = read_pipeline(Path(pipeline or os.environ.get("ELT_PIPELINE") or "pipeline.yml"))
    except PipelineFileError:
        if not written:
            raise
        return written
    # A plan of version 1 knew one source, and not its name.
    known = {source.name or file.main.name: source.tables for source in written}
    return tuple(
        _planned_source(file, source, known[source.name] if source.name in known else _listed(source))
        for source in file.sources
    )


def _read(content: Mapping[str, Any]) -> Plan:
    version = content["version"]
    if version == 1:
        return (PlannedSource("", "postgres", True, None, _read_tables(content["tables"])),)
    if version != _VERSION:
        raise ValueError(f"version {version}")
    return tuple(
        PlannedSource(one["name"], one["kind"], one["main"], one["schedule"], _read_tables(one["tables"]))
        for one in content["sources"]
    )


def _read_tables(tables: object) -> tuple[PlannedTable, ...]:
    if not isinstance(tables, list):
        raise TypeError("tables")
    return tuple(PlannedTable(t["source"], t["target"], t["mode"], t.get("task", "")) for t in tables)


def write_plan(settings: Settings, source: str | None = None, *, tell: Callable[[str], None] = lambda _: None) -> Plan:
    """Writes the plan file atomically, and returns the plan. Connects to the sources that say `tables: all`.

    With `source` only that one is planned anew. One that cannot be planned now keeps its tables, and `tell` gets a sentence; the error of
    the only one, or of `source`, is raised.
    """
    file = read_pipeline(settings.elt_pipeline)
    before = {one.name: one.tables for one in _plan_before(settings)}
    planned: list[PlannedSource] = []
    for entry in file.sources:
        if source not in (None, entry.name) and entry.name in before:
            tables = before[entry.name]
        else:
            try:
                selection = select_tables(file, open_source(settings, entry))
                tables = share_tasks(_planned(selection.entries), selection.sizes)
            except PipelineError as error:
                if len(file.sources) == 1 or entry.name == source:
                    raise
                tell(f"the tables of {entry.name} stay as they were: {error}")
                tables = before.get(entry.name, _listed(entry))
        planned.append(_planned_source(file, entry, tables))
    content = {"version": _VERSION, "sources": [asdict(one) for one in planned]}
    _write(settings.elt_plan, json.dumps(content, indent=2, ensure_ascii=False))
    return tuple(planned)


def _plan_before(settings: Settings) -> Plan:
    try:
        return read_plan(settings.elt_plan, settings.elt_pipeline) if settings.elt_plan.exists() else ()
    except TerminalError:
        return ()


def _write(path: Path, text: str) -> None:
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


def share_tasks(tables: tuple[PlannedTable, ...], size: Mapping[str, int]) -> tuple[PlannedTable, ...]:
    """Returns the tables; many small ones share tasks, because a task costs a second and most tables less.

    `size` is in bytes, by name in `raw`; a table without a size counts as large.
    """
    small = [table for table in tables if table.mode == "full" and size.get(table.target, SMALL_BYTES) < SMALL_BYTES]
    if len(small) <= TASKS_OF_THEIR_OWN:
        return tables
    shared: dict[str, str] = {}
    number = count = total = 0
    for table in small:
        if not count or count == SHARED_TABLES or total + size[table.target] > SHARED_BYTES:
            number, count, total = number + 1, 0, 0
        count, total = count + 1, total + size[table.target]
        shared[table.target] = f"small tables {number}"
    return tuple(replace(table, task=shared.get(table.target, "")) for table in tables)


def _planned_source(file: PipelineFile, source: SourceEntry, tables: tuple[PlannedTable, ...]) -> PlannedSource:
    return PlannedSource(source.name, source.kind, source is file.main, source.schedule, tables)


def _listed(source: SourceEntry) -> tuple[PlannedTable, ...]:
    return _planned(source.entries) if source.is_complete else ()


def _planned(entries: Sequence[TableEntry]) -> tuple[PlannedTable, ...]:
    return tuple(PlannedTable(str(entry.name), entry.target_name, entry.mode) for entry in entries)
