"""A real Superset: metadata in a real Postgres, the warehouse in the embedded ClickHouse, served by gunicorn as in production."""

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests
from testing.waiting import until, until_up

# Days: of the rows of `logs` and `query` that the server finds when it starts, on both sides of 90.
AGES = (91, 89)


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

    def login(self, password: str | None = None, user: str = "admin") -> requests.Response:
        body = {"username": user, "password": password or self.env["SUPERSET_ADMIN_PASSWORD"], "provider": "db"}
        return requests.post(f"{self.url}/api/v1/security/login", json=body, timeout=30)


class Api:
    """A logged-in session with its CSRF token."""

    def __init__(self, server: SupersetServer, user: str = "admin", password: str | None = None) -> None:
        self._url = server.url
        self.user, self._password = user, password
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {server.login(password, user).json()['access_token']}"
        token = self.get("/api/v1/security/csrf_token/").json()["result"]
        self._session.headers.update({"X-CSRFToken": token, "Referer": server.url})

    def log_in_by_form(self) -> None:
        """Gives the session the cookie of a browser, in place of the token of the API."""
        token = self._session.headers["X-CSRFToken"]
        form = {"username": self.user, "password": self._password, "csrf_token": token}
        assert self._session.post(f"{self._url}/login/", data=form, timeout=60).status_code == 200
        del self._session.headers["Authorization"]
        self._session.headers["X-CSRFToken"] = self.get("/api/v1/security/csrf_token/").json()["result"]
        assert self.get("/api/v1/me/").json()["result"]["username"] == self.user

    def get(self, path: str) -> requests.Response:
        return self._session.get(self._url + path, timeout=60)

    def post(self, path: str, body: Any) -> requests.Response:
        return self._session.post(self._url + path, json=body, timeout=60)

    def put(self, path: str, body: Any) -> requests.Response:
        return self._session.put(self._url + path, json=body, timeout=60)

    def delete(self, path: str) -> requests.Response:
        return self._session.delete(self._url + path, timeout=60)

    def database_id(self, name: str = "Warehouse") -> int:
        found = self.get("/api/v1/database/").json()["result"]
        return next(int(row["id"]) for row in found if row["database_name"] == name)

    def sql(self, query: str, database: str = "Warehouse", schema: str = "analytics") -> requests.Response:
        """Runs a query as SQL Lab does."""
        body = {
            "database_id": self.database_id(database),
            "sql": query,
            "schema": schema,
            "runAsync": False,
            "queryLimit": 100,
        }
        return self.post("/api/v1/sqllab/execute/", body)


@pytest.fixture(scope="session")
def warehouse(clickhouse: Any) -> Any:
    """The warehouse with a mart that Warehouse may read, and a table of `raw` and of `ops` that it may not."""
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
        for database in ("raw", "ops"):
            table = f"{database}.superset_test_secret"
            admin.command(f"CREATE TABLE {table} (id UInt64, told String) ENGINE = MergeTree ORDER BY id")
            admin.command(f"INSERT INTO {table} VALUES (1, 'secret of {database}')")
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
        "PYTHONPATH": f"{repo}/superset/config:{repo}/scripts",
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
        **warehouse.env("superset", "superset_operations", "superset_california"),
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
        for days in AGES:
            at = f"now() - interval '{days} days'"
            cur.execute(f"INSERT INTO logs (action, json, dttm) VALUES ('superset_test_{days}', '{{}}', {at})")
            cur.execute(
                "INSERT INTO query (client_id, database_id, sql, changed_on) "
                f"SELECT 'test_{days}', min(id), 'SELECT 1', {at} FROM dbs"
            )
    metadata.close()
    config = repo / "superset" / "config"
    serving = {name: value for name, value in env.items() if name != "SUPERSET_ADMIN_PASSWORD"}
    serving |= {
        "PYTHONPATH": f"{config}:{repo / 'scripts'}",
        "SUPERSET_CONFIG_PATH": str(config / "superset_config.py"),
    }
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

    until_up(process, healthy, log, 180)
    yield server
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="session")
def api(superset: SupersetServer) -> Api:
    return Api(superset)


@pytest.fixture(scope="session")
def new_person(superset: SupersetServer, api: Api) -> Callable[..., Api]:
    """Makes a user with the given roles and logs in."""

    def make(*roles: str) -> Api:
        known = {
            row["name"]: row["id"] for row in api.get("/api/v1/security/roles/?q=(page_size:100)").json()["result"]
        }
        name, password = f"person-{secrets.token_hex(4)}", secrets.token_hex(12)
        user = {"username": name, "first_name": "A", "last_name": "B", "email": f"{name}@example.com", "active": True}
        answer = api.post(
            "/api/v1/security/users/", user | {"password": password, "roles": [known[role] for role in roles]}
        )
        assert answer.status_code == 201, answer.text
        return Api(superset, name, password)

    return make


@pytest.fixture(scope="session")
def pruned(superset: SupersetServer) -> list[tuple[list[str], list[str]]]:
    """Which of the rows that the fixture of the server wrote are left in `logs` and in `query` once the server has pruned.

    The server prunes when it starts: tests that exchange its database wait for this one.
    """
    connection = psycopg2.connect(superset.dsn)
    connection.autocommit = True
    tables = {"logs": "action", "query": "client_id"}

    def left() -> list[Any]:
        rows = []
        with connection.cursor() as cur:
            for table, column in tables.items():
                cur.execute(f"SELECT {column} FROM {table} WHERE {column} ~ 'test_[0-9]+$' ORDER BY 1")
                rows.append([name for (name,) in cur.fetchall()])
        return rows if all(len(names) < len(AGES) for names in rows) else []

    rows = until(left, "the server has pruned both tables")
    connection.close()
    return rows


# An app of Superset without our FLASK_APP_MUTATOR, asked in its own process: path and body, or null.
WITHOUT_FIXES = r"""
import json, os, sys
from pathlib import Path

home = Path(sys.argv[1])
config = home / "without_fixes.py"
config.write_text("from superset_config import *\nFLASK_APP_MUTATOR = lambda app: None\nWTF_CSRF_ENABLED = False\n")
os.environ["SUPERSET_CONFIG_PATH"] = str(config)
from superset.app import create_app

client = create_app().test_client()
body = {"username": "admin", "password": os.environ["SUPERSET_ADMIN_PASSWORD"], "provider": "db"}
token = client.post("/api/v1/security/login", json=body).json["access_token"]
headers = {"Authorization": "Bearer " + token}
path, body = json.loads(sys.argv[2])
answer = client.get(path, headers=headers) if body is None else client.post(path, json=body, headers=headers)
print(json.dumps(answer.json))
"""


Asked = tuple[str, Any]


@pytest.fixture(scope="session")
def without_fixes(superset: SupersetServer, server_folder: Path) -> Callable[[Asked], Any]:
    """Asks a Superset whose functions are as they were shipped, on the same data."""

    def ask(request: Asked) -> Any:
        env = superset.env | {"PYTHONPATH": f"{superset.repo}/superset/config:{superset.repo}/scripts"}
        command = [str(superset.python), "-c", WITHOUT_FIXES, str(server_folder), json.dumps(request)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return ask
