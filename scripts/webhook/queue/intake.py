"""Accepts requests: one run for a key, one queued run for equal requests, a bounded queue."""

import json
import secrets
import sqlite3
from datetime import UTC, datetime

from webhook.queue.database import Database, now
from webhook.queue.runs import UNSUCCESSFUL, RunRequest


class QueueFullError(Exception):
    """The queue has reached its limit."""


class KeyConflictError(Exception):
    """The key is bound to a run of a different request, which has not failed."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id


def accept(database: Database, request: RunRequest, *, key: str | None, requested_by: str, queue_limit: int) -> str:
    """Returns the id of the run for this request, an existing or a new one.

    A key is bound to its run until that run fails. While the run is queued, running or successful, the same key gives the same run. After a
    failed, cancelled or interrupted run, the key starts a successor. A request that equals a queued one shares its run. All of it is one
    transaction, so it holds across threads and kills.

    Raises KeyConflictError if the key is bound to a run of a different request; QueueFullError if a new run is needed and the queue is full.
    """
    fingerprint = request.fingerprint
    with database.transaction() as connection:
        if key is not None:
            bound = connection.execute(
                "SELECT runs.id, runs.status, keys.fingerprint FROM keys JOIN runs ON runs.id = keys.run_id WHERE key = ?",
                (key,),
            ).fetchone()
            if bound is not None and bound["status"] not in UNSUCCESSFUL:
                if bound["fingerprint"] != fingerprint:
                    raise KeyConflictError(bound["id"])
                return str(bound["id"])
        run_id = _waiting_equal(connection, fingerprint) or _insert(
            connection, request, key=key, requested_by=requested_by, queue_limit=queue_limit
        )
        if key is not None:
            connection.execute(
                "INSERT INTO keys (key, run_id, fingerprint) VALUES (?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET run_id = excluded.run_id, fingerprint = excluded.fingerprint",
                (key, run_id, fingerprint),
            )
        return run_id


def _waiting_equal(connection: sqlite3.Connection, fingerprint: str) -> str | None:
    row = connection.execute(
        "SELECT id FROM runs WHERE status = 'queued' AND fingerprint = ? ORDER BY seq LIMIT 1", (fingerprint,)
    ).fetchone()
    return None if row is None else str(row["id"])


def _insert(
    connection: sqlite3.Connection, request: RunRequest, *, key: str | None, requested_by: str, queue_limit: int
) -> str:
    (waiting,) = connection.execute("SELECT count(*) FROM runs WHERE status = 'queued'").fetchone()
    if waiting >= queue_limit:
        raise QueueFullError
    run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(5)}"
    connection.execute(
        "INSERT INTO runs (id, command, selected, excluded, full_refresh, vars, fingerprint, idempotency_key, requested_by,"
        " status, queued_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?)",
        (
            run_id,
            request.command,
            json.dumps(request.select),
            json.dumps(request.exclude),
            request.full_refresh,
            json.dumps(request.vars),
            request.fingerprint,
            key or "",
            requested_by,
            now(),
        ),
    )
    return run_id
