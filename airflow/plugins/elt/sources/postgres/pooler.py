"""Whether a session of Postgres is ours alone, or a pooler gives it to others between two transactions.

Settings, locks and read-only mode would then end up in the sessions of others. So this is asked before anything is set.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import psycopg2.extensions

_PID = "SELECT pg_backend_pid()"
_ROUNDS = 3
"""A pool lends the process that was given back last, or each in turn. Other clients of it may come in between."""


def is_shared(
    connection: psycopg2.extensions.connection, connect: Callable[[], psycopg2.extensions.connection]
) -> bool:
    """Whether a pooler lends the session of `connection`, which is in autocommit mode, to others. Leaves nothing behind.

    A server tells a client the number of its process at the start; a pooler tells another number than the process has. Whether it pools
    sessions or transactions shows beside a second connection: the process of a session that is ours alone never changes, and never
    serves the other one.
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
