"""The few calls of Airflow's REST API that the service manager makes."""

from typing import Any

import requests

from stack.env_file import Env
from stack.errors import StackError

DAG = "elt_pipeline"
FINAL = ("success", "failed")


class AirflowApi:
    """A session with Airflow as `admin`. Raises StackError where Airflow does not answer as it should."""

    def __init__(self, env: Env) -> None:
        self._base = env.url("airflow-webserver")
        self._session = requests.Session()
        token = self._call("POST", "/auth/token", {"username": "admin", "password": env.AIRFLOW_ADMIN_PASSWORD})
        self._session.headers["Authorization"] = f"Bearer {token['access_token']}"

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            answer = self._session.request(method, self._base + path, json=body, timeout=20)
        except requests.RequestException as error:
            raise StackError(
                f"Airflow does not answer ({type(error).__name__}): see `scripts/logs airflow-webserver`."
            ) from None
        if answer.status_code >= 400:
            raise StackError(
                f"Airflow answers {answer.status_code} to {method} {path}: see `scripts/logs airflow-webserver`."
            )
        return answer.json()

    def dag(self) -> dict[str, Any] | None:
        """The DAG as Airflow knows it, None while it has not been parsed."""
        found = self._call("GET", "/api/v2/dags?limit=100")["dags"]
        return next((dag for dag in found if dag["dag_id"] == DAG), None)

    def import_errors(self) -> list[str]:
        rows = self._call("GET", "/api/v2/importErrors")["import_errors"]
        return [f"{row['filename']}: {row['stack_trace'].strip().splitlines()[-1]}" for row in rows]

    def runs(self, limit: int = 5) -> list[dict[str, Any]]:
        """The latest runs of the DAG, newest first."""
        query = f"order_by=-run_after&limit={limit}"
        return list(self._call("GET", f"/api/v2/dags/{DAG}/dagRuns?{query}")["dag_runs"])

    def green_runs(self) -> int:
        return int(self._call("GET", f"/api/v2/dags/{DAG}/dagRuns?state=success&limit=1")["total_entries"])

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        return list(self._call("GET", f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances")["task_instances"])

    def trigger(self, conf: dict[str, Any] | None = None) -> str:
        """Start a run now; returns its id."""
        body = {"logical_date": None, "conf": conf or {}}
        return str(self._call("POST", f"/api/v2/dags/{DAG}/dagRuns", body)["dag_run_id"])

    def progress(self, run: dict[str, Any]) -> str:
        """A run in a few words: its state, how many tasks are done, which run or wait to be tried again."""
        tasks = self.tasks(run["dag_run_id"])
        done = sum(task["state"] == "success" for task in tasks)
        now = [
            f"{task['task_id']} ({task['state']})"
            for task in tasks
            if task["state"] in ("running", "up_for_retry", "failed")
        ]
        return f"DAG run {run['state']}, {done} of {len(tasks)} tasks done" + (f": {', '.join(now)}" if now else "")
