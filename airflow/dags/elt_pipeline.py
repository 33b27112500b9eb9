"""The pipeline: each source of pipeline.yml into ClickHouse raw, published together, then dbt by the webhook.

Wiring only. What a task does stands in plugins/elt_airflow, the loader in plugins/elt.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import Param, chain, dag, task_group
from elt_airflow.assets import MARTS, RAW, outlet
from elt_airflow.dbt import DbtBuildOperator
from elt_airflow.failure import close_failed_run, notify_failure
from elt_airflow.loading import create_clickhouse_databases, fetch_day, load_tables, publish_raw
from elt_airflow.plan import PlannedDag, planned_dags, table_param
from elt_airflow.snapshot import hold_snapshot


def pipeline(plan: PlannedDag) -> None:
    """Makes the DAG of one source: `elt_pipeline` of the main one, `elt_<source>` of any other one."""

    @task_group
    def load_data() -> None:
        hold_snapshot()
        for name, targets in plan.tasks.items():
            load_tables.override(task_id=name)(list(targets))

    @dag(
        dag_id=plan.dag_id,
        schedule=plan.schedule,
        start_date=datetime(2025, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        # Airflow has places for several sources at once; a single one is to leave some.
        max_active_tasks=4,
        default_args={
            "retries": 2,
            "retry_delay": timedelta(minutes=5),
            # A task that hangs must not hold the only active run for ever.
            "execution_timeout": timedelta(hours=12),
            "on_failure_callback": notify_failure,
        },
        on_failure_callback=close_failed_run,
        params={
            "tables": table_param(plan.targets),
            "full_refresh": Param(False, type="boolean", title="Full refresh", description="Copy and build anew."),
        },
        tags=["elt"],
        doc_md=str(Path(__file__).with_suffix(".md")),
    )
    def wiring() -> None:
        published = publish_raw.override(outlets=[outlet(plan.dag_id, RAW)])()
        dbt = DbtBuildOperator(
            task_id="run_dbt_transformations",
            load_run=published,
            select=plan.select,
            full_refresh="{{ params.full_refresh }}",
            outlets=[outlet(plan.dag_id, MARTS)],
        )
        fetched = [fetch_day()] if plan.by_day else []
        chain(create_clickhouse_databases(plan.source), *fetched, load_data(), published, dbt)

    wiring()


for plan in planned_dags():
    pipeline(plan)
