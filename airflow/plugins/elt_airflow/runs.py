"""The loader's run of a DAG run: its key and its number."""

from typing import Any

from airflow.sdk.exceptions import AirflowFailException

BEGIN = "create_clickhouse_databases"
"""The task that begins the run and hands its number on."""


def run_key(dag_id: str, run_id: str) -> str:
    """The name under which ops.runs knows a DAG run."""
    return f"{dag_id}/{run_id}"


def run_number(ti: Any) -> int:
    """The loader's run of this DAG run. Raises AirflowFailException when none has begun."""
    run = begun_run(ti)
    if run is None:
        raise AirflowFailException(f"No run of the loader has begun: clear {BEGIN}, and with it what comes after.")
    return run


def begun_run(ti: Any) -> int | None:
    """As run_number; None when the run failed before it began."""
    run = ti.xcom_pull(task_ids=BEGIN)
    return None if run is None else int(run)
