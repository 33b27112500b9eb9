"""The record of runs: all queries and state changes. Each change is one transaction."""

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import get_args

from webhook.queue.database import Database, now
from webhook.queue.runs import FINAL, Node, Run, RunRequest, Status

_RUN = """
SELECT runs.*,
    (SELECT count(*) FROM nodes WHERE run_id = runs.id AND attempt = runs.attempts AND nodes.ended_at IS NOT NULL) AS done,
    (SELECT count(*) FROM nodes WHERE run_id = runs.id AND attempt = runs.attempts AND nodes.status IN ('error', 'fail'))
        AS failed
FROM runs
"""
_FINAL = ", ".join(f"'{status}'" for status in sorted(FINAL))

CUT_TWICE = "The worker was killed twice while dbt ran for this run: look at the worker's log for the reason, then start the run again."


@dataclass(frozen=True)
class Ended:
    """One bucket of the histogram: runs of one status with at most `up_to` seconds; None: longer than the last bound."""

    status: Status
    up_to: int | None
    runs: int
    seconds: float
    last_at: datetime


class RunStore:
    """Runs, their nodes and their states in one SQLite file."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # Queries

    def get(self, run_id: str) -> Run | None:
        rows = self.database.read(f"{_RUN} WHERE id = ?", run_id)
        return _run(rows[0]) if rows else None

    def latest(self, *, limit: int, status: str | None = None, before: str | None = None) -> list[Run]:
        """Returns runs, newest first; `before` is the last run of the previous page."""
        where, parameters = ["1"], list[object]()
        if status is not None:
            where.append("status = ?")
            parameters.append(status)
        if before is not None:
            where.append("seq < (SELECT seq FROM runs WHERE id = ?)")
            parameters.append(before)
        sql = f"{_RUN} WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?"
        return [_run(row) for row in self.database.read(sql, *parameters, limit)]

    def nodes(self, run: Run) -> list[Node]:
        """Returns the finished nodes of the run's last attempt, in the order of their end."""
        rows = self.database.read(
            "SELECT * FROM nodes WHERE run_id = ? AND attempt = ? AND ended_at IS NOT NULL ORDER BY ended_at, node",
            run.id,
            run.attempts,
        )
        return [_node(row) for row in rows]

    def nodes_at_work(self, run: Run) -> list[str]:
        """Returns the names of the running nodes."""
        rows = self.database.read(
            "SELECT name FROM nodes WHERE run_id = ? AND attempt = ? AND ended_at IS NULL ORDER BY started_at, node",
            run.id,
            run.attempts,
        )
        return [str(row["name"]) for row in rows]

    def counts(self) -> dict[str, int]:
        """Returns the number of kept runs by status."""
        numbers = {
            row["status"]: row["n"] for row in self.database.read("SELECT status, count(*) AS n FROM runs GROUP BY 1")
        }
        return {status: numbers.get(status, 0) for status in get_args(Status)}

    def last_final(self) -> Run | None:
        rows = self.database.read(f"{_RUN} WHERE status IN ({_FINAL}) ORDER BY ended_at DESC LIMIT 1")
        return _run(rows[0]) if rows else None

    def ended(self) -> list[Ended]:
        """Returns how many runs have ever ended, by status and duration, pruned ones included."""
        rows = self.database.read("SELECT * FROM ended ORDER BY status, le = 0, le")
        return [
            Ended(row["status"], row["le"] or None, row["runs"], row["seconds"], _required_instant(row["last_at"]))
            for row in rows
        ]

    def next_queued(self) -> Run | None:
        rows = self.database.read(f"{_RUN} WHERE status = 'queued' ORDER BY seq LIMIT 1")
        return _run(rows[0]) if rows else None

    def is_cancel_requested(self, run_id: str) -> bool:
        rows = self.database.read("SELECT cancel_requested FROM runs WHERE id = ?", run_id)
        return bool(rows and rows[0]["cancel_requested"])

    # State changes. Progress of a run does not wait for the disk: after a power cut the run is queued again and starts over.
    # Acceptance, requeue and end of a run do wait.

    def begin(self, run_id: str) -> bool:
        """Moves the run from queued to running. Returns False if it was cancelled meanwhile."""
        return self._change(
            run_id, "queued", status="running", started_at=now(), heartbeat_at=now(), ended_at=None, note="", error=""
        )

    def count_attempt(self, run_id: str) -> int:
        """Records that dbt is about to start; returns the number of this attempt, from 1."""
        with self.database.transaction(waits_for_disk=False) as connection:
            connection.execute(
                "UPDATE runs SET attempts = attempts + 1, nodes_total = 0, revision = revision + 1 WHERE id = ?",
                (run_id,),
            )
            (attempt,) = connection.execute("SELECT attempts FROM runs WHERE id = ?", (run_id,)).fetchone()
        return int(attempt)

    def requeue(self, run_id: str, note: str) -> None:
        """Moves the run from running back to queued, at its old place. A run cancelled meanwhile ends instead."""
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE runs SET status = iif(cancel_requested, 'cancelled', 'queued'), ended_at = iif(cancel_requested, ?, NULL),"
                " started_at = NULL, heartbeat_at = NULL, note = ?, revision = revision + 1 WHERE id = ? AND status = 'running'",
                (now(), note, run_id),
            )
            _end_nodes(connection, run_id)

    def finish(self, run_id: str, status: Status, error: str = "") -> None:
        """Ends a queued or running run. Marks its running nodes as skipped."""
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE runs SET status = ?, error = ?, ended_at = ?, note = '', revision = revision + 1"
                " WHERE id = ? AND status IN ('queued', 'running')",
                (status, error, now(), run_id),
            )
            _end_nodes(connection, run_id)

    def request_cancel(self, run_id: str) -> None:
        """Cancels a queued run at once; a running one ends when the worker sees the request."""
        with self.database.transaction() as connection:
            connection.execute(
                "UPDATE runs SET cancel_requested = 1, ended_at = iif(status = 'queued', ?, ended_at),"
                " status = iif(status = 'queued', 'cancelled', status), revision = revision + 1"
                " WHERE id = ? AND status IN ('queued', 'running')",
                (now(), run_id),
            )

    def recover(self) -> list[Run]:
        """Requeues the runs that a killed worker left running; returns them in their new state.

        After its second interruption a run ends as interrupted. Call it only while holding the worker's lock.
        """
        interrupted = [row["id"] for row in self.database.read("SELECT id FROM runs WHERE status = 'running'")]
        for run_id in interrupted:
            with self.database.transaction() as connection:
                connection.execute("UPDATE runs SET cuts = cuts + 1 WHERE id = ?", (run_id,))
            run = self.get(run_id)
            if run is None:
                continue
            if run.cancel_requested:
                self.finish(run_id, "cancelled")
            elif run.interruptions > 1:
                self.finish(run_id, "interrupted", CUT_TWICE)
            else:
                self.requeue(run_id, "The worker was killed while dbt ran; this run is waiting to start over.")
        return [run for run in map(self.get, interrupted) if run is not None]

    def beat(self, run_id: str) -> None:
        self._change(run_id, "running", heartbeat_at=now())

    def save_nodes(self, run_id: str, attempt: int, total: int, nodes: list[Node]) -> None:
        """Records the states of nodes and the number of nodes that dbt selected."""
        at = now()
        with self.database.transaction(waits_for_disk=False) as connection:
            connection.execute(
                "UPDATE runs SET nodes_total = ?, revision = revision + 1 WHERE id = ? AND status = 'running'",
                (total, run_id),
            )
            connection.executemany(
                "INSERT INTO nodes (run_id, attempt, node, name, resource_type, status, seconds, rows, message, started_at,"
                " ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET status = excluded.status,"
                " seconds = excluded.seconds, rows = excluded.rows, message = excluded.message, ended_at = excluded.ended_at,"
                " started_at = min(started_at, excluded.started_at),"
                " reported = 0",
                [
                    (
                        *(
                            run_id,
                            attempt,
                            node.node,
                            node.name,
                            node.resource_type,
                            node.status,
                            node.seconds,
                            node.rows,
                        ),
                        *(
                            node.message,
                            at if node.started_at is None else _micros(node.started_at),
                            None if node.ended_at is None else _micros(node.ended_at),
                        ),
                    )
                    for node in nodes
                ],
            )

    def prune(self, *, keep_days: int, keep_runs: int) -> list[str]:
        """Deletes final runs that are too old or too many, with their keys and nodes; returns their ids."""
        oldest = now() - keep_days * 86_400_000_000
        with self.database.transaction() as connection:
            gone = connection.execute(
                f"SELECT id FROM runs WHERE status IN ({_FINAL}) AND (ended_at < ? OR seq <= (SELECT seq FROM runs"
                " ORDER BY seq DESC LIMIT 1 OFFSET ?))",
                (oldest, keep_runs),
            ).fetchall()
            connection.executemany("DELETE FROM runs WHERE id = ?", [(row["id"],) for row in gone])
        return [str(row["id"]) for row in gone]

    # Outbox of ClickHouse's ops

    def unreported_runs(self, limit: int) -> list[Run]:
        return [
            _run(row) for row in self.database.read(f"{_RUN} WHERE revision > reported ORDER BY seq LIMIT ?", limit)
        ]

    def unreported_nodes(self, limit: int) -> list[tuple[str, int, Node]]:
        rows = self.database.read("SELECT * FROM nodes WHERE reported = 0 AND ended_at IS NOT NULL LIMIT ?", limit)
        return [(str(row["run_id"]), int(row["attempt"]), _node(row)) for row in rows]

    def mark_reported(self, runs: list[Run], nodes: list[tuple[str, int, Node]]) -> None:
        with self.database.transaction(waits_for_disk=False) as connection:
            connection.executemany(
                "UPDATE runs SET reported = ? WHERE id = ?", [(run.revision, run.id) for run in runs]
            )
            connection.executemany(
                "UPDATE nodes SET reported = 1 WHERE run_id = ? AND attempt = ? AND node = ?",
                [(run_id, attempt, node.node) for run_id, attempt, node in nodes],
            )

    # Outbox of NOTIFY_URL

    def pending_notices(self) -> list[Run]:
        return [_run(row) for row in self.database.read(f"{_RUN} WHERE notice = 'due' ORDER BY seq LIMIT 100")]

    def close_notice(self, run_id: str, notice: str) -> None:
        with self.database.transaction() as connection:
            connection.execute("UPDATE runs SET notice = ? WHERE id = ?", (notice, run_id))

    def _change(self, run_id: str, expected: Status, **columns: object) -> bool:
        assignments = ", ".join(f"{column} = ?" for column in columns)
        with self.database.transaction(waits_for_disk=False) as connection:
            changed = connection.execute(
                f"UPDATE runs SET {assignments}, revision = revision + 1 WHERE id = ? AND status = ?",
                (*columns.values(), run_id, expected),
            )
            return changed.rowcount == 1


