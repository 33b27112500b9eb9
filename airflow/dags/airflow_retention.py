"""Keeps Airflow itself small: old runs leave the metadata database, old task logs leave the disk.

Runs at night, and not at the first boot: then there is nothing to remove yet.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, task
from elt_airflow.failure import notify_failure


@dag(
    # Without this, a first boot in the two hours and a half after that time runs it at once, though False says it does not (Airflow 3.3).
    schedule=CronTriggerTimetable("40 3 * * *", timezone="UTC", run_immediately=timedelta(0)),
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "execution_timeout": timedelta(hours=1),
        "on_failure_callback": notify_failure,
    },
    tags=["maintenance"],
    doc_md=__doc__,
)
def airflow_retention() -> None:
    @task
    def remove_old_logs() -> int:
        """Task logs older than 30 days, and the oldest beyond 2 GB. Nothing depends on them: a failure can wait."""
        from elt_airflow.log_retention import remove_old_logs as remove

        return remove()

    @task
    def clean_metadata() -> None:
        """Rows of runs older than 90 days. If it fails for weeks the UI gets slower; nothing else suffers."""
        from elt_airflow.metadata_retention import clean_metadata as clean

        clean()

    remove_old_logs()
    clean_metadata()


airflow_retention()
