"""The protocols of a source: what the loader asks, whatever the kind. A kind is a folder beside this file and a line in the registry.

A source is made without a connection. It discovers its tables and holds an instant, which other processes join by its text. Joined, each of
its tables describes itself as a mapping to the warehouse and is read as a stream. What only some sources can do is a protocol of its own
below `TableReader`; the loader asks for it by isinstance and does without where it is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal, Protocol, runtime_checkable

from warehouse.errors import PipelineError

from elt.mapping import TableMapping, YearRange
from elt.pipeline.options import SourceEntry, TableEntry

FARTHEST_ZONE = timedelta(hours=14)
"""How far a wall clock may be ahead of UTC: a cursor beyond now and this is of no clock, but a mistake."""

Tick = Callable[[int, int], None]
"""Callback, about once a second, with the estimated rows and the bytes so far."""


@dataclass
class Sent:
    """Rows and bytes that the source says it sent, after the end of a stream."""

    rows: int = 0
    bytes: int = 0


class Stream(Protocol):
    """The rows of one read. `sent` counts and `error` is set when `chunks` has ended."""

    format: str
    """ClickHouse's name of the input format, such as TabSeparated; text is UTF-8."""
    columns: tuple[str, ...]
    """Wire columns (TableMapping.wire), in the order in which they are sent."""
    sent: Sent
    error: Exception | None
    """The error of the read itself, if it failed."""

    def chunks(self) -> Generator[memoryview, None, None]:
        """Yields the bytes in pieces, in constant memory; a piece is valid until the next one is requested.

        Ends only when the source has said that it was complete. A read that fails raises here, which aborts the insert.
        """
        ...


class TableReader(Protocol):
    """One table at one instant. For one thread at a time."""

    @property
    def mapping(self) -> TableMapping: ...

    def read(self, condition: str | None, tick: Tick) -> Stream:
        """The rows that meet `condition`, in the source's own language; all if None."""
        ...


class Session(Protocol):
    """The tables of one source at one instant. For one thread at a time, except `cancel`."""

    instant: str
    """Text of the instant."""

    def describe(self, entry: TableEntry, years: YearRange) -> TableReader:
        """The table with its mapping to a warehouse that stores `years`. Raises TerminalError where pipeline.yml and the table do not fit."""
        ...

    def again(self) -> None:
        """Makes the session usable after an error, at the same instant. Raises SnapshotGoneError where that is gone."""
        ...

    def cancel(self) -> None:
        """Stops what another thread reads; that read raises."""
        ...


class Held(Protocol):
    """An instant while it is held."""

    instant: str
    """Opens the instant elsewhere, by Source.join."""
    horizon: datetime | None
    """An instant, UTC, before which no transaction had begun that may still commit rows; None where nobody can tell."""
    refused: Sequence[tuple[TableEntry, PipelineError]]
    """Tables of `on_error: keep` that could not be held, and why."""

    def check(self) -> None:
        """Raises TransientError where the instant is gone."""
        ...


@dataclass(frozen=True)
class LeftOut:
    """A table of the source that cannot be copied."""

    name: str
    """At the source."""
    target: str
    reason: str
    """Reason, as a clause."""


@dataclass(frozen=True)
class Selection:
    """The tables of a run: those of pipeline.yml, and with `tables: all` the other tables of the source."""

    entries: tuple[TableEntry, ...]
    left_out: tuple[LeftOut, ...] = ()
    excluded: tuple[str, ...] = ()
    """Names of tables that `exclude:` leaves out."""
    withheld: tuple[str, ...] = ()
    """Names of tables that the source does not let this role read."""
    identity: str = ""
    """The source's identity as text; empty for a list, which needs no connection."""
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of some tables, by their name in `raw`; one without counts as large."""


@dataclass(frozen=True)
class CheckedTable:
    """Description of a table for `python -m elt check`."""

    source: str
    target: str
    rows: int | None
    """About, where the source knows."""
    columns: int
    key: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checked:
    """Result of a look at the source without copying."""

    tables: tuple[CheckedTable, ...] = ()
    mistakes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    selection: Selection = Selection(())


class Source(Protocol):
    """One source of pipeline.yml. Every method raises PipelineError: TransientError where a repetition may help, TerminalError where not."""

    entry: SourceEntry

    def discover(self) -> Selection:
        """The tables of a run, with names in `raw` and `on_error` filled in."""
        ...

    def check(self) -> Checked:
        """Looks at every table without copying it. Raises only where nothing more can be looked at."""
        ...

    def hold(self, entries: Sequence[TableEntry], label: str) -> AbstractContextManager[Held]:
        """Holds one instant of all these tables in the body. `label` names the reader to the source's people."""
        ...

    def join(self, entries: Sequence[TableEntry], label: str, instant: str) -> AbstractContextManager[Session]:
        """Opens an instant that this process or another one holds. Raises SnapshotGoneError where it is gone."""
        ...

    def comments(self, entry: TableEntry) -> Mapping[str, str]:
        """Descriptions that the source has of the table ("") and of its columns."""
        ...

    def replaced(self, was: str, now: str) -> str:
        """Why identity `now` is not the source of identity `was` (Selection.identity), as a clause; empty if it is."""
        ...


