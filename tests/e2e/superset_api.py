"""Superset's REST interface as one person uses it, and where the Superset of a running stack is."""

import os
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import requests
from dotenv import dotenv_values

REPO = Path(__file__).resolve().parents[2]
DASHBOARDS = ("sales", "customers", "pipeline-health")


def running() -> dict[str, str]:
    """Values in .env of the stack of $STACK_HOME, or of this folder. Ends the program with one sentence when there is none."""
    file = Path(os.environ.get("STACK_HOME", REPO)) / ".env"
    values = {name: value or "" for name, value in dotenv_values(file).items()}
    if not values:
        sys.exit(f"error  There is no {file}: start the stack by ./run.sh first.")
    return values


class Superset:
    """A logged-in session. `charts` by the name of their file's chart, `dashboards` by their slug."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._session = requests.Session()
        body = {"username": user, "password": password, "provider": "db"}
        token = self._session.post(f"{url}/api/v1/security/login", json=body, timeout=60).json()["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"
        csrf = self.get("/api/v1/security/csrf_token/").json()["result"]
        self._session.headers.update({"X-CSRFToken": csrf, "Referer": url})

    def get(self, path: str) -> requests.Response:
        return self._session.get(self.url + path, timeout=90)

    def post(self, path: str, body: Any) -> requests.Response:
        return self._session.post(self.url + path, json=body, timeout=90)

    def put(self, path: str, body: Any) -> requests.Response:
        return self._session.put(self.url + path, json=body, timeout=90)

    def delete(self, path: str) -> requests.Response:
        return self._session.delete(self.url + path, timeout=90)

    def listed(self, what: str) -> list[dict[str, Any]]:
        return list(self.get(f"/api/v1/{what}/?q=(page_size:100)").json()["result"])

    @cached_property
    def dashboards(self) -> dict[str, int]:
        return {row["slug"]: row["id"] for row in self.listed("dashboard") if row["slug"]}

    def charts(self, slug: str) -> dict[str, dict[str, Any]]:
        """The charts of a dashboard by their titles, with id, dataset and the query that they were saved with."""
        found = self.get(f"/api/v1/dashboard/{slug}/charts").json()["result"]
        return {row["slice_name"]: row for row in found}

    def chart(self, identifier: int) -> dict[str, Any]:
        return dict(self.get(f"/api/v1/chart/{identifier}").json()["result"])

    def data(self, context: dict[str, Any]) -> list[dict[str, Any]]:
        answer = self.post("/api/v1/chart/data", {**context, "force": True})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["result"][0]["data"])