def _end_nodes(connection: sqlite3.Connection, run_id: str) -> None:
    connection.execute(
        "UPDATE nodes SET status = 'skipped', message = 'dbt ended before this node did', ended_at = ?"
        " WHERE run_id = ? AND ended_at IS NULL",
        (now(), run_id),
    )


def _run(row: sqlite3.Row) -> Run:
    request = RunRequest(
        command=row["command"],
        select=tuple(json.loads(row["selected"])),
        exclude=tuple(json.loads(row["excluded"])),
        full_refresh=bool(row["full_refresh"]),
        vars=json.loads(row["vars"]),
    )
    return Run(
        id=row["id"],
        request=request,
        idempotency_key=row["idempotency_key"],
        requested_by=row["requested_by"],
        status=row["status"],
        attempts=row["attempts"],
        interruptions=row["cuts"],
        queued_at=_required_instant(row["queued_at"]),
        started_at=_instant(row["started_at"]),
        heartbeat_at=_instant(row["heartbeat_at"]),
        ended_at=_instant(row["ended_at"]),
        error=row["error"],
        note=row["note"],
        cancel_requested=bool(row["cancel_requested"]),
        nodes_total=row["nodes_total"],
        nodes_done=row["done"],
        nodes_failed=row["failed"],
        revision=row["revision"],
    )


def _node(row: sqlite3.Row) -> Node:
    return Node(
        node=row["node"],
        name=row["name"],
        resource_type=row["resource_type"],
        status=row["status"],
        seconds=row["seconds"],
        rows=row["rows"],
        message=row["message"],
        ended_at=_instant(row["ended_at"]),
        started_at=_instant(row["started_at"]),
    )


def _required_instant(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1_000_000, UTC)


def _instant(micros: int | None) -> datetime | None:
    return None if micros is None else _required_instant(micros)


def _micros(instant: datetime) -> int:
    return round(instant.timestamp() * 1_000_000)
