"""Detects a pooler that shares our Postgres session with other clients between transactions.

Settings, locks and read-only mode would then leak into the sessions of other clients. So the check comes before anything is set.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import psycopg2.extensions

_PID = "SELECT pg_backend_pid()"
_ROUNDS = 3
"""Number of tries: a pool lends the backend that was returned last, or each in turn, and other clients may interfere."""


def is_shared(
    connection: psycopg2.extensions.connection, connect: Callable[[], psycopg2.extensions.connection]
) -> bool:
    """Whether a pooler shares the session of `connection`, which is in autocommit mode, with others. Leaves nothing behind.

    A server reports its backend's pid at the start; a pooler reports another number. A second connection shows whether the pooler pools sessions or
    transactions: the backend of an exclusive session never changes, and never serves the second connection.
    """
    pids = {_pid(connection)}
    if pids == {connection.info.backend_pid}:
        return False
    for _ in range(_ROUNDS):
        pids |= {_pid(connection), _pid(connection)}
        with closing(connect()) as other:
            other.autocommit = True
            if len(pids) > 1 or _pid(other) in pids:
                return True
    return False


def _pid(connection: psycopg2.extensions.connection) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_PID)
        (row,) = cursor.fetchall()
        return int(row[0])
