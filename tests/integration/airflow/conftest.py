"""Airflow as it runs in the stack, beside the real source, warehouse and webhook, all on free ports."""

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from testing.receiver import Receiver, receiving
from testing.secrets import secret_names
from testing.waiting import until

BYTECODE = "PYTHONPYCACHEPREFIX"


def http(method: str, url: str, body: object = None, token: str = "", timeout: float = 10) -> tuple[int, Any]:
    """Status and JSON of the answer; (0, reason) when nobody answers."""
    request = urllib.request.Request(
        url,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})},
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


@dataclass
class Service:
    """One process of the stack with its own process group and log."""

    name: str
    command: list[str]
    env: dict[str, str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        with (self.folder / f"{self.name}.log").open("ab") as sink:
            self.process = subprocess.Popen(
                self.command, env=self.env, cwd=self.folder, stdout=sink, stderr=sink, start_new_session=True
            )

    def signal_group(self, number: signal.Signals) -> None:
        os.killpg(self.pid, number)

    def kill(self) -> None:
        self.signal_group(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def stop(self, seconds: float = 20) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                self.signal_group(signal.SIGKILL)
            self.process.wait()


@dataclass
class Stack:
    """The running stack of a test."""

    url: str
    password: str
    webhook_url: str
    webhook_token: str
    env: dict[str, str]
    home: Path
    notifications: Receiver
    folder: Path
    """Of the logs."""
    project: Path
    services: dict[str, Service] = field(default_factory=dict)
    token: str = ""

    def service(self, name: str, command: list[str], env: dict[str, str]) -> Service:
        """A process beside those of the stack, not yet started; the caller ends it."""
        return Service(name, command, env, self.folder)

    def api_as(self, method: str, path: str, body: object = None, *, token: str) -> int:
        """Status of a call with another user's token."""
        return http(method, f"{self.url}/api/v2{path}", body, token, timeout=30)[0]

    def api(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        if not self.token:
            status, answer = http(
                "POST", f"{self.url}/auth/token", {"username": "admin", "password": self.password}, timeout=30
            )
            assert status == 201, answer
            self.token = answer["access_token"]
        return http(method, f"{self.url}/api/v2{path}", body, self.token, timeout=30)

    def health(self) -> dict[str, Any]:
        status, answer = http("GET", f"{self.url}/api/v2/monitor/health")
        return {part: answer[part]["status"] for part in answer} if status == 200 else {}

    def trigger(self, dag: str = "elt_pipeline", **conf: Any) -> str:
        status, answer = self.api("POST", f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})
        assert status == 200, answer
        return str(answer["dag_run_id"])

    def runs(self, dag: str = "elt_pipeline") -> list[dict[str, Any]]:
        status, answer = self.api("GET", f"/dags/{dag}/dagRuns?order_by=-run_after")
        return list(answer["dag_runs"]) if status == 200 else []

    def tasks(self, run: str, dag: str = "elt_pipeline") -> dict[str, dict[str, Any]]:
        status, answer = self.api("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances")
        return {task["task_id"]: task for task in answer["task_instances"]} if status == 200 else {}

    def task_log(self, run: str, task: str, attempt: int = 1, dag: str = "elt_pipeline") -> str:
        """The log as Airflow's page shows it."""
        status, answer = self.api("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}")
        return json.dumps(answer) if status == 200 else ""

    def finished(self, run: str, dag: str = "elt_pipeline") -> str:
        """Waits for the end of a run; returns its state. A task that waits for a retry fails the test with its log."""

        def state() -> str:
            found = {each["dag_run_id"]: each["state"] for each in self.runs(dag)}.get(run, "")
            for name, task in self.tasks(run, dag).items():
                if task["state"] == "up_for_retry":
                    raise AssertionError(f"{name} failed:\n{self.task_log(run, name, task['try_number'], dag)[-6000:]}")
            return found if found in ("success", "failed") else ""

        return str(until(state, f"the end of {run}", 360))

    def dbt_runs(self, key_part: str = "") -> list[dict[str, Any]]:
        status, answer = http("GET", f"{self.webhook_url}/runs?limit=100", token=self.webhook_token)
        assert status == 200, answer
        return [run for run in answer["runs"] if key_part in json.dumps(run)]

    def dbt_nodes(self, run: str) -> list[dict[str, Any]]:
        status, answer = http("GET", f"{self.webhook_url}/runs/{run}", token=self.webhook_token)
        assert status == 200, answer
        return list(answer["nodes"])


@pytest.fixture(scope="session")
def notifications() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def metadata(postgres: Any) -> str:
    """SQLAlchemy's address of an empty metadata database."""
    password = secrets.token_hex(16)
    connection = psycopg2.connect(postgres.dsn())
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE airflow LOGIN PASSWORD '{password}'")
        cursor.execute("CREATE DATABASE airflow OWNER airflow")
    connection.close()
    return str(postgres.dsn("airflow", "airflow", password)).replace("postgresql://", "postgresql+psycopg2://")


@pytest.fixture(scope="session")
def airflow_env(
    repo: Path,
    metadata: str,
    server_folder: Path,
    free_port: Callable[[], int],
) -> dict[str, str]:
    """Names that the launcher gives to every process of Airflow: constants from airflow.env, the rest of this machine."""
    lines = (repo / "airflow/config/airflow.env").read_text().splitlines()
    port = free_port()
    home = server_folder / "airflow"
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{repo}/airflow/plugins:{repo}/scripts",
        # Services of an installed stack have compiled files; compiled once here, and kept out of the source tree.
        BYTECODE: str(server_folder / "bytecode"),
        **dict(line.split("=", 1) for line in lines if line and not line.startswith("#")),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_ADMIN_PASSWORD": secrets.token_hex(16),
        "AIRFLOW_AGENT_PASSWORD": secrets.token_hex(16),
        "AIRFLOW_METADATA_CONN": metadata,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata,
        # A test may add one.
        "AIRFLOW__CORE__DAGS_FOLDER": str(shutil.copytree(repo / "airflow/dags", server_folder / "dags")),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
    }


@pytest.fixture(scope="session")
def provision(repo: Path, venvs: Path, airflow_env: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(venvs / "airflow/bin/python"), str(repo / "airflow/provision.py")],
            env={**airflow_env, **environment},
            text=True,
            capture_output=True,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def erp_url(sample_shop: Any) -> str:
    """Address of a second database, as its reader: one table of targets."""
    owner = psycopg2.connect(sample_shop.dsn())
    owner.autocommit = True
    with owner.cursor() as cursor:
        cursor.execute("CREATE DATABASE erp")
        cursor.execute("GRANT CONNECT ON DATABASE erp TO elt_reader")
    owner.close()
    connection = psycopg2.connect(sample_shop.dsn("erp"))
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE targets (state text PRIMARY KEY, amount numeric(12, 2) NOT NULL)")
        cursor.execute("INSERT INTO targets VALUES ('CA', 10), ('NY', 20), ('TX', 30)")
        cursor.execute("GRANT SELECT ON targets TO elt_reader")
    connection.close()
    return str(sample_shop.dsn("erp", "elt_reader", sample_shop.reader_password))


@pytest.fixture(scope="session")
def stack(
    repo: Path,
    venvs: Path,
    server_folder: Path,
    free_port: Callable[[], int],
    sample_shop: Any,
    clickhouse: Any,
    airflow_env: dict[str, str],
    provision: Callable[..., subprocess.CompletedProcess[str]],
    notifications: Receiver,
    erp_url: str,
) -> Iterator[Stack]:
    """Everything that a DAG run needs, started as the stack starts it; the first run is the schedule's own."""
    folder = server_folder / "logs"
    folder.mkdir()
    # A test may change it.
    pipeline = server_folder / "pipeline.yml"
    pipeline.write_text((repo / "pipeline.yml").read_text())
    project = shutil.copytree(repo / "dbt", server_folder / "dbt", ignore=shutil.ignore_patterns("target", "logs"))
    webhook_port, token = free_port(), secrets.token_hex(16)
    warehouse = clickhouse.env()
    dbt_python = str(venvs / "dbt/bin/python")
    webhook_env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(repo / "scripts"),
        BYTECODE: airflow_env[BYTECODE],
        "WEBHOOK_HOME": str(server_folder / "webhook"),
        "WEBHOOK_TOKEN": token,
        "DBT_PROJECT_DIR": str(project),
        "DBT_PROFILES_DIR": str(project),
        **clickhouse.env("dbt", "webhook"),
        **{"SHOP_TIMEZONE": "UTC", "SHOP_CURRENCY": "USD", "SAMPLE_SHOP": "true"},
    }
    env = {
        **airflow_env,
        **warehouse,
        **clickhouse.env("loader", "airflow"),
        "SOURCE_URL": sample_shop.dsn("ecommerce_db", "elt_reader", sample_shop.reader_password),
        "ERP_URL": erp_url,
        "MASK_SALT": secrets.token_hex(16),
        "ELT_PIPELINE": str(pipeline),
        "ELT_PLAN": str(server_folder / "plan.json"),
        "ELT_SCHEDULE": "@daily",
        "NOTIFY_URL": notifications.url,
        "SAMPLE_SHOP": "true",
        "WEBHOOK_URL": f"http://127.0.0.1:{webhook_port}",
        "WEBHOOK_TOKEN": token,
        "STACK_SECRETS": f"{secret_names('airflow-scheduler')},ERP_URL",
    }
    (server_folder / "webhook").mkdir()
    airflow = [str(venvs / "airflow/bin/python"), "-m", "airflow"]
    gunicorn = [dbt_python, "-m", "gunicorn", "--bind", f"127.0.0.1:{webhook_port}", "--worker-class", "gthread"]
    gunicorn += ["--workers", "1", "--threads", "8", "--no-control-socket", "webhook_server:app"]
    stack = Stack(
        url=airflow_env["AIRFLOW__API__BASE_URL"],
        password=airflow_env["AIRFLOW_ADMIN_PASSWORD"],
        webhook_url=env["WEBHOOK_URL"],
        webhook_token=token,
        env=env,
        home=Path(airflow_env["AIRFLOW_HOME"]),
        notifications=notifications,
        folder=folder,
        project=project,
    )
    for name, command, environment in (
        ("webhook-server", gunicorn, webhook_env),
        ("webhook-worker", [dbt_python, "-m", "webhook.worker"], webhook_env),
        ("airflow-webserver", [*airflow, "api-server", "--proxy-headers"], env),
        ("airflow-dag-processor", [*airflow, "dag-processor"], env),
        ("airflow-scheduler", [*airflow, "scheduler", "--skip-serve-logs"], env),
    ):
        stack.services[name] = Service(name, command, environment, folder)
    done = provision()
    assert done.returncode == 0, done.stderr
    try:
        for name, service in stack.services.items():
            if name == "airflow-scheduler":
                until(lambda: stack.health(), "the api-server, without which a task fails at once", 270)
            service.start()
        up = ("metadatabase", "scheduler", "dag_processor")
        until(lambda: [stack.health().get(part) for part in up] == ["healthy"] * 3, "Airflow's health", 180)
        until(lambda: http("GET", f"{stack.webhook_url}/health")[0] == 200, "the webhook's health", 90)
        yield stack
    finally:
        for service in reversed(stack.services.values()):
            service.stop()
