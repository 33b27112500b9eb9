"""The tables of the record of runs.

Instants are microseconds since 1970-01-01 UTC. The rows are their own outbox: `revision` counts the changes of a row, `reported` is the
revision that ClickHouse's ops has, and `notice` is the state of the message to NOTIFY_URL. A query finds what is still to be sent, so no
separate queue can be lost.
"""

from webhook.queue.runs import FINAL

_FINAL = ", ".join(f"'{status}'" for status in sorted(FINAL))

# Upper bounds, in seconds, of the histogram of run durations.
DURATIONS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_CLASS = "CASE " + " ".join(f"WHEN seconds <= {end} THEN {end}" for end in DURATIONS) + " ELSE 0 END"

STATEMENTS = (
    """
CREATE TABLE IF NOT EXISTS runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    command TEXT NOT NULL,
    selected TEXT NOT NULL,
    excluded TEXT NOT NULL,
    full_refresh INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    cuts INTEGER NOT NULL DEFAULT 0, -- Run.interruptions
    queued_at INTEGER NOT NULL,
    started_at INTEGER,
    heartbeat_at INTEGER,
    ended_at INTEGER,
    error TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT '',
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    nodes_total INTEGER NOT NULL DEFAULT 0,
    revision INTEGER NOT NULL DEFAULT 1,
    reported INTEGER NOT NULL DEFAULT 0
)""",
    "CREATE INDEX IF NOT EXISTS runs_by_status ON runs (status, seq)",
    """
CREATE TABLE IF NOT EXISTS keys (
    key TEXT PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    fingerprint TEXT NOT NULL
) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS keys_by_run ON keys (run_id)",
    """
CREATE TABLE IF NOT EXISTS nodes (
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    node TEXT NOT NULL,
    name TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    status TEXT NOT NULL,
    seconds REAL NOT NULL DEFAULT 0,
    rows INTEGER,
    message TEXT NOT NULL DEFAULT '',
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    reported INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, attempt, node)
) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS nodes_to_report ON nodes (run_id) WHERE reported = 0 AND ended_at IS NOT NULL",
    # Old runs are pruned; counters never decrease. `le` 0: longer than the last bound.
    """
CREATE TABLE IF NOT EXISTS ended (
    status TEXT NOT NULL,
    le INTEGER NOT NULL,
    runs INTEGER NOT NULL,
    seconds REAL NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (status, le)
) WITHOUT ROWID""",
)

ADDED_COLUMNS = (("runs", "vars", "TEXT NOT NULL DEFAULT '{}'"), ("runs", "notice", "TEXT NOT NULL DEFAULT ''"))

# Created after the columns are added. Fires for every way in which a run can end.
TRIGGERS = (
    "DROP INDEX IF EXISTS runs_to_tell",
    "CREATE INDEX IF NOT EXISTS pending_notices ON runs (seq) WHERE notice = 'due'",
    f"""
CREATE TRIGGER IF NOT EXISTS run_has_ended AFTER UPDATE OF status ON runs
WHEN NEW.status IN ({_FINAL}) AND OLD.status NOT IN ({_FINAL})
BEGIN
    INSERT INTO ended (status, le, runs, seconds, last_at)
    SELECT NEW.status, {_CLASS}, 1, seconds, NEW.ended_at
    FROM (SELECT coalesce((NEW.ended_at - NEW.started_at) / 1000000.0, 0) AS seconds) WHERE true
    ON CONFLICT (status, le) DO UPDATE SET runs = ended.runs + 1, seconds = ended.seconds + excluded.seconds,
        last_at = excluded.last_at;
    UPDATE runs SET notice = 'due' WHERE seq = NEW.seq;
END""",
)
