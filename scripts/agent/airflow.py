"""Client of Airflow's REST API with the one question that the agent has: how a DAG run stands."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import urllib3
from warehouse.errors import TerminalError, TransientError

USER = "agent"
"""Airflow's user of the agent, with the least role (viewer): airflow/config/airflow.env."""
GONE = "gone"
"""State of a DAG run that Airflow does not have."""
_TIMEOUT = urllib3.Timeout(connect=5.0, read=30.0)


class AirflowUnavailableError(TransientError):
    """Airflow does not answer, or not as its API does."""


class AirflowRefusedError(TerminalError):
    """Airflow does not let the agent in."""


class Airflow:
    """Airflow at `url`, for one thread. It connects when it is first asked."""

    def __init__(self, url: str, password: str) -> None:
        self._url = url.rstrip("/")
        self._password = password
        self._token = ""
        # No proxy can reach the stack's own pages.
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)

    def state(self, dag_id: str, run_id: str) -> str:
        """Returns Airflow's state of a DAG run: queued, running, success, failed; or GONE.

        Raises AirflowUnavailableError and AirflowRefusedError.
        """
        path = f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"
        status, answer = self._ask(path)
        # A token that has expired, or was signed with another secret, gets the one or the other.
        if status in (401, 403):
            self._token = ""
            status, answer = self._ask(path)
        if status == 200 and "state" in answer:
            return str(answer["state"])
        if status == 404 and "detail" in answer:
            return GONE
        if status in (401, 403):
            raise AirflowRefusedError(
                f"Airflow {self._url} does not let user {USER} read DAG runs (status {status}): run ./run.sh, which makes the user"
            )
        raise self._unavailable(f"status {status}")

    def _ask(self, path: str) -> tuple[int, dict[str, Any]]:
        if not self._token:
            login = {"username": USER, "password": self._password}
            status, answer = self._call("POST", "/auth/token", json.dumps(login), {"Content-Type": "application/json"})
            if status == 401:
                raise AirflowRefusedError(
                    f"Airflow {self._url} refuses the password of user {USER} (AIRFLOW_AGENT_PASSWORD): run ./run.sh, which sets it"
                )
            if status != 201 or "access_token" not in answer:
                raise self._unavailable(f"status {status} to a login")
            self._token = str(answer["access_token"])
        return self._call("GET", path, None, {"Authorization": f"Bearer {self._token}"})

    def _call(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        try:
            answer = self._http.request(method, self._url + path, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise self._unavailable(type(error).__name__) from None
        try:
            parsed = json.loads(answer.data)
        except ValueError:
            parsed = None
        return answer.status, parsed if isinstance(parsed, dict) else {}

    def _unavailable(self, found: str) -> AirflowUnavailableError:
        return AirflowUnavailableError(
            f"Airflow {self._url} does not answer as expected ({found}): see `scripts/logs airflow-webserver`"
        )
