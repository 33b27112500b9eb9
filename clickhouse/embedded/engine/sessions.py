"""HTTP sessions: connections that keep settings, database and temporary tables between the requests of one user."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping

from embedded.engine.engine import Connection, Engine
from embedded.errors import QueryError
from embedded.users import User

DEFAULT_DATABASE = "default"
DEFAULT_TIMEOUT = 60.0
LONGEST_TIMEOUT = 3600.0
# Pool of idle connections of requests without a session. A connection is reused only for the same user, database and settings,
# so that no state of one request reaches another. A new one costs twice as much as a small query, and USE needs a right in the
# database to return to. Each takes 0.1 MB; the longest idle is closed first.
_SPARE = 64


class Session:
    """A connection and its state. `own`: settings made by SET statements; `lent`: settings of the last request's URL, which end with it; `clean`: the
    request left nothing else."""

    def __init__(self, connection: Connection, user: User) -> None:
        self.connection = connection
        self.user = user
        self.own: dict[str, str] = {}
        self.lent: dict[str, str] = {}
        self.own_database = DEFAULT_DATABASE
        self.database = DEFAULT_DATABASE
        self.timeout = DEFAULT_TIMEOUT
        self.expires = 0.0
        self.busy = True
        self.clean = False


class Sessions:
    """All sessions; each belongs to the user that opened it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._sessions: dict[tuple[str, str], Session] = {}
        self._spare: list[Session] = []

    def acquire(
        self, user: User, name: str, timeout: str | None, check: bool, database: str, settings: Mapping[str, str]
    ) -> Session:
        """Returns the session for one request; creates a new one. With an empty name the session ends with the request, and is taken from the pool, with
        `database` and `settings` already set, if possible.

        Raises QueryError 372 (missing although `check`), 373 (busy) or 374 (timeout not a number in 0..3600 s).
        """
        seconds = _seconds(timeout)
        if not name:
            return self._take_spare(user, database, settings) or Session(self._engine.connect(user), user)
        self.expire()
        with self._lock:
            session = self._sessions.get((user.name, name))
            if session is None:
                if check:
                    raise QueryError(372, "Session not found")
                session = self._sessions[user.name, name] = Session(self._engine.connect(user), user)
            elif session.busy:
                raise QueryError(373, "Session is locked by a concurrent client")
            session.busy = True
            session.timeout = seconds
            return session

    def release(self, session: Session, name: str, *, broken: bool = False) -> None:
        """Ends a request's use of a session; discards a broken one (interrupted in the middle of a query)."""
        with self._lock:
            session.busy = False
            session.expires = time.monotonic() + session.timeout
            if name and not broken:
                return
            if name:
                self._sessions.pop((session.user.name, name), None)
            elif session.clean and not broken:
                session.clean = False
                self._spare.append(session)
                if len(self._spare) <= _SPARE:
                    return
                session = self._spare.pop(0)
        session.connection.close()

    def _take_spare(self, user: User, database: str, settings: Mapping[str, str]) -> Session | None:
        with self._lock:
            for at in reversed(range(len(self._spare))):
                spare = self._spare[at]
                if (spare.user.name, spare.database) == (user.name, database) and spare.lent == settings:
                    return self._spare.pop(at)
        return None

    def expire(self) -> None:
        """Closes expired sessions."""
        now = time.monotonic()
        with self._lock:
            over = [key for key, session in self._sessions.items() if not session.busy and session.expires < now]
            closing = [self._sessions.pop(key) for key in over]
        for session in closing:
            session.connection.close()

    def close(self) -> None:
        with self._lock:
            closing = [session for session in self._sessions.values() if not session.busy]
            closing += self._spare
            self._sessions.clear()
            self._spare.clear()
        for session in closing:
            session.connection.close()


def _seconds(timeout: str | None) -> float:
    if timeout is None:
        return DEFAULT_TIMEOUT
    if not re.fullmatch("[0-9]{1,9}", timeout) or int(timeout) > LONGEST_TIMEOUT:
        raise QueryError(374, f"Invalid session timeout: '{timeout}', expected seconds from 0 to {LONGEST_TIMEOUT:.0f}")
    return float(timeout)