@runtime_checkable
class Daily(Source, Protocol):
    """A source of which a run brings one day, UTC, by way of the lake."""

    def from_lake(self) -> Daily:
        """The source as the lake has it: nothing is fetched."""
        ...

    def fetch(self, entry: TableEntry, run: int, day: date, tell: Callable[[str], None]) -> int:
        """Fetches a table's day into the lake, unless this run has done so; returns the number of its rows. Safe to repeat at any point."""
        ...

    def hold_day(
        self, entries: Sequence[TableEntry], run: int, day: date, *, whole: bool, tell: Callable[[str], None]
    ) -> AbstractContextManager[Held]:
        """As `hold`, of the day, which is fetched where the run has not done so; `whole`: of every other day of the lake, too."""
        ...


# What only some tables can do.


@runtime_checkable
class Divided(TableReader, Protocol):
    """A table of which a load brings one partition."""

    partition: str | None
    """Its value as text; None where the load brings every partition."""


@runtime_checkable
class Versioned(Protocol):
    """A table that knows whether it has changed, so that an unchanged one is not read again. Its `mapping` is not asked for before."""

    def version(self) -> str:
        """Equal for two instants only where every row and the mapping are equal. Known without reading the rows."""
        ...

    def changes_since(self, before: str) -> str:
        """A sentence on what is gone since the version `before`; empty where a person need not know."""
        ...


class RangeReader(TableReader, Protocol):
    """One range of a table."""

    def cancel(self) -> None:
        """Stops what another thread reads here; that read raises."""
        ...


@runtime_checkable
class Ranged(RangeReader, Protocol):
    """A table that several sessions can read at once."""

    def ranges(self, warehouse_host: str) -> Sequence[str | None]:
        """Conditions that divide the table, each for a session of its own; one where a second would not help."""
        ...

    def beside(self, number: int) -> AbstractContextManager[RangeReader]:
        """The same table at the same instant by another session."""
        ...


@runtime_checkable
class Explaining(TableReader, Protocol):
    """A table that finds the value because of which a load failed."""

    def explain(self, condition: str | None, cause: PipelineError) -> PipelineError | None:
        """The error that names column, row and value; None where no value explains `cause`."""
        ...


@dataclass(frozen=True)
class Cursor:
    """The column that grows with every change of a row."""

    name: str
    """In `raw`."""
    kind: Literal["instant", "wall clock", "date", "number"]
    """`instant` is UTC; a `wall clock` and a `date` are of some zone."""


@dataclass(frozen=True)
class Instants:
    """Instants that one load judges cursors by, read once."""

    now: datetime
    """Start of the load, UTC."""
    horizon: datetime | None = None
    """A transaction that was open at the run's instant may yet commit rows from then on, UTC; None where nobody can tell."""
    wall: datetime | None = None
    """The horizon as the cursor's own clock shows it; None where the cursor is an instant or a number, or nobody knows the horizon."""

    @property
    def latest(self) -> datetime:
        """The latest that any clock on earth shows now, as a wall clock."""
        return (self.now + FARTHEST_ZONE).replace(tzinfo=None)


@dataclass(frozen=True)
class Difference:
    """The changes between two origins."""

    reason: str = ""
    """Why the load cannot continue the published rows, as a clause; empty if it can."""
    attached: tuple[int, ...] = ()
    """Parts of the table that are new, whose rows may be older than the watermark."""
    detached: tuple[str, ...] = ()
    """Names of removed parts; their rows stay in `raw`, like deleted rows."""


@runtime_checkable
class Followed(TableReader, Protocol):
    """A table that is followed by a cursor."""

    cursor: Cursor

    def origin(self) -> str:
        """Where its rows come from, as text; what goes on from published rows must be of one origin."""
        ...

    def compare(self, before: str) -> Difference:
        """Compares its origin with one `before`. An empty one, of a load by an older version, is trusted once."""
        ...

    def instants(self, now: datetime, horizon: datetime | None) -> Instants: ...

    def changed(self, watermark: str, attached: Sequence[int]) -> str:
        """The condition of rows to read again: those at or past the watermark minus the lookback, and those of `attached` parts."""
        ...

    def estimate(self, condition: str | None) -> float:
        """About how many rows meet the condition."""
        ...

    def count_duplicates(self, condition: str) -> int:
        """How many keys stand in more than one row, one of which meets the condition."""
        ...


@dataclass(frozen=True)
class Number:
    """A column whose values are compared by 64-bit numbers: elt.sources.sums."""

    name: str
    """In `raw`."""
    clickhouse: str
    """Expression over the copied value, a signed 64-bit integer."""
    nullable: bool
    """Whether the number may be NULL."""


Sums = Mapping[int, tuple[int, ...]]
"""By bucket: the number of rows, the checksum of the rows, and the checksum of each column."""


@runtime_checkable
class Summed(TableReader, Protocol):
    """A table whose values can be compared with their copy by checksums."""

    def numbers(self) -> tuple[Number, ...]:
        """Every column of the mapping, in its order."""
        ...

    def sums(self, columns: Sequence[str], buckets: int, beat: Callable[[], None], *, again: bool = False) -> Sums:
        """Checksums of these columns (elt.sources.sums), the key's among them; `beat` is called about once a second.

        `again`: read anew, in another way if the source has one, to tell values that differ each time they are read.
        """
        ...

    def rows_in(self, columns: Sequence[str], buckets: Sequence[int], tick: Tick) -> Stream:
        """The rows of these buckets as numbers: columns elt.sources.sums.number(0), .., and PADDING."""
        ...
