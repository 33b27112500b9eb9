"""A webhook small enough for one file, speaking the contract of the real one over real HTTP."""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from testing.secrets import secret_names

TOKEN = "a-token-for-tests-only"


@dataclass
class ContractWebhook:
    """Runs end when the test says so: `outcomes` gives (status, nodes, error) for each run in order, else they stay running."""

    port: int = 0
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    posts: list[dict[str, Any]] = field(default_factory=list)
    outcomes: list[tuple[str, list[dict[str, Any]], str]] = field(default_factory=list)
    refuse_with: int | None = None
    refusal: dict[str, Any] = field(default_factory=dict)
    lose_answers: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        self.posts.append({"key": key, "body": body})
        bound = self.keys.get(key)
        if bound is None or self.runs[bound]["status"] in ("error", "cancelled", "interrupted"):
            bound = f"run-{len(self.runs) + 1}"
            self.keys[key] = bound
            self.runs[bound] = {"id": bound, "status": "running", "attempts": 1, "error": None, "nodes": []}
            if self.outcomes:
                self.finish(bound, *self.outcomes.pop(0))
        return self.runs[bound]

    def finish(self, run: str, status: str, nodes: list[dict[str, Any]] | None = None, error: str = "") -> None:
        self.runs[run] |= {"nodes": nodes or [], "error": error or None, "status": status}


def _handler(webhook: ContractWebhook) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def answer(self, code: int, document: object) -> None:
            body = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json" if code < 400 else "application/problem+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def refused(self) -> bool:
            if webhook.refuse_with:
                self.answer(
                    webhook.refuse_with, {"title": "Refused", "detail": "because the test says so.", **webhook.refusal}
                )
            elif self.headers["Authorization"] != f"Bearer {TOKEN}":
                self.answer(401, {"title": "Unauthorized", "detail": "Send Authorization: Bearer."})
            else:
                return False
            return True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.refused():
                return
            run = webhook.start(self.headers["Idempotency-Key"], body)
            if webhook.lose_answers:
                webhook.lose_answers -= 1
                self.close_connection = True
                return
            self.answer(202, run)

        def do_GET(self) -> None:
            if self.refused():
                return
            run = webhook.runs.get(self.path.removeprefix("/runs/"))
            self.answer(200, run) if run else self.answer(404, {"title": "No such run"})

    return Handler


@pytest.fixture
def webhook() -> Iterator[ContractWebhook]:
    double = ContractWebhook()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(double))
    double.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield double
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def airflow_python(
    repo: Path, venvs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.Popen[str]]:
    """Starts a script of this folder with Airflow's python, without a metadata database."""
    home = tmp_path_factory.mktemp("airflow-home")

    def start(script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(venvs / "airflow/bin/python"), str(repo / "tests/unit/airflow" / script), *arguments],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": f"{repo}/airflow/plugins:{repo}/scripts",
                "AIRFLOW_HOME": str(home),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "ELT_PIPELINE": str(repo / "pipeline.yml"),
                "ELT_PLAN": str(home / "plan.json"),
                "STACK_SECRETS": secret_names("airflow-scheduler"),
                **environment,
            },
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return start
