"""The source of a run: with the file that names it, and the settings that open it."""

from __future__ import annotations

from dataclasses import dataclass

from warehouse import ops
from warehouse.errors import TerminalError

from elt.pipeline.file import PipelineFile
from elt.pipeline.options import SourceEntry, TableEntry
from elt.planning.selection import select_tables
from elt.settings import Settings
from elt.sources.base import Daily, Source
from elt.sources.registry import open_source, read_pipeline


@dataclass(frozen=True)
class Place:
    """A source as the runs see it: with the file that names it, and the settings that open it."""

    settings: Settings
    file: PipelineFile
    source: Source

    @property
    def name(self) -> str:
        return self.source.entry.name

    def adopts(self, name: str) -> bool:
        """Whether runs of the source of that name are this one's to clear up: pipeline.yml does not have it any more."""
        return adopts(self.file, self.name, name)

    def entries(self) -> tuple[TableEntry, ...]:
        """All of its tables; asks the source only where pipeline.yml does not list them."""
        return select_tables(self.file, self.source).entries


def place_of(settings: Settings, name: str | None = None) -> Place:
    """The source of that name in pipeline.yml; the main one without. Raises TerminalError where there is none."""
    file = read_pipeline(settings.elt_pipeline)
    entry = file.find(name) if name else file.main
    return Place(settings, file, open_source(settings, entry))


def daily(place: Place) -> Daily:
    """The source, which is read by the day. Raises TerminalError for any other source."""
    if not isinstance(place.source, Daily):
        kind = place.source.entry.kind
        raise TerminalError(
            f"{place.name} is of kind {kind}, which is not read by the day; leave out --dt and --from-lake"
        )
    return place.source


def entry_of(settings: Settings, run: ops.Run) -> SourceEntry:
    """The source of a run; the main one for runs from before there were several."""
    file = read_pipeline(settings.elt_pipeline)
    return file.find(run.source_name) if run.source_name else file.main


def adopts(file: PipelineFile, own: str, name: str) -> bool:
    """Whether `own`, the main source, clears up after a source that the file does not have any more."""
    return own == file.main.name and all(source.name != name for source in file.sources)
