"""Checks the DAG in Airflow: its import, its schedule, and its first green run."""

import time
from datetime import datetime
from typing import Any

from stack.check.airflow_api import DAG, FINAL, AirflowApi, is_started_by_hand
from stack.errors import StackError
from stack.screen import Screen
from stack.table.services import Context

READ_WITHIN = 300.0
ENDS_WITHIN = 1800.0


def await_first_green_run(context: Context, screen: Screen) -> None:
    """Waits until the DAG has had one green run. Raises StackError if its first runs have failed."""
    api = AirflowApi(context.env)
    dag = await_dag(api, screen)
    if dag["is_paused"]:
        screen.warn(f"{DAG} is paused: no run begins by its schedule until it is switched on in Airflow.")
    if api.green_runs():
        if _is_new(api):
            screen.done("The first DAG run is green")
        return
    began = time.monotonic()
    while time.monotonic() - began < ENDS_WITHIN:
        runs = api.runs(1)
        if not runs and is_started_by_hand(dag):
            screen.warn(
                f"{DAG} has no schedule (schedule: manual in pipeline.yml): scripts/refresh fills the warehouse."
            )
            return
        if not runs:
            screen.waiting("waiting for the scheduler to begin the first DAG run")
        elif runs[0]["state"] not in FINAL:
            screen.waiting(api.progress(runs[0]))
        elif runs[0]["state"] == "success":
            screen.done(f"The first DAG run is green ({time.monotonic() - began:.0f} s)")
            return
        else:
            raise StackError(
                f"The first DAG run failed ({api.progress(runs[0])}): its tasks' logs are on "
                f"{context.env.page('airflow-webserver')}; mend the cause and clear the run there."
            )
        time.sleep(1)
    raise StackError(
        "The first DAG run did not end in half an hour: look at it in Airflow, or skip the wait by --no-wait."
    )


def _is_new(api: AirflowApi) -> bool:
    """Whether the only run ended since the dag-processor started. On a busy machine that can be before the last service is healthy."""
    runs, since = api.runs(2), api.processor_start()
    return len(runs) == 1 and since is not None and datetime.fromisoformat(runs[0]["end_date"]) >= since


def await_dag(api: AirflowApi, screen: Screen) -> dict[str, Any]:
    """Waits until the present dag-processor has parsed the DAG; returns the DAG.

    Raises StackError if a file cannot be imported, if the schedule has no next run, or if no DAG is parsed in time.
    """
    deadline = time.monotonic() + READ_WITHIN
    while time.monotonic() < deadline:
        since = api.processor_start()
        if since is not None:
            if errors := api.import_errors(since):
                raise StackError(
                    f"The DAG cannot be imported ({errors[0]}): mend it; Airflow reads it again by itself."
                )
            dag = api.dag()
            if dag is not None and _read_since(dag, since):
                _check_schedule(dag)
                return dag
        screen.waiting("waiting for Airflow to read the DAG")
        time.sleep(1)
    raise StackError(
        f"Airflow has not read {DAG} in {READ_WITHIN / 60:.0f} minutes: see `scripts/logs airflow-dag-processor`."
    )


def _read_since(dag: dict[str, Any], since: datetime) -> bool:
    read = dag["last_parsed_time"]
    return bool(read) and not dag["is_stale"] and datetime.fromisoformat(read) >= since


def _check_schedule(dag: dict[str, Any]) -> None:
    """Raises StackError if a repeating schedule has no next run; `@once` has none after its first."""
    if dag["timetable_periodic"] and not dag["is_paused"] and dag["next_dagrun_run_after"] is None:
        raise StackError(
            f"{DAG} has the schedule {dag['timetable_summary']}, and Airflow knows no next run: correct ELT_SCHEDULE in "
            ".env, and run ./run.sh again."
        )
