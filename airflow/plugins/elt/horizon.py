"""How far a cursor can be trusted: the start of the oldest transaction that may still write rows behind it.

A row gets its `updated_at` when it is written, and becomes visible when its transaction commits, maybe hours later.
A watermark that was taken in between would leave it behind for ever, so that it is held back to this horizon.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Protocol


class Reads(Protocol):
    """The one thing of a source session that is needed here."""

    def rows(self, sql: str, parameters: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]: ...


# Sessions of the loader itself write nothing. A role without pg_read_all_stats sees NULL in others' xact_start.
_OPEN = """
SELECT least(clock_timestamp(), (
           SELECT min(a.xact_start) FROM pg_stat_activity a
           WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
             AND NOT (a.usename = current_user AND a.application_name LIKE 'elt %'))),
       EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())
"""

_SEEN = """
SELECT NOT pg_is_in_recovery() AND pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')
"""


def sees_transactions(source: Reads) -> bool:
    """Whether this role, on this server, sees when the transactions of others began."""
    return bool(source.rows(_SEEN)[0][0])


def read_horizon(source: Reads) -> datetime | None:
    """An instant before which no open transaction had begun; to be called outside a transaction, before the snapshot.

    None while a prepared transaction waits, whose start nobody knows. A role that does not see the transactions
    of others (`sees_transactions`) gets the present, and has the lookback alone.
    """
    at, prepared = source.rows(_OPEN)[0]
    return None if prepared else at.astimezone(UTC)
