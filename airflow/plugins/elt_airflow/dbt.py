"""The operator that runs dbt by the webhook and waits for its end: once for each load, whatever is killed meanwhile."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, ResumableJobMixin
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from elt_airflow.assets import MARTS, tell_published
from elt_airflow.guard import no_retry_on_terminal_errors
from elt_airflow.webhook import (
    ACTIVE,
    DbtRun,
    Node,
    UnknownSelectionError,
    Webhook,
    WebhookUnavailableError,
    build_request,
)

if TYPE_CHECKING:
    from airflow.sdk import Context
    from pydantic import JsonValue

    # mypy does not follow Airflow's imports, so it cannot know the operator's base.
    Base = Any

UNREACHABLE_FOR_SECONDS = 300
POLL_SECONDS = (0.5, 0.5, 1, 1, 2, 2, 3)  # the last one repeats
MESSAGE_CHARACTERS = 2000
# Names of models between raw and the marts begin so (dbt/dbt_score_rules).
NO_MARTS = ("stg_", "int_")


class DbtRunError(Exception):
    """dbt failed, and a retry may help (the warehouse was down, the run was interrupted)."""


class DbtBuildOperator(ResumableJobMixin, BaseOperator):  # type: ignore[misc]
    """Runs `dbt build` by the webhook and waits, resumable.

    The idempotency key `dag_id/run_id/task_id` makes every attempt of the task mean the same dbt run until that run
    failed: an attempt after a kill attaches to the run that still goes on, or takes the result of one that succeeded;
    after a failed, cancelled or interrupted run the key starts its successor.

    A DAG run that is cleared from its start loads again, under a new number of the loader's run. A success that
    belongs to the earlier load then no longer counts, and the number is added to the key.

    Each mart that the run has built is told as an asset. If no model of the project reads what is to be built, the task is skipped.

    :param load_run: the loader's run whose rows dbt is to read (templated).
    :param select: what dbt builds, in its syntax; everything if empty.
    :param full_refresh: rebuild incremental models from nothing (templated).
    """

    template_fields: Sequence[str] = ("load_run", "full_refresh")
    external_id_key = "dbt_run"
    owner_key = "load_run_of_plain_key"

    def __init__(self, *, load_run: Any, select: Sequence[str] = (), full_refresh: Any = False, **kwargs: Any) -> None:
        super().__init__(**{"doc_md": type(self).__doc__, **kwargs})
        self.load_run = load_run
        self.select = list(select)
        self.full_refresh = full_refresh

    def execute(self, context: "Context") -> dict[str, Any]:
        """Returns id, status and instants of the dbt run, with the number of its nodes."""
        with no_retry_on_terminal_errors():
            result: dict[str, Any] = self.execute_resumable(context)
            return result

    def submit_job(self, context: "Context") -> "JsonValue":
        key = self._key(context)
        request = build_request(self.select, full_refresh=str(self.full_refresh).lower() == "true")
        try:
            run = Webhook.from_environment().start(key, request)
        except UnknownSelectionError as error:
            names = ", ".join(name.removeprefix("source:") for name in error.unknown)
            raise AirflowSkipException(
                f"No model of the dbt project reads {names} yet, so nothing was built. The tables are published; scripts/add_table --all "
                "writes views that read them."
            ) from None
        self.log.info("dbt run %s is %s (key %s)", run.id, run.status, key)
        return {"id": run.id, "load_run": self._load_run}

    def get_job_status(self, external_id: "JsonValue", context: "Context") -> str:
        run_id, load_run = _parts(external_id)
        if load_run != self._load_run:
            return "superseded"
        run = Webhook.from_environment().run(run_id)
        return run.status if run else "lost"

    def is_job_active(self, status: str) -> bool:
        return status in ACTIVE

    def is_job_succeeded(self, status: str) -> bool:
        return status == "success"

    def poll_until_complete(self, external_id: "JsonValue", context: "Context") -> dict[str, Any]:
        """Waits for the end and logs every finished node.

        Raises AirflowFailException if a retry would fail again (failed tests, a cancelled run), DbtRunError for other failures, and
        WebhookUnavailableError after five minutes without a response.
        """
        run = self._wait(Webhook.from_environment(), _parts(external_id)[0])
        if run.status == "success":
            return self._succeeded(run, context)
        message = failure_message(run, Webhook.from_environment().page(run.id))
        if run.status == "cancelled" or _only_tests_failed(run):
            raise AirflowFailException(message)
        raise DbtRunError(message)

    def get_job_result(self, external_id: "JsonValue", context: "Context") -> dict[str, Any]:
        run = Webhook.from_environment().run(_parts(external_id)[0])
        if run is None:
            raise DbtRunError("The webhook has lost the run's record: clear this task to run dbt again.")
        self.log.info("dbt run %s: %s", run.id, run.status)
        return self._succeeded(run, context)

    def _succeeded(self, run: DbtRun, context: "Context") -> dict[str, Any]:
        rows = self._published_rows(run.id)
        for node in run.nodes:
            is_mart = node.resource_type in ("model", "snapshot") and not node.name.startswith(NO_MARTS)
            if is_mart and node.status == "success":
                tell_published(context, MARTS, node.name, rows=rows.get(node.name), run=self._load_run, dbt_run=run.id)
        return _summary(run)

    def _published_rows(self, run_id: str) -> dict[str, int]:
        """Returns the rows of each table that the dbt run has published, from its journal; none if that cannot be read."""
        from elt.settings import read_settings
        from warehouse.client import Warehouse
        from warehouse.errors import PipelineError

        published = "SELECT target, rows FROM ops.dbt_publishes FINAL WHERE run_id = {run:String} AND status = 'done'"
        try:
            with Warehouse(read_settings().warehouse) as warehouse:
                found = warehouse.rows(f"SELECT * FROM ({published}) WHERE isNotNull(rows)", {"run": run_id})
        except PipelineError as error:
            self.log.warning("The marts are told without their rows: %s", error)
            return {}
        return {str(target): int(rows) for target, rows in found}

    @property
    def _load_run(self) -> int:
        return int(self.load_run)

    def _key(self, context: "Context") -> str:
        ti, store = context["ti"], context["task_state_store"]
        key = f"{ti.dag_id}/{ti.run_id}/{ti.task_id}"
        owner = store.get(self.owner_key)
        if owner is None:
            # Store it before the POST: after a kill in between, the next attempt must choose the same key.
            store.set(self.owner_key, self._load_run)
            owner = self._load_run
        return key if owner == self._load_run else f"{key}/{self._load_run}"

    def _wait(self, webhook: Webhook, run_id: str) -> DbtRun:
        seen: set[str] = set()
        status, polls, answered = "", 0, time.monotonic()
        while True:
            try:
                run = webhook.run(run_id)
                answered = time.monotonic()
            except WebhookUnavailableError as error:
                if time.monotonic() - answered > UNREACHABLE_FOR_SECONDS:
                    raise
                self.log.warning("%s Asking again.", error)
                time.sleep(POLL_SECONDS[-1])
                continue
            if run is None:
                raise DbtRunError(f"The webhook no longer knows run {run_id}: its state was wiped; dbt runs again.")
            if run.status != status:
                status = run.status
                self.log.info("dbt run %s: %s", run.id, status)
            for node in run.nodes:
                if node.node not in seen:
                    seen.add(node.node)
                    self._log_node(node, len(seen))
            if run.status not in ACTIVE:
                return run
            time.sleep(POLL_SECONDS[min(polls, len(POLL_SECONDS) - 1)])
            polls += 1

    def _log_node(self, node: Node, number: int) -> None:
        line = f"{number}: {node.name} {node.status} in {node.seconds:.1f} s"
        if node.failed:
            self.log.error("%s: %s", line, node.message[:MESSAGE_CHARACTERS])
        elif node.status == "warn":
            self.log.warning("%s: %s", line, node.message[:MESSAGE_CHARACTERS])
        else:
            self.log.info(line)


def failure_message(run: DbtRun, page: str) -> str:
    """Returns the failed nodes with their errors, and the address of the whole log."""
    lines = [f"dbt run {run.id} ended as {run.status}" + (f": {run.error}" if run.error else ".")]
    lines += [f"- {node.name} ({node.status}): {node.message[:MESSAGE_CHARACTERS]}" for node in run.failed_nodes]
    lines.append(f"The whole log: {page}/logs")
    return "\n".join(lines)


def _only_tests_failed(run: DbtRun) -> bool:
    """Whether only tests failed: they would fail again on the same rows. A model may have failed because the warehouse was down."""
    return run.status == "error" and bool(run.failed_nodes) and all(node.status == "fail" for node in run.failed_nodes)


def _summary(run: DbtRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "status": run.status,
        "nodes": len(run.nodes),
        "started_at": run.started_at,
        "ended_at": run.ended_at,
    }


def _parts(external_id: "JsonValue") -> tuple[str, int]:
    if not isinstance(external_id, dict):
        raise DbtRunError(
            f"The stored dbt run {external_id!r} is of another version: clear this task to run dbt again."
        )
    return str(external_id["id"]), int(str(external_id["load_run"]))
