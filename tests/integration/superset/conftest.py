"""A real Superset: metadata in a real Postgres, the warehouse in the embedded ClickHouse, served by gunicorn as in production."""

import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests


@dataclass(frozen=True)
class SupersetServer:
    """Addresses and secrets of the server under test."""

    url: str
    python: Path
    repo: Path
    env: dict[str, str]
    dsn: str

    def provision(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.python), str(self.repo / "superset" / "provision.py"), *arguments]
        return subprocess.run(command, env=self.env | env, capture_output=True, text=True, timeout=300, check=False)

    def login(self, password: str | None = None) -> requests.Response:
        body = {"username": "admin", "password": password or self.env["SUPERSET_ADMIN_PASSWORD"], "provider": "db"}
        return requests.post(f"{self.url}/api/v1/security/login", json=body, timeout=30)


class Api:
    """A logged-in session with its CSRF token."""

    def __init__(self, server: SupersetServer) -> None:
        self._url = server.url
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {server.login().json()['access_token']}"
        token = self.get("/api/v1/security/csrf_token/").json()["result"]
        self._session.headers.update({"X-CSRFToken": token, "Referer": server.url})

    def get(self, path: str) -> requests.Response:
        return self._session.get(self._url + path, timeout=60)

    def post(self, path: str, body: Any) -> requests.Response:
        return self._session.post(self._url + path, json=body, timeout=60)

    def put(self, path: str, body: Any) -> requests.Response:
        return self._session.put(self._url + path, json=body, timeout=60)

    def delete(self, path: str) -> requests.Response:
        return self._session.delete(self._url + path, timeout=60)

    def warehouse_id(self) -> int:
        found = self.get("/api/v1/database/").json()["result"]
        return next(int(row["id"]) for row in found if row["database_name"] == "Warehouse")

    def sql(self, query: str) -> requests.Response:
        """Runs a query as SQL Lab does."""
        body = {
            "database_id": self.warehouse_id(),
            "sql": query,
            "schema": "analytics",
            "runAsync": False,
            "queryLimit": 100,
        }
        return self.post("/api/v1/sqllab/execute/", body)


@pytest.fixture(scope="session")
def warehouse(clickhouse: Any) -> Any:
    """The warehouse with a table that Superset may read and one that it may not."""
    with clickhouse.client("default") as admin:
        admin.command(
            "CREATE TABLE analytics.superset_test_days (order_date DateTime64(6, 'UTC'), day Date, amount Decimal(14, 2)) "
            "ENGINE = MergeTree ORDER BY order_date"
        )
        # One sale of 1.00 at noon of each day of the first quarter.
        admin.command(
            "INSERT INTO analytics.superset_test_days "
            "SELECT toDateTime64('2026-01-01 12:00:00', 6, 'UTC') + INTERVAL number DAY, toDate('2026-01-01') + number, 1 FROM numbers(90)"
        )
        admin.command("CREATE TABLE raw.superset_test_secret (id UInt64) ENGINE = MergeTree ORDER BY id")
    return clickhouse


@pytest.fixture(scope="session")
def superset(
    postgres: Any, warehouse: Any, venvs: Path, repo: Path, server_folder: Path, free_port: Callable[[], int]
) -> Iterator[SupersetServer]:
    """Provisioned and serving."""
    password = secrets.token_hex(16)
    admin = psycopg2.connect(postgres.dsn("postgres"))
    admin.autocommit = True
    with admin.cursor() as cur:
        cur.execute("CREATE ROLE superset LOGIN PASSWORD %s", (password,))
        cur.execute("CREATE DATABASE superset OWNER superset")
    admin.close()
    port = free_port()
    home = server_folder / "superset"
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(server_folder),
        "SUPERSET_HOME": str(home),
        "SUPERSET_SECRET_KEY": secrets.token_hex(32),
        "SUPERSET_ADMIN_PASSWORD": secrets.token_hex(16),
        "SUPERSET_DB_HOST": postgres.host,
        "SUPERSET_DB_PORT": str(postgres.port),
        "SUPERSET_DB_PASSWORD": password,
        "SUPERSET_PORT": str(port),
        "BIND_ADDRESS": "127.0.0.1",
        "SHOP_TIMEZONE": "UTC",
        "SHOP_CURRENCY": "USD",
        "SAMPLE_SHOP": "true",
        **warehouse.env("superset"),
    }
    server = SupersetServer(
        url=f"http://127.0.0.1:{port}",
        python=venvs / "superset/bin/python",
        repo=repo,
        env=env,
        dsn=postgres.dsn("superset", "superset", password),
    )
    first = server.provision()
    assert first.returncode == 0, first.stdout + first.stderr
    metadata = psycopg2.connect(server.dsn)
    with metadata, metadata.cursor() as cur:
        cur.execute("INSERT INTO logs (action, json, dttm) VALUES ('superset_test_old', '{}', '2000-01-01')")
    metadata.close()
    config = repo / "superset" / "config"
    serving = {name: value for name, value in env.items() if name != "SUPERSET_ADMIN_PASSWORD"}
    serving |= {"PYTHONPATH": str(config), "SUPERSET_CONFIG_PATH": str(config / "superset_config.py")}
    command = [
        str(server.python),
        "-m",
        "gunicorn",
        "--config",
        str(config / "gunicorn_conf.py"),
        "superset.app:create_app()",
    ]
    log = server_folder / "superset.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=serving, stdout=sink, stderr=sink, cwd=repo)

    def healthy() -> bool:
        try:
            return requests.get(f"{server.url}/health", timeout=2).text == "OK"
        except requests.RequestException:
            return False

    deadline = time.monotonic() + 180
    while not healthy():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"Superset did not come up:\n{log.read_text()[-3000:]}")
        time.sleep(0.1)
    yield server
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="session")
def api(superset: SupersetServer) -> Api:
    return Api(superset)


@pytest.fixture(scope="session")
def first_write(superset: SupersetServer, api: Api) -> tuple[int, bool]:
    """How many events of the year 2000 the server's first write left, and whether it wrote that of this request.

    The server deletes old events once a day: tests that exchange its database wait for this one.
    """
    api.get("/api/v1/dashboard/")
    connection = psycopg2.connect(superset.dsn)
    connection.autocommit = True
    deadline = time.monotonic() + 20
    row = (1, False)
    with connection.cursor() as cur:
        while row != (0, True) and time.monotonic() < deadline:
            time.sleep(0.5)
            cur.execute(
                "SELECT count(*) FILTER (WHERE dttm < now() - interval '1 year'), "
                "coalesce(bool_or(action = 'DashboardRestApi.get_list'), false) FROM logs"
            )
            row = cur.fetchone() or row
    connection.close()
    return row
