-- As in 02-ops.sql: append-only events, read with FINAL, kept for a year, instants in UTC.

CREATE TABLE IF NOT EXISTS ops.dbt_publishes
(
    run_id String COMMENT 'Run id of the webhook service',
    attempt UInt32 COMMENT 'Which start of dbt within the run, from 1',
    target String COMMENT 'Table or view in analytics',
    status LowCardinality(String) COMMENT 'open, done, abandoned or set_aside: a row that did not fit what was there, and moved nothing',
    old_uuid UUID COMMENT 'UUID of analytics.<target> before the swap; all zero when there was none',
    new_uuid UUID COMMENT 'UUID of what the publish puts in its place',
    rows Nullable(UInt64) COMMENT 'Rows in the new table; NULL for a view',
    opened_at DateTime64(6, 'UTC'),
    closed_at Nullable(DateTime64(6, 'UTC')),
    error String COMMENT 'Why the row was set aside; else empty',
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (run_id, attempt, target)
TTL toDateTime(opened_at) + INTERVAL 1 YEAR
COMMENT 'Journal of the marts that dbt publishes: written before the first swap, closed after the last';
ALTER TABLE ops.dbt_publishes
    ADD COLUMN IF NOT EXISTS error String AFTER closed_at,
    COMMENT COLUMN status 'open, done, abandoned or set_aside: a row that did not fit what was there, and moved nothing',
    COMMENT COLUMN error 'Why the row was set aside; else empty';
