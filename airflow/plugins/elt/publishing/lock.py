"""The run lock: one run at a time between a source and a warehouse.

A session-level advisory lock on the source. It ends with its session, so that a dead run cannot keep it; and it
only keeps runs out of each other's way. That nothing is published twice or backwards rests on the journal and on
table names that one publisher alone knows (publish.py), not on this lock.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from elt.destination.warehouse import Warehouse
from elt.errors import RunLockedError, TransientError
from elt.settings import Settings
from elt.sources.postgres.session import Source

_CLASS = 0x656C74
_PREFIX = "elt lock "
_POLL_SECONDS = 0.25


class RunLock:
    """The lock while it is held."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def is_held(self) -> bool:
        try:
            self.check()
        except TransientError:
            return False
        return True

    def check(self) -> None:
        """Raises TransientError when the session, and with it the lock, is gone."""
        try:
            self._source.rows("SELECT 1")
        except TransientError:
            raise TransientError(
                "The source ended the session that holds the run lock; run again, recovery will find what was begun"
            ) from None


@contextmanager
def run_lock(settings: Settings, warehouse: Warehouse, *, holder: str, wait_seconds: float) -> Iterator[RunLock]:
    """Holds the lock in the body. Raises RunLockedError, which names the holder, when it stays taken for `wait_seconds`."""
    key = _warehouse_key(warehouse)
    with Source(settings, _PREFIX + holder) as source:
        # An idle holder must not be thrown out for being idle (a setting since Postgres 14).
        source.execute("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'")
        deadline = time.monotonic() + wait_seconds
        while not source.rows("SELECT pg_try_advisory_lock(%s, %s)", (_CLASS, key))[0][0]:
            if time.monotonic() >= deadline:
                raise RunLockedError(_holder(source, key))
            time.sleep(_POLL_SECONDS)
        yield RunLock(source)


def _warehouse_key(warehouse: Warehouse) -> int:
    """A number for this warehouse, the same from every host: two warehouses may be fed from one source at once."""
    found = warehouse.rows("SELECT toString(uuid) FROM system.tables WHERE database = 'ops' AND name = 'runs'")
    return zlib.crc32(str(found[0][0]).encode()) - 2**31 if found else 0


def _holder(source: Source, key: int) -> str:
    found = source.rows(
        "SELECT a.application_name, to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS'), host(a.client_addr), a.pid"
        " FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s::int8::oid AND l.objsubid = 2"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        (_CLASS, key % 2**32),
    )
    if not found or found[0][0] is None:
        return "a session that this role may not see"
    application, since, address, pid = found[0]
    return (
        f"{application.removeprefix(_PREFIX)} since {since} UTC, from {address or 'a local socket'}, Postgres pid {pid}"
    )
