"""A folder of files as a source. Its instant is the list of files with the hashes of their bytes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from warehouse.errors import PipelineError, TerminalError

from elt.errors import SnapshotGoneError
from elt.mapping import WIDE, YearRange
from elt.pipeline.options import SourceEntry, TableEntry
from elt.settings import Settings
from elt.sources.base import Checked, CheckedTable, Selection
from elt.sources.files.folder import FilesChangedError, FoundFile, Hashes, digest, find
from elt.sources.files.options import FilesSource, FilesTable
from elt.sources.files.table import FilesReader, RejectsReader

_INSTANT = "files:"
_Found = Mapping[str, tuple[FoundFile, ...]]
"""Files by the table's name in `raw`."""


@dataclass
class FilesHeld:
    """An instant of files. Nothing keeps the files from changing: whoever reads them finds out."""

    instant: str
    horizon: datetime | None = None
    refused: Sequence[tuple[TableEntry, PipelineError]] = field(default=())

    def check(self) -> None:
        """Does nothing: rows that are loaded stay of the instant, and a read of a changed file fails by itself."""


class FilesSession:
    """The tables of a folder at one instant."""

    def __init__(self, source: str, found: _Found, instant: str) -> None:
        self.instant = instant
        self._source = source
        self._found = found
        self._cancelled = threading.Event()

    def describe(self, entry: TableEntry, years: YearRange) -> FilesReader | RejectsReader:
        """The table; its mapping reads all of its files to know the types."""
        table = _table(entry)
        reader = RejectsReader if table.holds_rejects else FilesReader
        return reader(self._source, table, self._found[table.target_name], years, self._cancelled.is_set)

    def again(self) -> None:
        """Makes a cancelled session usable."""
        self._cancelled.clear()

    def cancel(self) -> None:
        self._cancelled.set()


def open_source(settings: Settings, entry: SourceEntry) -> Files:
    """Returns the source of an entry; no file is looked at yet."""
    if not isinstance(entry, FilesSource):
        raise TerminalError(f"The source {entry.name} is of kind {entry.kind}, not files")
    return Files(entry)


class Files:
    """A folder of files as pipeline.yml has it."""

    def __init__(self, entry: FilesSource) -> None:
        self.entry: SourceEntry = entry
        self._tables = entry.entries
        self._folder = entry.folder
        self._hashes = Hashes()

    def discover(self) -> Selection:
        entries: list[TableEntry] = []
        sizes: dict[str, int] = {}
        for table in map(self._filled, self._tables):
            entries.append(table)
            try:
                sizes[table.target_name] = sum(file.size for file in find(self._folder, table))
            except PipelineError:
                # Told when the table is held, which may keep what is published.
                continue
        return Selection(tuple(entries), identity=f"{_INSTANT}{self._folder}", sizes=sizes)

    def check(self) -> Checked:
        tables: list[CheckedTable] = []
        mistakes: list[str] = []
        selection = self.discover()
        for entry in selection.entries:
            table = _table(entry)
            if table.holds_rejects:
                continue
            try:
                files = self._hashes.read(find(self._folder, table))
                reader = FilesReader(self.entry.name, table, files, WIDE, lambda: False)
                mapping = reader.mapping
            except PipelineError as error:
                mistakes.append(str(error))
                continue
            tables.append(
                CheckedTable(
                    table.name,
                    table.target_name,
                    mapping.estimated_rows,
                    len(mapping.columns),
                    mapping.key,
                    reader.notes,
                )
            )
        return Checked(tuple(tables), tuple(mistakes), selection=selection)

    @contextmanager
    def hold(self, entries: Sequence[TableEntry], label: str) -> Iterator[FilesHeld]:
        found: dict[str, tuple[FoundFile, ...]] = {}
        hashed: dict[str, tuple[FoundFile, ...]] = {}
        refused: list[tuple[TableEntry, PipelineError]] = []
        for entry in entries:
            try:
                found |= self._read([entry], hashed)
            except PipelineError as error:
                if entry.on_error != "keep":
                    raise
                refused.append((entry, error))
        digests = {target: digest(files) for target, files in found.items()}
        yield FilesHeld(_INSTANT + json.dumps(digests, separators=(",", ":"), sort_keys=True), refused=tuple(refused))

    @contextmanager
    def join(self, entries: Sequence[TableEntry], label: str, instant: str) -> Iterator[FilesSession]:
        digests = _digests(instant)
        found = self._read(entries, {})
        for target, files in found.items():
            if digests.get(target) != digest(files):
                raise FilesChangedError(f"A file of {target} in {self._folder}")
        yield FilesSession(self.entry.name, found, instant)

    def comments(self, entry: TableEntry) -> Mapping[str, str]:
        return {}

    def replaced(self, was: str, now: str) -> str:
        """Returns nothing: files that are copied whole may come from another folder."""
        return ""

    def _read(self, entries: Sequence[TableEntry], hashed: dict[str, tuple[FoundFile, ...]]) -> _Found:
        """Returns the files of tables with the hashes of their bytes; adds to `hashed` those of each pattern, which are read once."""
        tables = [_table(entry) for entry in entries]
        for table in tables:
            if table.path not in hashed:
                hashed[table.path] = self._hashes.read(find(self._folder, table))
        return {table.target_name: hashed[table.path] for table in tables}

    def _filled(self, table: FilesTable) -> FilesTable:
        return table.model_copy(
            update={
                "target": table.target or f"{self.entry.prefix}{table.plain_target}",
                "on_error": table.on_error or self.entry.on_error,
            }
        )


def _table(entry: TableEntry) -> FilesTable:
    if not isinstance(entry, FilesTable):
        raise TerminalError(f"{entry.name} is no table of files; python -m elt plan writes the list of tables anew")
    return entry


def _digests(instant: str) -> Mapping[str, str]:
    if not instant.startswith(_INSTANT):
        raise SnapshotGoneError(instant)
    return cast(Mapping[str, str], json.loads(instant.removeprefix(_INSTANT)))
