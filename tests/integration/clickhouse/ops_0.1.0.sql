-- Tables of ops as version 0.1.0 made them.

CREATE TABLE IF NOT EXISTS ops.runs
(
    run UInt64 COMMENT 'Microseconds since 1970-01-01 UTC at which the run began; also _elt_run in raw',
    run_key String COMMENT 'Who asked: dag_id/run_id of Airflow, or cli/<host>/<pid>',
    status LowCardinality(String) COMMENT 'running, success or failed',
    tables Array(String) COMMENT 'Raw tables of the run',
    full_refresh Bool,
    snapshot String COMMENT 'Exported Postgres snapshot that every load of the run read; empty where each load took its own',
    started_at DateTime64(6, 'UTC'),
    ended_at Nullable(DateTime64(6, 'UTC')),
    error String COMMENT 'One sentence with cause and cure; empty unless failed',
    horizon Nullable(DateTime64(6, 'UTC')) COMMENT 'No transaction that was open at the snapshot had begun before; NULL where that is not known',
    version UInt64 COMMENT 'Microseconds since 1970-01-01 UTC at which this row was written'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY run
TTL toDateTime(started_at) + INTERVAL 1 YEAR
COMMENT 'One row for each run of the loader';
ALTER TABLE ops.runs ADD COLUMN IF NOT EXISTS horizon Nullable(DateTime64(6, 'UTC')) AFTER error;

CREATE TABLE IF NOT EXISTS ops.loads
(
    run UInt64,
    target String COMMENT 'Table in raw',
    try UInt32 COMMENT 'Attempt, from 1',
    source String COMMENT 'Table in the source, as schema.table',
    loading_table String COMMENT 'Table in raw that this attempt filled',
    mode LowCardinality(String) COMMENT 'full or incremental; the first load of an incremental table is full',
    status LowCardinality(String) COMMENT 'running, loaded, published or failed',
    snapshot String COMMENT 'Postgres snapshot that the load read',
    rows_sent UInt64 COMMENT 'Rows that Postgres says it sent',
    rows_written UInt64 COMMENT 'Rows that ClickHouse says it wrote',
    rows_present UInt64 COMMENT 'Rows in the table after the load, as a reader with FINAL counts them',
    bytes UInt64 COMMENT 'Bytes of COPY text',
    seconds Float64 COMMENT 'From the start of COPY to the end of the insert',
    watermark String COMMENT 'Where the next incremental load begins, before its lookback: the highest cursor value, held back to ops.runs.horizon',
    shape String COMMENT 'Fingerprint of columns, key and conditions; another one makes the next incremental load a full one',
    started_at DateTime64(6, 'UTC'),
    ended_at Nullable(DateTime64(6, 'UTC')),
    error String,
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (run, target, try)
TTL toDateTime(started_at) + INTERVAL 1 YEAR
COMMENT 'One row for each attempt to load a table';
ALTER TABLE ops.loads ADD COLUMN IF NOT EXISTS shape String AFTER watermark;

CREATE TABLE IF NOT EXISTS ops.publishes
(
    run UInt64,
    target String COMMENT 'Table in raw',
    status LowCardinality(String) COMMENT 'open, done or abandoned',
    loading_table String COMMENT 'Table in raw that holds the new rows',
    old_uuid UUID COMMENT 'UUID of raw.<target> before the swap; all zero when there was none',
    new_uuid UUID COMMENT 'UUID of the table that the publish puts in its place',
    rows UInt64 COMMENT 'Rows in the new table, as a reader with FINAL counts them',
    snapshot String,
    opened_at DateTime64(6, 'UTC'),
    heartbeat_at DateTime64(6, 'UTC') COMMENT 'Refreshed while the publisher waits or swaps',
    closed_at Nullable(DateTime64(6, 'UTC')),
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (run, target)
TTL toDateTime(opened_at) + INTERVAL 1 YEAR
COMMENT 'Journal of the swaps: written before the first swap, closed after the last';

CREATE TABLE IF NOT EXISTS ops.dbt_runs
(
    id String COMMENT 'Run id of the webhook service',
    idempotency_key String,
    command LowCardinality(String) COMMENT 'build, test or docs',
    target LowCardinality(String) COMMENT 'dbt target: prod or dev',
    select Array(String),
    exclude Array(String),
    full_refresh Bool,
    requested_by String COMMENT 'manual or webhook',
    status LowCardinality(String) COMMENT 'queued, running, success, error, cancelled or interrupted',
    attempts UInt32 COMMENT 'Times that dbt was started for this run',
    queued_at DateTime64(6, 'UTC'),
    started_at Nullable(DateTime64(6, 'UTC')),
    heartbeat_at Nullable(DateTime64(6, 'UTC')) COMMENT 'Refreshed every few seconds while dbt runs',
    ended_at Nullable(DateTime64(6, 'UTC')),
    nodes UInt32 COMMENT 'Nodes that finished',
    failed UInt32 COMMENT 'Nodes that ended in error or as failed test',
    error String COMMENT 'One sentence with cause and cure; empty unless it failed',
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY id
TTL toDateTime(queued_at) + INTERVAL 1 YEAR
COMMENT 'One row for each dbt run that the webhook accepted';

CREATE TABLE IF NOT EXISTS ops.dbt_nodes
(
    run_id String,
    node String COMMENT 'unique_id of the node',
    attempt UInt32 COMMENT 'Which start of dbt within the run, from 1',
    resource_type LowCardinality(String),
    name String,
    status LowCardinality(String) COMMENT 'As dbt says: success, pass, warn, fail, error, skipped',
    seconds Float64,
    rows Nullable(Int64) COMMENT 'Rows written, or failing rows of a test, where dbt tells',
    message String,
    ended_at DateTime64(6, 'UTC'),
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (run_id, node, attempt)
TTL toDateTime(ended_at) + INTERVAL 1 YEAR
COMMENT 'One row for each node that dbt finished';

CREATE TABLE IF NOT EXISTS ops.dbt_publishes
(
    run_id String COMMENT 'Run id of the webhook service',
    attempt UInt32 COMMENT 'Which start of dbt within the run, from 1',
    target String COMMENT 'Table or view in analytics',
    status LowCardinality(String) COMMENT 'open, done or abandoned',
    old_uuid UUID COMMENT 'UUID of analytics.<target> before the swap; all zero when there was none',
    new_uuid UUID COMMENT 'UUID of what the publish puts in its place',
    rows Nullable(UInt64) COMMENT 'Rows in the new table; NULL for a view',
    opened_at DateTime64(6, 'UTC'),
    closed_at Nullable(DateTime64(6, 'UTC')),
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (run_id, attempt, target)
TTL toDateTime(opened_at) + INTERVAL 1 YEAR
COMMENT 'Journal of the marts that dbt publishes: written before the first swap, closed after the last';
