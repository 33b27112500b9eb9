"""Horizon of a cursor: the start of the oldest transaction that may still commit rows behind the watermark.

A row gets its `updated_at` when it is written, but becomes visible when its transaction commits, maybe hours later. A watermark taken in between would
skip the row for ever, so the watermark never passes this horizon.
"""

from __future__ import annotations

from datetime import UTC, datetime

from elt.sources.postgres.catalogue import Reads

FUNCTION = "public.elt_oldest_transaction()"
"""A function that an owner may grant instead of pg_read_all_stats: it returns one instant, and no queries of others."""

_WAY = f"""
SELECT NOT pg_is_in_recovery() AND pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
       NOT pg_is_in_recovery() AND to_regprocedure('{FUNCTION}') IS NOT NULL
       AND has_function_privilege(to_regprocedure('{FUNCTION}'), 'EXECUTE')
"""

# The loader's own sessions write nothing.
_OLDEST = """
(SELECT min(a.xact_start) FROM pg_stat_activity a
 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
   AND NOT (a.usename = current_user AND a.application_name LIKE 'elt %'))
"""


def sees_transactions(source: Reads) -> bool:
    """Whether this role can see the start of other sessions' transactions on this server."""
    return any(source.rows(_WAY)[0])


def read_horizon(source: Reads) -> datetime | None:
    """Returns an instant before which no open transaction had begun. Call it outside a transaction, before the snapshot.

    Returns None while a prepared transaction waits, because its start is unknown. A role that cannot see other transactions (`sees_transactions`) gets the
    present, and relies on the lookback alone.
    """
    by_right, by_function = source.rows(_WAY)[0]
    oldest = _OLDEST if by_right else FUNCTION if by_function else "NULL"
    at, prepared = source.rows(
        f"SELECT least(clock_timestamp(), {oldest}),"
        " EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())"
    )[0]
    return None if prepared else at.astimezone(UTC)
