"""The tables of a run: those that the source discovers, checked against the other sources, or those that somebody asks for."""

from __future__ import annotations

from collections.abc import Sequence

from warehouse.errors import TerminalError

from elt.pipeline.file import PipelineFile, problems
from elt.pipeline.options import SourceEntry, TableEntry
from elt.sources.base import LeftOut, Selection, Source


def select_tables(file: PipelineFile, source: Source) -> Selection:
    """Returns what the source discovers. Raises TerminalError if two tables would share a name in `raw`."""
    selection = source.discover()
    if source.entry.is_complete and all(other.is_complete for other in file.sources):
        # Whoever read the file has looked at the names.
        return selection
    others = [other for other in file.sources if other.name != source.entry.name]
    if mistakes := problems([(str(one.name), one) for one in selection.entries], others):
        raise TerminalError(
            f"tables: all does not work here ({'; '.join(mistakes)}); name the tables under options: or exclude: in pipeline.yml"
        )
    return selection


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
        if {table.target, table.name} & set(wanted):
            raise TerminalError(f"{table.name} is left out of tables: all: {table.reason}")
    unknown = [name for name in wanted if not any(name in names_of(entry) for entry in entries)]
    if unknown:
        names = ", ".join(entry.target_name for entry in entries)
        raise TerminalError(f"pipeline.yml has no table {', '.join(unknown)}; it has {names}")
    return tuple(entry for entry in entries if names_of(entry) & set(wanted))


def names_of(entry: TableEntry) -> set[str]:
    """Names by which people ask for a table: in `raw`, and in the source."""
    return {entry.target_name, str(entry.name)}


def sources_of(file: PipelineFile, wanted: Sequence[str]) -> list[tuple[SourceEntry, tuple[str, ...]]]:
    """The sources that are asked for, each with the tables of it that are; none means all of them.

    A name is a source's, or a table's. Without any name it is every source. Raises TerminalError as `owner_of` does.
    """
    if not wanted:
        return [(source, ()) for source in file.sources]
    found: dict[str, list[str]] = {}
    whole: set[str] = set()
    for name in wanted:
        if any(source.name == name for source in file.sources):
            whole.add(name)
            found.setdefault(name, [])
            continue
        found.setdefault(owner_of(file, name).name, []).append(name)
    return [(file.find(name), () if name in whole else tuple(tables)) for name, tables in found.items()]


def owner_of(file: PipelineFile, name: str) -> SourceEntry:
    """The source of a table, which is named as in `raw` or as at its source.

    A name that no list of the file has is that of the source whose name begins it, else of the main source. Raises TerminalError
    where a name at the source may mean more than one.
    """
    for source in file.sources:
        if any(entry.target_name == name for entry in source.entries):
            return source
    if beginning := next((one for one in file.sources if one.prefix and name.startswith(one.prefix)), None):
        return beginning
    listed = {one.name: entry.target_name for one in file.sources for entry in one.entries if str(entry.name) == name}
    if not file.main.is_complete and file.main.name not in listed:
        # It may have any table.
        listed[file.main.name] = ""
    if len(listed) > 1:
        meant = ", ".join(f"{target} ({source})" if target else source for source, target in listed.items())
        raise TerminalError(
            f"{name} may be a table of {' or '.join(listed)}; say its name in raw, or the source: {meant}"
        )
    return file.find(next(iter(listed), file.main.name))
