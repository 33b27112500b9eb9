"""A JSON API as a source. Its instant is a hash over the manifests that a load reads from the lake."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from warehouse.errors import PipelineError, TerminalError

from elt.errors import SnapshotGoneError, SourceRefusedError
from elt.lake import manifest as manifests
from elt.lake.manifest import Manifest
from elt.lake.store import Lake, ObjectMissingError
from elt.mapping import YearRange
from elt.pipeline.options import SourceEntry, TableEntry
from elt.settings import Settings
from elt.sources.base import Checked, CheckedTable, Selection
from elt.sources.rest.fetch import Fetcher
from elt.sources.rest.options import RestEndpoint, RestSource
from elt.sources.rest.table import COLUMNS, RestReader

_INSTANT = "lake:"
_ALL_DAYS = "all"
Tell = Callable[[str], None]


@dataclass
class RestHeld:
    """An instant of manifests. Nothing keeps the lake from being emptied: whoever reads it finds out."""

    instant: str
    horizon: datetime | None = None
    refused: Sequence[tuple[TableEntry, PipelineError]] = field(default=())

    def check(self) -> None:
        """Does nothing: objects stay as they are."""


class RestSession:
    """The tables of an API at one instant."""

    def __init__(
        self, lake: Lake, source: str, found: Mapping[str, tuple[Manifest, ...]], partition: str | None, instant: str
    ) -> None:
        self.instant = instant
        self._lake, self._source, self._found, self._partition = lake, source, found, partition
        self._cancelled = threading.Event()

    def describe(self, entry: TableEntry, years: YearRange) -> RestReader:
        if entry.target_name not in self._found:
            raise TerminalError(f"{entry.name} is not in the instant {self.instant}; start the whole run again")
        found = self._found[entry.target_name]
        return RestReader(self._lake, _endpoint(entry), found, self._partition, self._source, self._cancelled.is_set)

    def again(self) -> None:
        """Makes a cancelled session usable."""
        self._cancelled.clear()

    def cancel(self) -> None:
        self._cancelled.set()


def open_source(settings: Settings, entry: SourceEntry) -> Rest:
    """Returns the source of an entry; nothing is asked yet."""
    if not isinstance(entry, RestSource):
        raise TerminalError(f"The source {entry.name} is of kind {entry.kind}, not rest")
    return Rest(settings, entry)


class Rest:
    """An API as pipeline.yml has it, and what was fetched from it into the lake."""

    def __init__(self, settings: Settings, entry: RestSource, *, fetches: bool = True) -> None:
        self.entry: SourceEntry = entry
        self._settings, self._source, self._fetches = settings, entry, fetches
        self._lake = Lake(settings.lake_url)
        salt = settings.mask_salt.get_secret_value()
        self._fetcher = Fetcher(self._lake, entry, settings.url, salt, settings.redact)

    def from_lake(self) -> Rest:
        """Returns the source without the API: what was fetched last for a day is what it has."""
        return Rest(self._settings, self._source, fetches=False)

    def discover(self) -> Selection:
        return Selection(
            tuple(self._source.filled(endpoint) for endpoint in self._source.endpoints),
            identity=f"rest:{self._source.url}",
        )

    def check(self) -> Checked:
        """Asks for the first page of each endpoint."""
        tables: list[CheckedTable] = []
        mistakes: list[str] = []
        selection = self.discover()
        for entry in selection.entries:
            endpoint = _endpoint(entry)
            try:
                items = self._fetcher.first_page(endpoint, datetime.now(UTC).date())
            except PipelineError as error:
                mistakes.append(str(error))
                continue
            notes = (f"{len(items)} items on the first page",)
            tables.append(CheckedTable(endpoint.name, endpoint.target_name, None, len(COLUMNS), endpoint.key, notes))
        return Checked(tuple(tables), tuple(mistakes), selection=selection)

    def fetch(self, entry: TableEntry, run: int, day: date, tell: Tell) -> int:
        """Fetches a table's items of a day into the lake, unless this run has done so; returns how many there are."""
        return self._manifest(_endpoint(entry), run, day, tell).items

    @contextmanager
    def hold(self, entries: Sequence[TableEntry], label: str) -> Iterator[RestHeld]:
        """Holds what was fetched last for each day. Asks the API for nothing."""
        yield self._held({entry.target_name: self._all_days(_endpoint(entry)) for entry in entries}, None, ())

    @contextmanager
    def hold_day(
        self, entries: Sequence[TableEntry], run: int, day: date, *, whole: bool, tell: Tell = lambda _: None
    ) -> Iterator[RestHeld]:
        """Fetches a day where this run has not done so, and holds it; with `whole` every other day, too, as it was fetched last."""
        found: dict[str, Sequence[Manifest]] = {}
        refused: list[tuple[TableEntry, PipelineError]] = []
        for entry in entries:
            endpoint = _endpoint(entry)
            try:
                one = self._manifest(endpoint, run, day, tell)
            except PipelineError as error:
                if entry.on_error != "keep":
                    raise
                refused.append((entry, error))
                continue
            others = [other for other in self._all_days(endpoint) if other.day != day] if whole else []
            found[entry.target_name] = sorted([*others, one], key=lambda manifest: manifest.day)
        yield self._held(found, None if whole else day, refused)

    @contextmanager
    def join(self, entries: Sequence[TableEntry], label: str, instant: str) -> Iterator[RestSession]:
        kind, _, rest = instant.partition(":")
        partition, _, digest = rest.partition(":")
        if f"{kind}:" != _INSTANT or not digest:
            raise SnapshotGoneError(instant)
        try:
            found = manifests.read_instant(self._lake, self._source.name, digest)
        except ObjectMissingError:
            raise SnapshotGoneError(instant) from None
        yield RestSession(self._lake, self._source.name, found, None if partition == _ALL_DAYS else partition, instant)

    def comments(self, entry: TableEntry) -> Mapping[str, str]:
        return {}

    def replaced(self, was: str, now: str) -> str:
        """Returns nothing: days of one table may come from several addresses of an API."""
        return ""

    def _held(
        self,
        found: Mapping[str, Sequence[Manifest]],
        day: date | None,
        refused: Sequence[tuple[TableEntry, PipelineError]],
    ) -> RestHeld:
        digest = manifests.write_instant(self._lake, self._source.name, dict(found))
        return RestHeld(f"{_INSTANT}{day or _ALL_DAYS}:{digest}", refused=tuple(refused))

    def _manifest(self, endpoint: RestEndpoint, run: int, day: date, tell: Tell) -> Manifest:
        if self._fetches:
            found = manifests.of_run(self._lake, self._source.name, endpoint.name, day, run)
            return found or self._fetcher.fetch(endpoint, day, run, tell)
        last = manifests.of_day(self._lake, self._source.name, endpoint.name, day)
        if last is None:
            raise SourceRefusedError(
                f"{self._source.name}.{endpoint.name}: the lake has nothing of {day}; fetch it: python -m elt fetch {self._source.name} --dt {day}"
            )
        return last

    def _all_days(self, endpoint: RestEndpoint) -> tuple[Manifest, ...]:
        found = manifests.days(self._lake, self._source.name, endpoint.name)
        newest = (manifests.of_day(self._lake, self._source.name, endpoint.name, day) for day in found)
        return tuple(one for one in newest if one is not None)


def _endpoint(entry: TableEntry) -> RestEndpoint:
    if not isinstance(entry, RestEndpoint):
        raise TerminalError(f"{entry.name} is no endpoint; python -m elt plan writes the list of tables anew")
    return entry
