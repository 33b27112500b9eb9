-- Append-only events: every change of state is a new row with a higher version; read with FINAL. Kept for a year.
-- All instants are UTC.
-- The ALTER behind a table brings one of an older version to what the CREATE above it makes, comments included.

CREATE TABLE IF NOT EXISTS ops.runs
(
    run UInt64 COMMENT 'Microseconds since 1970-01-01 UTC at which the run began; also _elt_run in raw',
    run_key String COMMENT 'Who asked: dag_id/run_id of Airflow, or cli/<host>/<pid>',
    status LowCardinality(String) COMMENT 'running, success, failed, or verified: loaded, compared with the source and dropped',
    tables Array(String) COMMENT 'Raw tables of the run',
    full_refresh Bool,
    snapshot String COMMENT 'Exported Postgres snapshot that every load of the run read; empty where each load took its own',
    started_at DateTime64(6, 'UTC'),
    ended_at Nullable(DateTime64(6, 'UTC')),
    error String COMMENT 'One sentence with cause and cure of a run that failed, or of the tables that kept what was published before',
    horizon Nullable(DateTime64(6, 'UTC')) COMMENT 'No transaction that was open at the snapshot had begun before; NULL where that is not known',
    source String COMMENT 'JSON: server and database that the run copied from; empty where pipeline.yml lists the tables',
    note String COMMENT 'Sentences that a person should read: which tables are gone at the source, or left out',
    source_name String COMMENT 'Name of the source in pipeline.yml; empty in rows from before there were several',
    day String COMMENT 'Day that the run brings, as 2026-01-31, of a source that is read by the day; empty for any other source',
    version UInt64 COMMENT 'Microseconds since 1970-01-01 UTC at which this row was written'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY run
TTL toDateTime(started_at) + INTERVAL 1 YEAR
COMMENT 'One row for each run of the loader';
ALTER TABLE ops.runs
    ADD COLUMN IF NOT EXISTS horizon Nullable(DateTime64(6, 'UTC')) AFTER error,
    ADD COLUMN IF NOT EXISTS source String AFTER horizon,
    ADD COLUMN IF NOT EXISTS note String AFTER source,
    ADD COLUMN IF NOT EXISTS source_name String AFTER note,
    ADD COLUMN IF NOT EXISTS day String AFTER source_name,
    COMMENT COLUMN status 'running, success, failed, or verified: loaded, compared with the source and dropped',
    COMMENT COLUMN error 'One sentence with cause and cure of a run that failed, or of the tables that kept what was published before',
    COMMENT COLUMN horizon 'No transaction that was open at the snapshot had begun before; NULL where that is not known',
    COMMENT COLUMN source 'JSON: server and database that the run copied from; empty where pipeline.yml lists the tables',
    COMMENT COLUMN note 'Sentences that a person should read: which tables are gone at the source, or left out',
    COMMENT COLUMN source_name 'Name of the source in pipeline.yml; empty in rows from before there were several',
    COMMENT COLUMN day 'Day that the run brings, as 2026-01-31, of a source that is read by the day; empty for any other source';

CREATE TABLE IF NOT EXISTS ops.loads
(
    run UInt64,
    target String COMMENT 'Table in raw',
    try UInt32 COMMENT 'Attempt, from 1',
    source String COMMENT 'Table in the source, as schema.table',
    loading_table String COMMENT 'Table in raw that this attempt filled',
    mode LowCardinality(String) COMMENT 'full, incremental, by_day, or unchanged where nothing was read; an incremental table is copied whole at first, and whenever note says why',
    status LowCardinality(String) COMMENT 'running, loaded, published, failed, kept: failed, and what was published before stays, or verified: compared with the source and dropped',
    snapshot String COMMENT 'Postgres snapshot that the load read',
    rows_sent UInt64 COMMENT 'Rows that Postgres says it sent',
    rows_written UInt64 COMMENT 'Rows that ClickHouse says it wrote',
    rows_present UInt64 COMMENT 'Rows in the table after the load, as a reader with FINAL counts them',
    bytes UInt64 COMMENT 'Bytes of COPY text',
    seconds Float64 COMMENT 'From the start of COPY to the end of the insert',
    watermark String COMMENT 'Where the next incremental load begins, before its lookback: the highest cursor value, held back to ops.runs.horizon',
    shape String COMMENT 'Fingerprint of columns, key and conditions; another one makes the next incremental load a full one',
    origin String COMMENT 'JSON: server, database and table that the rows come from, as Postgres shows them; another one makes the next incremental load a full one',
    note String COMMENT 'A sentence that a person should read: why the table was copied whole, or what of it cannot be followed',
    verified_at Nullable(DateTime64(6, 'UTC')) COMMENT 'When every value was found equal to the source at the snapshot; NULL where nobody looked',
    verified_columns Array(String) COMMENT 'Columns that were compared and are equal',
    not_verified Array(String) COMMENT 'Columns that could not be compared, each with the reason',
    base_uuid UUID COMMENT 'UUID of raw.<target> when a load by_day began, on which it stands; all zero where there was none, and for other modes',
    started_at DateTime64(6, 'UTC'),
    ended_at Nullable(DateTime64(6, 'UTC')),
    error String,
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (run, target, try)
TTL toDateTime(started_at) + INTERVAL 1 YEAR
COMMENT 'One row for each attempt to load a table';
ALTER TABLE ops.loads
    ADD COLUMN IF NOT EXISTS shape String AFTER watermark,
    ADD COLUMN IF NOT EXISTS origin String AFTER shape,
    ADD COLUMN IF NOT EXISTS note String AFTER origin,
    ADD COLUMN IF NOT EXISTS verified_at Nullable(DateTime64(6, 'UTC')) AFTER note,
    ADD COLUMN IF NOT EXISTS verified_columns Array(String) AFTER verified_at,
    ADD COLUMN IF NOT EXISTS not_verified Array(String) AFTER verified_columns,
    ADD COLUMN IF NOT EXISTS base_uuid UUID AFTER not_verified,
    COMMENT COLUMN mode 'full, incremental, by_day, or unchanged where nothing was read; an incremental table is copied whole at first, and whenever note says why',
    COMMENT COLUMN status 'running, loaded, published, failed, kept: failed, and what was published before stays, or verified: compared with the source and dropped',
    COMMENT COLUMN shape 'Fingerprint of columns, key and conditions; another one makes the next incremental load a full one',
    COMMENT COLUMN origin 'JSON: server, database and table that the rows come from, as Postgres shows them; another one makes the next incremental load a full one',
    COMMENT COLUMN note 'A sentence that a person should read: why the table was copied whole, or what of it cannot be followed',
    COMMENT COLUMN verified_at 'When every value was found equal to the source at the snapshot; NULL where nobody looked',
    COMMENT COLUMN verified_columns 'Columns that were compared and are equal',
    COMMENT COLUMN not_verified 'Columns that could not be compared, each with the reason',
    COMMENT COLUMN base_uuid 'UUID of raw.<target> when a load by_day began, on which it stands; all zero where there was none, and for other modes';

CREATE TABLE IF NOT EXISTS ops.publishes
(
    run UInt64,
    target String COMMENT 'Table in raw',
    status LowCardinality(String) COMMENT 'open, done, abandoned or set_aside: a row that did not fit what was there, and moved nothing',
    loading_table String COMMENT 'Table in raw that holds the new rows',
    old_uuid UUID COMMENT 'UUID of raw.<target> before the swap; all zero when there was none',
    new_uuid UUID COMMENT 'UUID of the table that the publish puts in its place',
    rows UInt64 COMMENT 'Rows in the new table, as a reader with FINAL counts them',
    snapshot String,
    opened_at DateTime64(6, 'UTC'),
    heartbeat_at DateTime64(6, 'UTC') COMMENT 'Refreshed while the publisher waits or swaps',
    closed_at Nullable(DateTime64(6, 'UTC')),
    error String COMMENT 'Why the row was set aside; else empty',
    source_name String COMMENT 'Name of the source in pipeline.yml; empty in rows from before there were several',
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (run, target)
TTL toDateTime(opened_at) + INTERVAL 1 YEAR
COMMENT 'Journal of the swaps: written before the first swap, closed after the last';
ALTER TABLE ops.publishes
    ADD COLUMN IF NOT EXISTS error String AFTER closed_at,
    ADD COLUMN IF NOT EXISTS source_name String AFTER error,
    COMMENT COLUMN status 'open, done, abandoned or set_aside: a row that did not fit what was there, and moved nothing',
    COMMENT COLUMN error 'Why the row was set aside; else empty',
    COMMENT COLUMN source_name 'Name of the source in pipeline.yml; empty in rows from before there were several';

CREATE TABLE IF NOT EXISTS ops.absences
(
    source String COMMENT 'Table at the source, as schema.table in Postgres',
    target String COMMENT 'Table in raw, or the name that it would have there',
    status LowCardinality(String) COMMENT 'gone: no longer copied, its copy stays; left out: cannot be copied; dropped: gone, and its copy too; over: copied again, or no longer there',
    reason String COMMENT 'Why it is not copied',
    since DateTime64(6, 'UTC') COMMENT 'When a run first found it so',
    run UInt64 COMMENT 'Run that found it so last',
    seen_at DateTime64(6, 'UTC') COMMENT 'When that was',
    source_name String COMMENT 'Name of the source in pipeline.yml; empty in rows from before there were several',
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (target, source)
TTL toDateTime(seen_at) + INTERVAL 1 YEAR
COMMENT 'One row for each table that the loader does not copy, or did not for a time';

ALTER TABLE ops.absences
    ADD COLUMN IF NOT EXISTS source_name String AFTER seen_at,
    COMMENT COLUMN source 'Table at the source, as schema.table in Postgres',
    COMMENT COLUMN source_name 'Name of the source in pipeline.yml; empty in rows from before there were several';

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
