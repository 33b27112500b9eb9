"""Tells NOTIFY_URL of tasks, runs and tables that failed for good, and closes the loader's record of a failed run."""

import logging
import os
from typing import Any

from airflow.sdk.log import redact
from environment.reading import SettingsError, read

from elt_airflow.guard import mask_secrets
from elt_airflow.runs import begun_run, run_key
from elt_airflow.settings import Notices

log = logging.getLogger(__name__)

LONGEST_ERROR = 4000
PROCESS_DIED = (
    "The task's process died without an exception (killed, out of memory, or the scheduler was): "
    "its log shows how far it came; clear the task to try again."
)


def notify_failure(context: Any) -> None:
    """Task callback, called when no retry is left. If the task process died, the dag-processor calls it."""
    try:
        mask_secrets()
        error = error_of(context)
    except SettingsError as problem:
        error = f"Its error may hold secrets and is in its log alone. {problem}"
    ti = context["ti"]
    _send(
        "airflow.task.failed",
        {
            "dag": str(ti.dag_id),
            "run": str(ti.run_id),
            "task": str(ti.task_id),
            "try": str(ti.try_number),
            "error": error,
            "log": str(getattr(ti, "log_url", "") or ""),
        },
    )


def notify_kept(ti: Any, target: str, error: str) -> None:
    """Reports a table whose load failed under `on_error: keep` of pipeline.yml; its task is green."""
    _send(
        "airflow.table.kept",
        {
            "dag": str(ti.dag_id),
            "run": str(ti.run_id),
            "task": str(ti.task_id),
            "table": target,
            "error": str(redact(error))[:LONGEST_ERROR],
            "log": str(getattr(ti, "log_url", "") or ""),
        },
    )


def close_failed_run(context: Any) -> None:
    """DAG callback, called by the dag-processor: closes the loader's run, so that the next run cleans up after it.

    A run that published its rows before dbt failed stays a success. A run that failed without a failed task (somebody stopped it) is reported
    to NOTIFY_URL here.
    """
    from elt.runs.run import fail
    from elt.settings import read_settings
    from warehouse.errors import PipelineError

    dag_id, run_id, ti = context["dag"].dag_id, str(context["run_id"]), context.get("ti")
    failed = _failed_tasks(ti, dag_id, run_id)
    error = f"{' and '.join(failed) or 'The DAG run'} failed in Airflow: its log there says why."
    if not failed:
        error = f"The DAG run was stopped ({context.get('reason') or 'no reason given'})."
        _send("airflow.run.failed", {"dag": dag_id, "run": run_id, "error": error})
    try:
        mask_secrets()
        fail(read_settings(), run=begun_run(ti) if ti else None, run_key=run_key(dag_id, run_id), error=error)
    except PipelineError as problem:
        log.warning("The run stays open in ops.runs until the next one begins: %s", problem)


def _failed_tasks(ti: Any, dag_id: str, run_id: str) -> list[str]:
    states = ti.get_task_states(dag_id=dag_id, run_ids=[run_id]) if ti else {}
    return sorted(task for task, state in states.get(run_id, {}).items() if state == "failed")


def error_of(context: Any) -> str:
    """Returns the task's exception as text for people, without the traceback and with known secrets masked."""
    error = context.get("exception")
    if error is None:
        return PROCESS_DIED
    return str(redact(str(error) or type(error).__name__))[:LONGEST_ERROR]


def _send(kind: str, data: dict[str, str]) -> None:
    from notify.sender import Event, send_now

    try:
        notices = read(Notices, os.environ)
    except SettingsError as error:
        # A table that failed must not fail once more because nobody can be told.
        log.warning("Nobody is told of %s: %s", kind, error)
        return
    if notices.url:
        send_now(notices.url.get_secret_value(), Event(kind, data), signing_secrets=notices.signing_secrets)
    else:
        log.info("NOTIFY_URL is not set: nobody is told of %s %s", kind, data)
