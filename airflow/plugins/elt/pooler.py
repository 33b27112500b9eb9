"""Whether a session of Postgres is ours alone, or a pooler gives it to others between two transactions.

Settings, locks and read-only mode would then end up in the sessions of others. So this is asked before anything is set.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg2.extensions

_PID = "SELECT pg_backend_pid()"
_ROUNDS = 3


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
        other = connect()
        try:
            # First without a transaction, which a pool of statements does not take.
            other.autocommit = True
            if _pid(other) in pids:
                return True
            # Then with one that stays open, so that the next one of `connection` finds another process where it is not bound to one.
            other.autocommit = False
            if _pid(other) in pids:
                return True
            pids.add(_pid(connection))
        finally:
            other.close()
        if len(pids) > 1:
            return True
    return False


def _pid(connection: psycopg2.extensions.connection) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_PID)
        (row,) = cursor.fetchall()
        return int(row[0])
