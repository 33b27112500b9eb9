"""A real gunicorn, real workers, real dbt and the real warehouse; everything may be killed."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import evidence
import pytest
import requests
from testing.secrets import secret_names
from testing.waiting import until

TOKEN = "test-token-of-the-webhook"
RAW_TABLES = ("customers", "products", "orders", "order_items")


class Webhook:
    """One webhook service: a home folder, a web process and workers, each started and ended by the test."""

    def __init__(self, repo: Path, venvs: Path, home: Path, project: Path, port: int, env: dict[str, str]) -> None:
        self.home = home
        self.port = port
        self.project = project
        self._python = venvs / "dbt/bin/python"
        self._env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(repo / "scripts"),
            "WEBHOOK_HOME": str(home),
            "WEBHOOK_TOKEN": TOKEN,
            "DBT_PROJECT_DIR": str(project),
            **env,
            "STACK_SECRETS": f"{secret_names('webhook-server')},{secret_names('webhook-worker')}",
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def _start(self, *words: str, **env: str) -> "subprocess.Popen[bytes]":
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "processes.log").open("ab") as log:
            process = subprocess.Popen(
                [str(self._python), *words], env=self._env | env, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)
        return process

    def start_web(self, **env: str) -> "subprocess.Popen[bytes]":
        words = ["--bind", f"127.0.0.1:{self.port}", "--workers", "1", "--worker-class", "gthread", "--threads", "16"]
        process = self._start("-m", "gunicorn", *words, "--no-control-socket", "webhook_server:app", **env)
        until(self._answers, "the web process answers", said=self.log)
        return process

    def start_worker(self, **env: str) -> "subprocess.Popen[bytes]":
        return self._start("-m", "webhook.worker", **env)

    def _answers(self) -> bool:
        try:
            return self.call("GET", "/status").status_code == 200
        except requests.ConnectionError:
            return False

    def call(self, method: str, path: str, *, token: str | None = TOKEN, **options: Any) -> requests.Response:
        headers = options.pop("headers", {})
        if token is not None:
            headers = {"Authorization": f"Bearer {token}"} | headers
        return requests.request(
            method,
            f"http://127.0.0.1:{self.port}{path}",
            headers=headers,
            timeout=options.pop("timeout", 60),
            **options,
        )

    def post(self, *select: str, key: str | None = None, wait: int = 0, **body: Any) -> dict[str, Any]:
        answer = self.call(
            "POST",
            f"/webhook/manual?wait={wait}",
            json=body | ({"select": list(select)} if select else {}),
            headers={"Idempotency-Key": key} if key else {},
        )
        assert answer.status_code in (200, 202), answer.text
        return dict(answer.json())

    def run(self, run_id: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/runs/{run_id}").json())

    def final(self, run_id: str, seconds: float = 60) -> dict[str, Any]:
        until(lambda: self.run(run_id)["status"] not in ("queued", "running"), f"{run_id} ends", seconds, said=self.log)
        return self.run(run_id)

    def log(self) -> str:
        return (self.home / "processes.log").read_text()

    def end(self) -> None:
        for process in self.processes:
            kill_group(process)
        shutil.rmtree(self.home, ignore_errors=True)


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    """kill -9 of a process that a test started, and of gunicorn's child with it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


@pytest.fixture(scope="session")
def raw_shop_for_webhook(repo: Path, clickhouse: Any) -> Iterator[None]:
    with clickhouse.client("loader") as loader:
        for statement in (repo / "tests/integration/dbt/raw_shop.sql").read_text().split(";\n"):
            if statement.strip():
                loader.command(statement)
    yield
    with clickhouse.client("loader") as loader:
        for table in RAW_TABLES:
            loader.command(f"DROP TABLE IF EXISTS raw.{table}")


@pytest.fixture(scope="session")
def project(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dbt project with models that are quick, that take 20 seconds of ClickHouse, and whose test fails."""
    folder = tmp_path_factory.mktemp("project") / "dbt"
    shutil.copytree(repo / "dbt", folder, ignore=shutil.ignore_patterns("target", "logs"))
    (folder / "models/marts/slow.sql").write_text(
        "select sleepEachRow(0.5) as slept from numbers(40) settings max_block_size = 1\n"
    )
    (folder / "models/marts/quick.sql").write_text("select 1 as one\n")
    (folder / "models/marts/wrong.sql").write_text("select -1 as one\n")
    (folder / "models/marts/wrong.yml").write_text(
        "models: [{name: wrong, data_tests: [{rows_hold: {name: not_negative_wrong_one,"
        " arguments: {rules: {one_is_not_negative: one >= 0}}}}]}]\n"
    )
    return folder


@pytest.fixture
def make_webhook(
    repo: Path,
    venvs: Path,
    clickhouse: Any,
    raw_shop_for_webhook: None,
    project: Path,
    free_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
    parsed: Path,
) -> Iterator[Callable[..., Webhook]]:
    made: list[Webhook] = []

    def make(**env: str) -> Webhook:
        home = tmp_path_factory.mktemp("webhook") / "home"
        # What dbt parsed once serves every home: half of the time of these tests would be parsing.
        shutil.copytree(parsed, home / "target")
        evidence.keep_logs_of(home)
        made.append(Webhook(repo, venvs, home, project, free_port(), clickhouse.env("dbt", "webhook") | env))
        return made[-1]

    yield make
    for webhook in made:
        webhook.end()


@pytest.fixture(scope="session")
def parsed(venvs: Path, clickhouse: Any, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("parsed") / "target"
    places = ["--project-dir", project, "--profiles-dir", project, "--target-path", target, "--log-path", target]
    subprocess.run(
        [venvs / "dbt/bin/dbt", "parse", "--target", "prod", *places],
        env={"PATH": os.environ["PATH"], "HOME": str(target), **clickhouse.env("dbt")},
        check=True,
        capture_output=True,
    )
    return target


@pytest.fixture(scope="session")
def webhook_class() -> type[Webhook]:
    return Webhook


@pytest.fixture(scope="session")
def kill() -> Callable[["subprocess.Popen[bytes]"], None]:
    return kill_group
