"""Client of Airflow's REST API, with the few calls that the service manager needs."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from stack.env.file import Env
from stack.errors import StackError

DAG = "elt_pipeline"
TAG = "elt"
"""Of the DAGs that load a source."""
FINAL = ("success", "failed")

# Timeout of one response in seconds: two busy cores need many. Number of tries of an idempotent call.
ANSWER_WITHIN = 30.0
TRIES = 5


def is_started_by_hand(dag: dict[str, Any]) -> bool:
    """Whether no clock starts the DAG: `schedule: manual` of pipeline.yml."""
    return dag["timetable_summary"] in (None, "None")


class AirflowApi:
    """A session with Airflow as `admin`. Raises StackError for a missing or unexpected response."""

    def __init__(self, env: Env) -> None:
        self._base = env.url("airflow-webserver")
        self._session = requests.Session()
        patient = Retry(
            TRIES - 1,
            backoff_factor=0.5,
            status_forcelist=(502, 503, 504),
            raise_on_status=False,
            allowed_methods=["GET"],
        )
        self._session.mount(self._base, HTTPAdapter(max_retries=patient))
        # This POST creates only a token, so it may be repeated.
        self._session.mount(f"{self._base}/auth/token", HTTPAdapter(max_retries=patient.new(allowed_methods=["POST"])))
        token = self._call("POST", "/auth/token", {"username": "admin", "password": env.AIRFLOW_ADMIN_PASSWORD})
        self._session.headers["Authorization"] = f"Bearer {token['access_token']}"

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None, *, may_lack: bool = False) -> Any:
        """Returns the answer; with `may_lack`, None for 404."""
        try:
            answer = self._session.request(method, self._base + path, json=body, timeout=ANSWER_WITHIN)
        except requests.RequestException as error:
            raise StackError(
                f"Airflow does not answer ({type(error).__name__}): see `scripts/logs airflow-webserver`."
            ) from None
        if may_lack and answer.status_code == 404:
            return None
        if answer.status_code >= 400:
            raise StackError(
                f"Airflow answers {answer.status_code} to {method} {path}: see `scripts/logs airflow-webserver`."
            )
        return answer.json()

    def dag(self) -> dict[str, Any] | None:
        """Returns the DAG of the main source; None until Airflow has parsed it."""
        return next((dag for dag in self.dags() if dag["dag_id"] == DAG), None)

    def dags(self) -> list[dict[str, Any]]:
        return list(self._call("GET", "/api/v2/dags?limit=100")["dags"])

    def further_dags(self) -> list[dict[str, Any]]:
        """Returns the present DAGs of the sources beside the main one."""
        tagged = [dag for dag in self.dags() if any(tag["name"] == TAG for tag in dag["tags"]) and not dag["is_stale"]]
        return [dag for dag in tagged if dag["dag_id"] != DAG]

    def processor_start(self) -> datetime | None:
        """Returns the start of the present dag-processor; None before the first."""
        jobs = self._call("GET", "/api/v2/jobs?job_type=DagProcessorJob&order_by=-start_date&limit=1")["jobs"]
        return datetime.fromisoformat(jobs[0]["start_date"]) if jobs else None

    def import_errors(self, since: datetime | None = None) -> list[str]:
        """Returns each file that cannot be imported, with its error; only errors after `since`."""
        rows = self._call("GET", "/api/v2/importErrors")["import_errors"]
        return [
            f"{row['filename']}: {row['stack_trace'].strip().splitlines()[-1]}"
            for row in rows
            if since is None or datetime.fromisoformat(row["timestamp"]) >= since
        ]

    def runs(self, limit: int = 5, dag: str = DAG) -> list[dict[str, Any]]:
        """Returns the latest runs of a DAG, newest first."""
        query = f"order_by=-run_after&limit={limit}"
        return list(self._call("GET", f"/api/v2/dags/{dag}/dagRuns?{query}")["dag_runs"])

    def has_ended(self, dag_id: str, run_id: str) -> bool:
        """Returns whether no task of a DAG run is still to come: it is final, or Airflow does not have it."""
        found = self._call("GET", f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}", may_lack=True)
        return found is None or found["state"] in FINAL

    def green_runs(self) -> int:
        return int(self._call("GET", f"/api/v2/dags/{DAG}/dagRuns?state=success&limit=1")["total_entries"])

    def tasks(self, run_id: str, dag: str = DAG) -> list[dict[str, Any]]:
        return list(self._call("GET", f"/api/v2/dags/{dag}/dagRuns/{run_id}/taskInstances")["task_instances"])

    def trigger(self, conf: dict[str, Any] | None = None) -> str:
        """Triggers a run; returns its id."""
        body = {"logical_date": None, "conf": conf or {}}
        return str(self._call("POST", f"/api/v2/dags/{DAG}/dagRuns", body)["dag_run_id"])

    def progress(self, run: dict[str, Any], dag: str = DAG) -> str:
        """Returns a run's state in a few words: how many tasks are done, which run or wait for a retry."""
        tasks = self.tasks(run["dag_run_id"], dag)
        done = sum(task["state"] == "success" for task in tasks)
        now = [
            f"{task['task_id']} ({task['state']})"
            for task in tasks
            if task["state"] in ("running", "up_for_retry", "failed")
        ]
        return f"DAG run {run['state']}, {done} of {len(tasks)} tasks done" + (f": {', '.join(now)}" if now else "")
