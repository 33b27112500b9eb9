"""Real servers for the tests: Postgres and the embedded ClickHouse, on free ports, in folders of their own."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import clickhouse_connect
import evidence
import psycopg2
import pytest
from evidence import pytest_runtest_makereport  # noqa: F401 - a hook of pytest
from stack import warehouse_init
from stack.native import postgres as native_postgres
from waiting import until_up

REPO = Path(__file__).resolve().parents[1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run only the tests marked `long`: soaks and large counts")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = bool(config.getoption("--long"))
    left_out = [item for item in items if (item.get_closest_marker("long") is not None) != wanted]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def repo() -> Path:
    return REPO


@pytest.fixture(scope="session")
def venvs() -> Path:
    if "STACK_VENVS" in os.environ:
        return Path(os.environ["STACK_VENVS"])
    return Path(os.environ.get("STACK_HOME", REPO / ".stack")) / "venvs"


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    return _free_port


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder that the database user can reach (pytest's own are 0700 for root)."""
    folder = Path(tempfile.mkdtemp(prefix="stack-tests-", dir="/tmp"))
    folder.chmod(0o755)
    evidence.keep_logs_of(folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class PostgresServer:
    host: str
    port: int
    superuser: str
    password: str
    reader_password: str
    binaries: native_postgres.Binaries

    def dsn(self, dbname: str = "ecommerce_db", user: str | None = None, password: str | None = None) -> str:
        who = f"{user or self.superuser}:{quote(password or self.password)}"
        return f"postgresql://{who}@{self.host}:{self.port}/{dbname}"

    def init_env(self) -> dict[str, str]:
        """Environment of the data directory."""
        return {
            "POSTGRES_USER": self.superuser,
            "POSTGRES_PASSWORD": self.password,
            "POSTGRES_DB": "ecommerce_db",
        }

    def apply(self, file: Path, dbname: str = "ecommerce_db") -> None:
        """Applies an SQL file by psql."""
        native_postgres.run_sql_file(
            self.binaries, file, host=self.host, port=self.port, database=dbname, env=self.init_env()
        )

    def upgrade(
        self, dbname: str = "ecommerce_db", folder: Path = REPO / "postgres" / "upgrade"
    ) -> subprocess.CompletedProcess[str]:
        """Applies postgres/upgrade as every boot does; returns psql's output."""
        env = {
            "PATH": os.environ["PATH"],
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.superuser,
            "PGPASSWORD": self.password,
            "PGDATABASE": dbname,
            "POSTGRES_READER_PASSWORD": self.reader_password,
        }
        command = ["sh", str(folder / "apply.sh"), self.binaries["psql"]]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def _stop(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    process.send_signal(how)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="session")
def postgres(venvs: Path, server_folder: Path) -> Iterator[PostgresServer]:
    """A real Postgres with an empty database ecommerce_db."""
    binaries = native_postgres.find_binaries(venvs)
    server = PostgresServer(
        "127.0.0.1", _free_port(), "ecommerce", secrets.token_hex(16), secrets.token_hex(16), binaries
    )
    data = server_folder / "postgres"
    native_postgres.make_data_directory(binaries, data, init_files=[], env=server.init_env())
    with (data / "postgresql.conf").open("a") as file:
        file.write("max_prepared_transactions = 4\n")  # for the tests of transactions that wait
    log = server_folder / "postgres.log"
    command = native_postgres.server_command(binaries, data, port=server.port, bind=server.host)
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, cwd="/")

    def ready() -> bool:
        try:
            psycopg2.connect(server.dsn()).close()
        except psycopg2.OperationalError:
            return False
        return True

    until_up(process, ready, log)
    yield server
    _stop(process, signal.SIGINT)


@pytest.fixture(scope="session")
def sample_shop(postgres: PostgresServer) -> PostgresServer:
    """The same server with the sample shop in ecommerce_db."""
    for file in sorted((REPO / "postgres" / "init").glob("*.sql")):
        postgres.apply(file)
    answer = postgres.upgrade()
    assert answer.returncode == 0, answer.stderr
    return postgres


USERS = {
    "default": "CLICKHOUSE_PASSWORD",
    "loader": "CLICKHOUSE_LOADER_PASSWORD",
    "dbt": "CLICKHOUSE_DBT_PASSWORD",
    "webhook": "CLICKHOUSE_WEBHOOK_PASSWORD",
    "superset": "CLICKHOUSE_SUPERSET_PASSWORD",
    "superset_operations": "CLICKHOUSE_SUPERSET_OPERATIONS_PASSWORD",
    "superset_california": "CLICKHOUSE_SUPERSET_CALIFORNIA_PASSWORD",
}


@dataclass(frozen=True)
class WarehouseServer:
    host: str
    port: int
    passwords: dict[str, str]

    def password(self, user: str) -> str:
        return self.passwords[user]

    def env(self, *users: str) -> dict[str, str]:
        """Environment of a client of the warehouse: the address, and the passwords of `users`."""
        address = {"CLICKHOUSE_HOST": self.host, "CLICKHOUSE_HTTP_PORT": str(self.port), "CLICKHOUSE_SECURE": "false"}
        return address | {USERS[user]: self.passwords[user] for user in users}

    def client(self, user: str = "default", **options: Any) -> Any:
        return clickhouse_connect.get_client(
            host=self.host, port=self.port, username=user, password=self.passwords[user], **options
        )


@pytest.fixture(scope="session")
def clickhouse(venvs: Path, server_folder: Path) -> Iterator[WarehouseServer]:
    """The embedded ClickHouse with the project's users, roles and init SQL."""
    server = WarehouseServer("127.0.0.1", _free_port(), {user: secrets.token_hex(16) for user in USERS})
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPO / "clickhouse"),
        "BIND_ADDRESS": server.host,
        "CLICKHOUSE_HTTP_PORT": str(server.port),
        "CLICKHOUSE_PATH": str(server_folder / "clickhouse"),
        "CLICKHOUSE_CONFIG": str(REPO / "clickhouse" / "config"),
        **{name: server.passwords[user] for user, name in USERS.items()},
    }
    log = server_folder / "clickhouse.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [venvs / "clickhouse/bin/python", "-m", "embedded"], env=env, stdout=sink, stderr=sink, cwd=REPO
        )

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://{server.host}:{server.port}/ping", timeout=2) as answer:
                return bool(answer.read() == b"Ok.\n")
        except OSError:
            return False

    until_up(process, ready, log)
    with server.client() as admin:
        warehouse_init.apply(admin)
    yield server
    _stop(process, signal.SIGTERM)
