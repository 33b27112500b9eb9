"""How far a cursor can be trusted: the start of the oldest transaction that may still write rows behind it.

A row gets its `updated_at` when it is written, and becomes visible when its transaction commits, maybe hours later.
A watermark that was taken in between would leave it behind for ever, so that it is held back to this horizon.
"""

from __future__ import annotations

from datetime import UTC, datetime

from elt.sources.postgres.catalogue import Reads

FUNCTION = "public.elt_oldest_transaction()"
"""A function that an owner may give a role in place of pg_read_all_stats: it tells one instant, and no query of others."""

_WAY = f"""
SELECT NOT pg_is_in_recovery() AND pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
       NOT pg_is_in_recovery() AND to_regprocedure('{FUNCTION}') IS NOT NULL
       AND has_function_privilege(to_regprocedure('{FUNCTION}'), 'EXECUTE')
"""

# Sessions of the loader itself write nothing.
_OLDEST = """
(SELECT min(a.xact_start) FROM pg_stat_activity a
 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
   AND NOT (a.usename = current_user AND a.application_name LIKE 'elt %'))
"""


def sees_transactions(source: Reads) -> bool:
    """Whether this role, on this server, can know when the transactions of others began."""
    return any(source.rows(_WAY)[0])


def read_horizon(source: Reads) -> datetime | None:
    """An instant before which no open transaction had begun; to be called outside a transaction, before the snapshot.

    None while a prepared transaction waits, whose start nobody knows. A role that cannot know of the transactions
    of others (`sees_transactions`) gets the present, and has the lookback alone.
    """
    by_right, by_function = source.rows(_WAY)[0]
    oldest = _OLDEST if by_right else FUNCTION if by_function else "NULL"
    at, prepared = source.rows(
        f"SELECT least(clock_timestamp(), {oldest}),"
        " EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())"
    )[0]
    return None if prepared else at.astimezone(UTC)
