"""The pipeline: Postgres tables into ClickHouse raw, published together, then dbt by the webhook.

Wiring only. What a task does stands in plugins/elt_airflow, the loader in plugins/elt.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import Param, chain, dag, task_group
from elt_airflow.dbt import DbtBuildOperator
from elt_airflow.failure import close_failed_run, notify_failure
from elt_airflow.loading import create_clickhouse_databases, load_tables, publish_raw
from elt_airflow.plan import planned_tasks, table_param
from elt_airflow.snapshot import hold_snapshot

TASKS = planned_tasks()
TARGETS = [target for targets in TASKS.values() for target in targets]


@dag(
    schedule=os.environ.get("ELT_SCHEDULE", "@daily") or None,
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        # A task that hangs must not hold the only active run for ever.
        "execution_timeout": timedelta(hours=12),
        "on_failure_callback": notify_failure,
    },
    on_failure_callback=close_failed_run,
    params={
        "tables": table_param(TARGETS),
        "full_refresh": Param(False, type="boolean", title="Full refresh", description="Copy and build anew."),
    },
    tags=["elt"],
    doc_md=str(Path(__file__).with_suffix(".md")),
)
def elt_pipeline() -> None:
    @task_group
    def load_data() -> None:
        hold_snapshot()
        for name, targets in TASKS.items():
            load_tables.override(task_id=name)(list(targets))

    published = publish_raw()
    dbt = DbtBuildOperator(
        task_id="run_dbt_transformations", load_run=published, full_refresh="{{ params.full_refresh }}"
    )
    chain(create_clickhouse_databases(), load_data(), published, dbt)


elt_pipeline()
