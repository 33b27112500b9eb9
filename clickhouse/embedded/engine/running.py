"""Running queries and their limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from embedded.errors import QueryError

_AGAIN_SECONDS = 0.1


@dataclass(frozen=True)
class QueryLimits:
    """Limits of concurrent queries, from server.xml; 0: unlimited."""

    queries: int = 0
    inserts: int = 0
    selects: int = 0

    @classmethod
    def read(cls, path: Path) -> QueryLimits:
        root = ElementTree.parse(path).getroot()
        names = ("max_concurrent_queries", "max_concurrent_insert_queries", "max_concurrent_select_queries")
        return cls(*(int(root.findtext(name) or 0) for name in names))


@dataclass(frozen=True)
class Entry:
    """A query that wants to run. `kind` is insert, select, other, or free for one that neither waits nor counts.

    `for_user` and `for_all` are its own limits, 0: none. `queue`: seconds to wait for the server's limits. `replace`: seconds to wait for the end of
    a query with the same id, which it kills; None: do not replace.
    """

    tag: str
    user: str
    query_id: str
    kind: str
    for_user: int = 0
    for_all: int = 0
    queue: float = 0
    replace: float | None = None


class Running:
    """The set of running queries. Thread-safe."""

    def __init__(self, limits: QueryLimits, kill: Callable[[str], object]) -> None:
        """`kill` asks the engine to stop the query with a tag."""
        self._limits = limits
        self._kill = kill
        self._entries: dict[str, Entry] = {}
        self._changed = threading.Condition()

    @property
    def tags(self) -> list[str]:
        with self._changed:
            return list(self._entries)

    def enter(self, entry: Entry) -> None:
        """Adds a query. Raises QueryError 202 (too many) or 216 (one with this id runs)."""
        end = time.monotonic() + (entry.replace or 0)
        while not self._entered(entry, end):
            self._kill(entry.tag)  # repeat: the first kill may arrive before the engine knows the query
            with self._changed:
                self._changed.wait_for(lambda: entry.tag not in self._entries, _AGAIN_SECONDS)

    def _entered(self, entry: Entry, end: float) -> bool:
        """Whether the query was added; if not, one with the same id must end first."""
        with self._changed:
            if entry.kind != "free":
                self._changed.wait_for(lambda: self._full() is None, entry.queue)
                if (refusal := self._full()) is not None:
                    raise refusal
                self._check(entry)
            if entry.tag not in self._entries:
                self._entries[entry.tag] = entry
                return True
        if entry.replace is None:
            raise QueryError(216, f"Query with id = {entry.query_id} is already running")
        if time.monotonic() >= end:
            raise QueryError(216, f"Query with id = {entry.query_id} is already running and can't be stopped")
        return False

    def leave(self, tag: str) -> None:
        with self._changed:
            self._entries.pop(tag, None)
            self._changed.notify_all()

    def _counted(self) -> list[Entry]:
        return [entry for entry in self._entries.values() if entry.kind != "free"]

    def _full(self) -> QueryError | None:
        if self._limits.queries and len(self._counted()) >= self._limits.queries:
            return _too_many(f"queries. Maximum: {self._limits.queries}")
        return None

    def _check(self, entry: Entry) -> None:
        running = self._counted()
        for kind, most in (("insert", self._limits.inserts), ("select", self._limits.selects)):
            found = sum(other.kind == kind for other in running)
            if most and entry.kind == kind and found >= most:
                raise _too_many(f"{kind} queries. Maximum: {most}, current: {found}")
        if entry.for_all and len(running) >= entry.for_all:
            raise _too_many(f"queries for all users. Current: {len(running)}, maximum: {entry.for_all}")
        found = sum(other.user == entry.user for other in running)
        if entry.for_user and found >= entry.for_user:
            raise _too_many(f"queries for user {entry.user}. Current: {found}, maximum: {entry.for_user}")


def _too_many(what: str) -> QueryError:
    return QueryError(202, f"Too many simultaneous {what}")
