"""The loader's steps as Airflow tasks: a translation only. elt.runs.run documents their promises."""

import logging
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowSkipException

from elt_airflow.assets import RAW, tell_published
from elt_airflow.failure import notify_kept
from elt_airflow.guard import no_retry_on_terminal_errors
from elt_airflow.progress import ProgressLog
from elt_airflow.runs import BEGIN, run_key, run_number
from elt_airflow.snapshot import handed_over

log = logging.getLogger(__name__)

NEW_HOLDER_SECONDS = 30.0


@task(task_id=BEGIN)  # type: ignore[untyped-decorator]
def create_clickhouse_databases(source: str, dag_run: Any = None, params: Mapping[str, Any] | None = None) -> int:
    """Checks the warehouse's setup, recovers after earlier runs of the source, and opens the run. Returns its number."""
    with no_retry_on_terminal_errors():
        from elt.runs.run import begin
        from elt.settings import read_settings

        choices = params or {}
        return begin(
            read_settings(),
            run_key=run_key(dag_run.dag_id, dag_run.run_id),
            tables=list(choices.get("tables") or ()) or None,
            full_refresh=bool(choices.get("full_refresh")),
            source=source,
            day=_day(dag_run),
            warn=log.warning,
            tell=log.info,
        )


def _day(dag_run: Any) -> date | None:
    """The day with which the run's data interval begins; None for a run without an interval, which brings today."""
    start, end = dag_run.data_interval_start, dag_run.data_interval_end
    return start.date() if start and end and start < end else None


@task  # type: ignore[untyped-decorator]
def fetch_day(ti: Any = None) -> dict[str, int]:
    """Fetches the run's day into the lake. A repetition goes on at the table that is missing."""
    with no_retry_on_terminal_errors():
        from elt.runs.fetch import fetch_run
        from elt.settings import read_settings

        return {one.target: one.rows for one in fetch_run(read_settings(), run=run_number(ti), tell=log.info)}


@task  # type: ignore[untyped-decorator]
def load_tables(targets: Sequence[str], ti: Any = None, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Copies one table, or several small ones, beside the published ones; skipped if the run does not include them."""
    chosen = (params or {}).get("tables")
    if chosen and not set(targets) & set(chosen):
        raise AirflowSkipException(f"This run was asked for {', '.join(chosen)} only.")
    with no_retry_on_terminal_errors():
        from elt.errors import NotInRunError, SnapshotGoneError
        from elt.runs.run import load_tables as load
        from elt.settings import read_settings

        settings, run = read_settings(), run_number(ti)
        held = handed_over(ti, run)
        asked_for: dict[str, Any] = {
            "run": run,
            "targets": targets,
            "attempt": ti.try_number,
            "last_attempt": ti.try_number > ti.max_tries,
            "progress": ProgressLog(log),
        }
        try:
            try:
                results = load(settings, **asked_for)
            except SnapshotGoneError:
                # If the load was cleared together with its holder, it may have read the snapshot of the holder before.
                handed_over(ti, run, other_than=held, seconds=NEW_HOLDER_SECONDS)
                results = load(settings, **asked_for)
        except NotInRunError as error:
            raise AirflowSkipException(str(error)) from None
        for done in results:
            if done.kept:
                log.warning("raw.%s keeps what was published before: %s", done.target, done.kept)
                notify_kept(ti, done.target, done.kept)
                continue
            size, rows = done.bytes / 1e6, f"{done.rows:,}"
            log.info("%s: %s rows, %.1f MB in %.1f s (%s)", done.target, rows, size, done.seconds, done.mode)
            if done.note:
                log.warning("%s", done.note)
        loaded = [done for done in results if not done.kept]
        total = {"rows": sum(done.rows for done in loaded), "bytes": sum(done.bytes for done in loaded)}
        return {**total, "seconds": sum(done.seconds for done in loaded)}


@task(trigger_rule="none_failed_min_one_success")  # type: ignore[untyped-decorator]
def publish_raw(ti: Any = None, **context: Any) -> int:
    """Publishes the tables of the run, all or none, and plans the next run. Returns the run's number."""
    with no_retry_on_terminal_errors():
        from elt.runs.run import publish
        from elt.settings import read_settings

        settings, run = read_settings(), run_number(ti)
        published = publish(settings, run=run, tell=log.info)
        log.info("Published %s", ", ".join(f"{table.target} ({table.rows:,} rows)" for table in published.tables))
        snapshot = _snapshot(settings, run)
        for table in published.tables:
            tell_published(context, RAW, table.target, rows=table.rows, run=run, snapshot=snapshot)
        plan_next_run(settings)
        return run


def _snapshot(settings: Any, run: int) -> str:
    from warehouse import ops
    from warehouse.client import Warehouse

    with Warehouse(settings.warehouse) as warehouse:
        return ops.find_run(warehouse, run).snapshot


def plan_next_run(settings: Any) -> None:
    """Rewrites the plan file, so that the DAGs follow new and removed tables.

    The rows of this run are already published, so an unreachable source does not fail the run.
    """
    from elt.planning.plan import write_plan
    from warehouse.errors import PipelineError

    try:
        plan = write_plan(settings, tell=log.warning)
    except (PipelineError, OSError) as error:
        log.warning("The list of tables stays as it is, because it could not be read anew: %s", error)
    else:
        log.info("The next runs copy %s", ", ".join(f"{len(one.tables)} tables of {one.name}" for one in plan))
