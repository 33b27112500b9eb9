"""Key and number of the loader's run that belongs to a DAG run."""

from typing import Any

from airflow.sdk.exceptions import AirflowFailException

BEGIN = "create_clickhouse_databases"
"""The task that opens the run and passes its number on."""


def run_key(dag_id: str, run_id: str) -> str:
    """Returns the key of a DAG run in ops.runs."""
    return f"{dag_id}/{run_id}"


def run_number(ti: Any) -> int:
    """Returns the number of the loader's run. Raises AirflowFailException if none has begun."""
    run = begun_run(ti)
    if run is None:
        raise AirflowFailException(f"No run of the loader has begun: clear {BEGIN}, and with it what comes after.")
    return run


def begun_run(ti: Any) -> int | None:
    """Returns the number of the loader's run; None if the DAG run failed before."""
    run = ti.xcom_pull(task_ids=BEGIN)
    return None if run is None else int(run)
