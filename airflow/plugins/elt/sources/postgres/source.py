"""Postgres as a source: its tables, the instant that a run holds, and each table at that instant (elt.sources.base)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from warehouse.errors import PipelineError

from elt.mapping import YearRange
from elt.pipeline.options import SourceEntry, TableEntry
from elt.settings import Settings
from elt.sources.base import Checked, Difference, Instants, LeftOut, Selection, Sums, Tick
from elt.sources.postgres import check, cursor, horizon, statements
from elt.sources.postgres.catalogue import Kind, estimate_rows, find_kind, list_tables, read_table, table_bytes
from elt.sources.postgres.comparing.canonical import Canonical
from elt.sources.postgres.comparing.sums import Compared, numbers_of, rows_query, sums_query
from elt.sources.postgres.explain import explain
from elt.sources.postgres.mapping import PostgresMapping, map_table
from elt.sources.postgres.names import TableName
from elt.sources.postgres.options import PostgresSource, PostgresTable
from elt.sources.postgres.origin import Origin, SourceIdentity, compare, other_source, read_identity, read_origin
from elt.sources.postgres.ranges import find_ranges
from elt.sources.postgres.sessions.pump import CopyStream
from elt.sources.postgres.sessions.server import Server
from elt.sources.postgres.sessions.session import CopySession, Session
from elt.sources.sums import PADDING, WORD, number

Tables = Sequence[tuple[TableName, Kind]]


def open_source(settings: Settings, entry: SourceEntry) -> Postgres:
    """Raises TerminalError where the variable of its address is empty."""
    if not isinstance(entry, PostgresSource):
        raise TypeError(f"{entry.name} is of kind {entry.kind}")
    return Postgres(Server.of(settings, entry), entry)


class Postgres:
    """One database of pipeline.yml."""

    def __init__(self, server: Server, entry: PostgresSource) -> None:
        self.entry = entry
        self._server = server
        self._kinds: dict[TableName, Kind] = {}

    def discover(self) -> Selection:
        """The tables of pipeline.yml; for `tables: all` those that the catalogue lists, without a connection otherwise."""
        if self.entry.is_complete:
            return Selection(self.entry.entries)
        with self._session("elt tables") as session:
            return select_tables(self.entry, session)

    def check(self) -> Checked:
        with self._session("elt check") as session:
            selection = select_tables(self.entry, session)
            return check.check(self._server, self.entry, session, selection)

    @contextmanager
    def hold(self, entries: Sequence[TableEntry], label: str) -> Iterator[HeldSnapshot]:
        """Holds a snapshot in which no table can be altered or emptied, with every table locked before it is taken."""
        with self._session(f"elt snapshot {label}") as session:
            # Before the snapshot: a transaction that is open at the snapshot was open here already, or begins after this.
            oldest = horizon.read_horizon(session)
            refused = self._lock_what_can_be(session, entries)
            yield HeldSnapshot(session.export_snapshot(), oldest, refused, session)

    @contextmanager
    def join(self, entries: Sequence[TableEntry], label: str, instant: str) -> Iterator[PostgresSession]:
        """Every table is locked before the first copy: an ALTER that queues up behind the holder would otherwise stand between the
        holder and the loads that it waits for."""
        salted = any(isinstance(entry, PostgresTable) and entry.mask for entry in entries)
        with self._session(f"elt load {label}", salted=salted) as session:
            tables = self._tables(session, entries)
            session.begin(tables, instant, copies=True)
            yield PostgresSession(self._server, self.entry, session, tables, instant)

    def comments(self, entry: TableEntry) -> Mapping[str, str]:
        with self._session("elt comments") as session:
            return check.read_comments(session, _own(entry).name)

    def replaced(self, was: str, now: str) -> str:
        try:
            one, other = (SourceIdentity(**json.loads(text)) for text in (was, now))
        except (TypeError, ValueError):
            return "it was copied from a source of another kind"
        return other_source(one, other, any_host=self.entry.any_host)

    def _session(self, application: str, *, salted: bool = False) -> Session:
        return Session(self._server, application, salted=salted)

    def _tables(self, session: Session, entries: Sequence[TableEntry]) -> list[tuple[TableName, Kind]]:
        """The kind of each table, which decides how it is locked. Raises SourceRefusedError when one is missing."""
        for entry in entries:
            name = _own(entry).name
            if name not in self._kinds:
                self._kinds[name] = find_kind(session, name)[1]
        return [(name := _own(entry).name, self._kinds[name]) for entry in entries]

    def _lock_what_can_be(
        self, session: Session, entries: Sequence[TableEntry]
    ) -> list[tuple[TableEntry, PipelineError]]:
        """Begins the transaction with every table locked; returns those of `on_error: keep` that cannot be, with the reason.

        Raises the PipelineError of any other table.
        """
        try:
            session.begin(self._tables(session, entries))
            return []
        except PipelineError:
            session.execute("ROLLBACK")
            refused = [
                (entry, error)
                for entry in entries
                if entry.on_error == "keep" and (error := self._lock_problem(session, entry))
            ]
            if not refused:
                raise
        lockable = [entry for entry in entries if all(entry is not one for one, _ in refused)]
        session.begin(self._tables(session, lockable))
        return refused

    def _lock_problem(self, session: Session, entry: TableEntry) -> PipelineError | None:
        try:
            session.begin(self._tables(session, [entry]))
        except PipelineError as error:
            return error
        finally:
            # Raises where it is the session that failed, and not the table.
            session.execute("ROLLBACK")
        return None


@dataclass(frozen=True)
class HeldSnapshot:
    """A snapshot that other sessions can import while its transaction is open."""

    instant: str
    horizon: datetime | None
    refused: Sequence[tuple[TableEntry, PipelineError]]
    session: Session

    def check(self) -> None:
        self.session.rows("SELECT 1")


class PostgresSession:
    """The tables of a database in one snapshot."""

    def __init__(self, server: Server, entry: PostgresSource, session: Session, tables: Tables, instant: str) -> None:
        self.instant = instant
        self._server, self._entry, self._session, self._tables = server, entry, session, tables

    def describe(self, entry: TableEntry, years: YearRange) -> PostgresReader:
        own = _own(entry)
        mapping = map_table(read_table(self._session, own.name), own, years)
        return PostgresReader(self._server, self._entry, self._session, mapping, self.instant)

    def again(self) -> None:
        self._session.reopen()
        self._session.begin(self._tables, self.instant, copies=True)

    def cancel(self) -> None:
        self._session.cancel()


class PostgresRange:
    """Some rows of a table in one snapshot, by a copying session."""

    def __init__(self, copying: CopySession, mapping: PostgresMapping) -> None:
        self.mapping = mapping
        self._copying = copying

    def read(self, condition: str | None, tick: Tick) -> CopyStream:
        return CopyStream(self._copying, statements.select(self.mapping, condition), self.mapping.wire, tick)

    def cancel(self) -> None:
        self._copying.cancel()


class PostgresReader(PostgresRange):
    """A table in one snapshot, by a pair of sessions: one asks, the other copies."""

    mapping: PostgresMapping

    def __init__(
        self, server: Server, entry: PostgresSource, session: Session, mapping: PostgresMapping, instant: str
    ) -> None:
        super().__init__(session.copying, mapping)
        self._server, self._entry, self._session, self._instant = server, entry, session, instant
        if mapping.incremental:
            self.cursor = cursor.cursor_of(mapping)

    # By ranges.

    def ranges(self, warehouse_host: str) -> Sequence[str | None]:
        return find_ranges(self._session, self.mapping, (self._session.host, warehouse_host))

    @contextmanager
    def beside(self, number: int) -> Iterator[PostgresRange]:
        table = self.mapping.table
        label, tables = f"elt range {number + 1} {table.name}", [(table.name, table.kind)]
        with self._session.copy_session(label, tables, self._instant) as copying:
            yield PostgresRange(copying, self.mapping)

    # By a cursor.

    def origin(self) -> str:
        return self._read_origin().text()

    def compare(self, before: str) -> Difference:
        copied = frozenset(column.source_name for column in self.mapping.columns)
        return compare(before, self._read_origin(), copied, any_host=self._entry.any_host)

    def _read_origin(self) -> Origin:
        return read_origin(self._session, self.mapping.table, self._session.address)

    def instants(self, now: datetime, oldest: datetime | None) -> Instants:
        return cursor.read_instants(self._session, self.mapping, now, oldest)

    def changed(self, watermark: str, attached: Sequence[int]) -> str:
        return cursor.changed(self.mapping, watermark, attached)

    def estimate(self, condition: str | None) -> float:
        name, where = self.mapping.table.name.sql, statements.where(self.mapping, condition)
        return estimate_rows(self._session, f"SELECT FROM {name}{where}")

    def count_duplicates(self, condition: str) -> int:
        return int(self._session.rows(statements.count_duplicates(self.mapping, condition))[0][0])

    # By its values.

    def explain(self, condition: str | None, cause: PipelineError) -> PipelineError | None:
        return explain(self._server, self.mapping, condition, cause)

    def numbers(self) -> tuple[Canonical, ...]:
        return numbers_of(self.mapping)

    def sums(self, columns: Sequence[str], buckets: int, beat: Callable[[], None], *, again: bool = False) -> Sums:
        query = sums_query(Compared.of(self.mapping, columns), buckets)
        rows: Sequence[Sequence[object]]
        if again:
            # By the other session, in the same snapshot.
            rows = self._session.rows(query)
        else:
            text = bytearray()
            for chunk in self._copying.copy(query):
                text += chunk
                beat()
            rows = [line.split("\t") for line in text.decode().splitlines()]
        return {int(str(row[0])): tuple(int(str(value)) % WORD for value in row[1:]) for row in rows}

    def rows_in(self, columns: Sequence[str], buckets: Sequence[int], tick: Tick) -> CopyStream:
        query = rows_query(Compared.of(self.mapping, columns), buckets)
        names = (*(number(i) for i in range(len(columns))), PADDING)
        return CopyStream(self._copying, query, names, tick)


def select_tables(source: PostgresSource, session: Session) -> Selection:
    """The tables of `tables: all`, with options applied; those of a list as they are."""
    if source.is_complete:
        return Selection(source.entries)
    special = {one.name: one for one in source.options}
    chosen: list[TableEntry] = []
    left_out: list[LeftOut] = []
    excluded: list[str] = []
    withheld: list[str] = []
    for table in list_tables(session):
        name = table.name
        plain = source.filled(PostgresTable(name=name))
        if name in special:
            # An explicitly named table is not left out; its load fails with a message of its own.
            chosen.append(special.pop(name))
        elif any(pattern.matches(name) for pattern in source.exclude):
            excluded.append(str(name))
        elif not table.readable:
            withheld.append(str(name))
        elif table.problem:
            left_out.append(LeftOut(str(name), plain.target_name, table.problem))
        else:
            chosen.append(plain)
    entries = (*chosen, *special.values())
    bytes_of = table_bytes(session)
    sizes = {entry.target_name: bytes_of[str(entry.name)] for entry in entries if str(entry.name) in bytes_of}
    identity = read_identity(session, session.address).text()
    return Selection(entries, tuple(left_out), tuple(excluded), tuple(withheld), identity, sizes)


def _own(entry: TableEntry) -> PostgresTable:
    if not isinstance(entry, PostgresTable):
        raise TypeError(f"{entry.name} is no table of Postgres")
    return entry
