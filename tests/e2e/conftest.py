"""One stack for all e2e tests: booted as a new user boots it, in a folder of its own."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import clickhouse_connect
import evidence
import psutil
import psycopg2
import pytest
from browser import Visitor, launched
from playwright.sync_api import Browser
from superset_api import Superset
from verbs import Stack


class NativeStack(Stack):
    """The stack without containers."""

    def processes(self) -> list[psutil.Process]:
        """Every process of this stack, found without the stack's own code: by folder names in what /proc tells."""
        mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        found = []
        for process in psutil.process_iter():
            try:
                words = [process.cwd(), *process.cmdline(), *process.environ().values()]
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
            if process.pid not in mine and any(str(self.home) in word for word in words):
                found.append(process)
        return found


@pytest.fixture(scope="session")
def stack(repo: Path, venvs: Path) -> Iterator[NativeStack]:
    home = Path(tempfile.mkdtemp(prefix="stack-e2e-", dir="/tmp"))
    home.chmod(0o755)
    keep = ("PATH", "HOME", "LANG", "STACK_UV", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
    env = {name: os.environ[name] for name in keep if name in os.environ}
    stack = NativeStack(repo, home, env | {"STACK_HOME": str(home), "STACK_VENVS": str(venvs), "TERM": "dumb"})
    evidence.keep_logs_of(home)
    yield stack
    stack.call("stop.sh", check=False)
    for process in stack.processes():
        with suppress(psutil.NoSuchProcess):
            process.kill()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def booted(stack: NativeStack) -> str:
    return stack.call("run.sh", "--native", seconds=900)


TODAY = "SELECT toDate(max(_elt_loaded_at), 'UTC') FROM raw.orders"


def refresh(stack: Any) -> str:
    """Loads and builds, as the DAG does; returns what was printed."""
    return str(stack.call("scripts/refresh"))


@pytest.fixture(scope="session")
def believable(stack: Any, booted: str) -> None:
    """A shop of 20,000 orders in two years."""
    stack.call("scripts/generate_data", "--orders", "20000", "--seed", "3")
    refresh(stack)


@pytest.fixture(scope="session")
def url(stack: Any, booted: str) -> str:
    return f"http://127.0.0.1:{stack.values()['SUPERSET_PORT']}"


@pytest.fixture(scope="session")
def admin(stack: Any, url: str) -> Superset:
    return Superset(url, "admin", stack.values()["SUPERSET_ADMIN_PASSWORD"])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def admin_visitor(browser: Browser, stack: Any, url: str) -> Visitor:
    return Visitor(browser, url, "admin", stack.values()["SUPERSET_ADMIN_PASSWORD"])


@pytest.fixture(scope="session")
def source(stack: Any, believable: None) -> Iterator[Any]:
    values = stack.values()
    connection = psycopg2.connect(
        host="127.0.0.1",
        port=values["POSTGRES_PORT"],
        user=values["POSTGRES_USER"],
        password=values["POSTGRES_PASSWORD"],
        dbname=values["POSTGRES_DB"],
    )
    with connection.cursor() as cursor:
        yield cursor
    connection.close()


@pytest.fixture(scope="session")
def warehouse(stack: Any, believable: None) -> Iterator[Any]:
    values = stack.values()
    with clickhouse_connect.get_client(
        host="127.0.0.1",
        port=int(values["CLICKHOUSE_HTTP_PORT"]),
        username="default",
        password=values["CLICKHOUSE_PASSWORD"],
    ) as client:
        yield client


@pytest.fixture(scope="session")
def today(warehouse: Any) -> date:
    """The day of the last load: today for every question of recency."""
    day: date = warehouse.query(TODAY).result_rows[0][0]
    return day


@pytest.fixture(scope="session")
def people(admin: Superset, url: str, believable: None) -> dict[str, tuple[str, str]]:
    """A user for each role, made as an admin makes them: {name: (user, password)}."""
    roles = {row["name"]: row["id"] for row in admin.listed("security/roles")}
    made = {}
    for user, names in {
        "viewer": ["Viewer"],
        "analyst": ["Analyst"],
        "californian": ["Viewer", "Only California"],
    }.items():
        name, password = f"{user}-{secrets.token_hex(3)}", secrets.token_hex(12)
        body = {
            "username": name,
            "first_name": user,
            "last_name": "Test",
            "email": f"{name}@example.com",
            "active": True,
            "password": password,
            "roles": [roles[name] for name in names],
        }
        answer = admin.post("/api/v1/security/users/", body)
        assert answer.status_code == 201, answer.text
        made[user] = (name, password)
    return made
