"""Tables that are not copied: those that are gone at the source while their copy stays in `raw`, and those that `tables: all` leaves out.

A copy that nobody refreshes looks like any other. So every run records which tables are absent, since when and why (ops.absences), and says so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from warehouse import ops, records
from warehouse.client import Warehouse, in_parallel
from warehouse.quoting import quote

from elt.pipeline.file import PipelineFile
from elt.pipeline.names import raw
from elt.pipeline.options import SourceEntry
from elt.sources.base import Selection, Source

_NAMED = 5
"""How many tables a note names of each kind."""
_LARGEST_SHARE = 10
"""At most one in so many published tables may be gone, for the copies of those to be dropped."""
_RUNS_BEFORE_DROP = 2


@dataclass(frozen=True)
class Absences:
    """The tables that are absent now, and the published ones by the run that published them last."""

    found: tuple[ops.Absence, ...]
    over: tuple[ops.Absence, ...]
    """Those that were absent at the run before, and are no longer."""
    published: Mapping[str, int]

    @property
    def gone(self) -> tuple[ops.Absence, ...]:
        return tuple(one for one in self.found if one.status == "gone")

    @property
    def left_out(self) -> tuple[ops.Absence, ...]:
        return tuple(one for one in self.found if one.status == "left out")


def find_absences(
    warehouse: Warehouse, file: PipelineFile, source: SourceEntry, selection: Selection, *, run: int = 0
) -> Absences:
    """Compares the selection of the source with what is published of it. Changes nothing.

    What was published before there were several sources, or by one that the file does not have any more, counts for the main source.
    """
    all_published: dict[str, int] = {}
    owners: dict[str, str] = {}
    all_known: list[ops.Absence] = []
    in_parallel(
        lambda: all_published.update(ops.published_runs(warehouse)),
        lambda: owners.update(ops.published_by(warehouse)),
        lambda: all_known.extend(ops.absences(warehouse)),
    )
    names = {one.name for one in file.sources}

    def is_own(owner: str) -> bool:
        return (owner if owner in names else file.main.name) == source.name

    def taken_out(target: str) -> str:
        """The source that has published the table, where pipeline.yml does not have it any more."""
        owner = owners.get(target, "")
        return owner if owner and owner not in names else ""

    published = {target: run for target, run in all_published.items() if is_own(owners.get(target, ""))}
    known = [one for one in all_known if is_own(one.source_name)]
    before = {(one.target, one.source): one for one in known if one.status in ("gone", "left out")}
    chosen = {entry.target_name for entry in selection.entries}
    now = records.now()
    gone = [target for target in published if target not in chosen]
    sources = ops.published_sources(warehouse, gone) if gone else {}
    found = [
        ops.Absence(
            name, target, "gone", _reason(source, selection, name, taken_out(target)), now, run, now, source.name
        )
        for target in gone
        if (name := sources.get(target, ""))
    ]
    found += [
        ops.Absence(table.name, table.target, "left out", table.reason, now, run, now, source.name)
        for table in selection.left_out
        if table.target not in published
    ]
    keys = {(one.target, one.source) for one in found}
    over = [
        replace(one, status=status, run=run, seen_at=now)
        for one in known
        if (one.target, one.source) not in keys and (status := _ended(one, chosen)) != one.status
    ]
    since = [
        replace(one, since=before[key].since) if (key := (one.target, one.source)) in before else one for one in found
    ]
    return Absences(tuple(since), tuple(over), published)


def _ended(one: ops.Absence, chosen: Collection[str]) -> str:
    """The status of an absence that a run does not find any more."""
    if one.target in chosen or one.status == "left out":
        return "over"
    # Somebody else has dropped the copy.
    return "dropped" if one.status == "gone" else one.status


def follow(
    warehouse: Warehouse, file: PipelineFile, source: Source, selection: Selection, run: int, *, drop: bool
) -> str:
    """Records the absences that a run finds, and with `drop` drops the copies that `on_gone: drop` lets go. Returns the run's note.

    A copy is dropped when two runs have succeeded without its table, unless the source is another one than it came from, more than a tenth
    of the published tables is gone, or a view of the warehouse reads it.
    """
    absences = find_absences(warehouse, file, source.entry, selection, run=run)
    found = list(absences.found)
    kept: dict[str, str] = {}
    if drop and source.entry.drops_gone and absences.gone:
        for one in absences.gone:
            kept[one.target] = _why_kept(warehouse, source, selection, absences, one)
            if not kept[one.target]:
                warehouse.drop(raw(one.target))
                found[found.index(one)] = replace(one, status="dropped")
    if found or absences.over:
        records.append(warehouse, [*found, *absences.over])
    return note(found, kept)


def note(found: Sequence[ops.Absence], kept: Mapping[str, str]) -> str:
    """Sentences on the absent tables; `kept` says of a table that is gone why its copy is not dropped."""
    sentences = []
    for status in ("dropped", "gone", "left out"):
        some = [one for one in found if one.status == status]
        sentences += [describe(one, kept.get(one.target, "")) for one in some[:_NAMED]]
        if len(some) > _NAMED:
            sentences.append(f"{len(some) - _NAMED} more tables are {status}: python -m elt status names them")
    return "; ".join(sentences)


def describe(one: ops.Absence, kept: str = "") -> str:
    """A sentence on an absent table."""
    since = f"{one.since:%Y-%m-%d %H:%M} UTC"
    if one.status == "left out":
        return f"{one.source} is left out since {since}: {one.reason}"
    if one.status == "dropped":
        return f"raw.{one.target} was dropped (on_gone: drop): {one.source} is gone since {since}, {one.reason}"
    because = f"; it is not dropped, because {kept}" if kept else ""
    return f"raw.{one.target} stays as it was published, and {one.source} is not copied since {since}: {one.reason}{because}"


def _reason(source: SourceEntry, selection: Selection, name: str, taken_out: str) -> str:
    """Why a table that was copied is not any more, as a clause."""
    if again := next((entry for entry in selection.entries if str(entry.name) == name), None):
        return f"it is copied as raw.{again.target_name} now"
    if taken_out:
        return f"pipeline.yml has no source {taken_out} any more"
    if source.is_complete:
        return "pipeline.yml does not list it any more"
    if name in selection.excluded:
        return "exclude: in pipeline.yml names it"
    if name in selection.withheld:
        return "this role may not read it any more"
    if problem := next((table.reason for table in selection.left_out if table.name == name), ""):
        return problem
    return "the source has no such table (dropped, renamed, or a view that options: does not name any more)"


def _why_kept(warehouse: Warehouse, source: Source, selection: Selection, absences: Absences, one: ops.Absence) -> str:
    """Why the copy of a table that is gone must not be dropped, as a clause; empty where it may."""
    count, published = len(absences.gone), len(absences.published)
    if count * _LARGEST_SHARE > published:
        return f"{count} of {published} published tables are gone, which is more than a tenth"
    came_from = ops.find_run(warehouse, absences.published[one.target]).source
    if not came_from:
        return "the run that published it recorded no source"
    if reason := source.replaced(came_from, selection.identity):
        return f"the source is another one: {reason}"
    if readers := views_that_read(warehouse, one.target):
        return f"{', '.join(readers)} reads it"
    runs = ops.successes_since(warehouse, source.entry.name, one.since)
    if runs < _RUNS_BEFORE_DROP:
        return f"only {runs} of {_RUNS_BEFORE_DROP} runs have succeeded without it"
    return ""


def views_that_read(warehouse: Warehouse, target: str) -> list[str]:
    """Views outside `raw` whose query names `raw.<target>`, as database.view."""
    views = warehouse.rows(
        "SELECT database || '.' || name, create_table_query FROM system.tables"
        " WHERE engine IN ('View', 'MaterializedView') AND database NOT IN ('raw', 'system', 'information_schema', 'INFORMATION_SCHEMA')"
        " ORDER BY 1"
    )
    plain, quoted = re.escape(target), re.escape(quote(target))
    reads = re.compile(rf"(?<![\w`.])(?:raw|`raw`)\.(?:{quoted}|{plain}(?![\w]))")
    return [str(name) for name, query in views if reads.search(str(query))]
