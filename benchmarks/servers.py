"""A source and a warehouse of a benchmark's own: the project's servers on free ports, in a folder that goes away."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clickhouse_connect
import psycopg2
from stack import warehouse_init
from stack.native import postgres

REPO = Path(__file__).resolve().parents[1]
VENVS = Path(os.environ.get("STACK_VENVS", REPO / ".stack" / "venvs"))
# Name of the variable with the password, by user.
_USERS = {
    user.tag: user.find("password").attrib["from_env"]  # type: ignore[union-attr]
    for user in ElementTree.parse(REPO / "clickhouse/config/users.xml").getroot().findall("users/*")
}


@dataclass(frozen=True)
class Warehouse:
    """The embedded ClickHouse with the project's users and init SQL."""

    port: int
    passwords: dict[str, str]
    pid: int

    def environment(self) -> dict[str, str]:
        names = {variable: self.passwords[user] for user, variable in _USERS.items()}
        return {"CLICKHOUSE_HOST": "127.0.0.1", "CLICKHOUSE_HTTP_PORT": str(self.port), **names}

    def rows(self, sql: str, user: str = "default") -> list[tuple[Any, ...]]:
        with self.client(user) as client:
            return [tuple(row) for row in client.query(sql).result_rows]

    def command(self, sql: str, user: str = "default") -> None:
        with self.client(user) as client:
            client.command(sql)

    def client(self, user: str, **options: Any) -> Any:
        return clickhouse_connect.get_client(
            host="127.0.0.1", port=self.port, username=user, password=self.passwords[user], **options
        )

    def forget_peak(self) -> None:
        """Resets the highest memory of the server."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """Highest resident memory of the server since forget_peak."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


@dataclass(frozen=True)
class Source:
    """Postgres with the schema of the sample shop and no rows."""

    port: int
    password: str

    @property
    def url(self) -> str:
        return f"postgresql://ecommerce:{self.password}@127.0.0.1:{self.port}/ecommerce_db"

    def environment(self) -> dict[str, str]:
        return {
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": str(self.port),
            "POSTGRES_USER": "ecommerce",
            "POSTGRES_PASSWORD": self.password,
            "POSTGRES_DB": "ecommerce_db",
        }

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.url)
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall()
        finally:
            connection.close()


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that the database user can reach."""
    made = Path(tempfile.mkdtemp(prefix="stack-benchmark-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def warehouse(at: Path) -> Iterator[Warehouse]:
    port, passwords = _free_port(), {user: secrets.token_hex(16) for user in _USERS}
    server = Warehouse(port, passwords, 0)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPO / "clickhouse"),
        "BIND_ADDRESS": "127.0.0.1",
        "CLICKHOUSE_PATH": str(at / "clickhouse"),
        "CLICKHOUSE_CONFIG": str(REPO / "clickhouse" / "config"),
        **server.environment(),
    }
    command = [str(VENVS / "clickhouse/bin/python"), "-m", "embedded"]
    with _running(command, at / "clickhouse.log", lambda: _answers(port), signal.SIGTERM, environment) as pid:
        server = Warehouse(port, passwords, pid)
        with server.client("default") as admin:
            warehouse_init.apply(admin)
        yield server


@contextmanager
def source(at: Path) -> Iterator[Source]:
    server = Source(_free_port(), secrets.token_hex(16))
    binaries, data = postgres.find_binaries(VENVS), at / "postgres"
    postgres.make_data_directory(binaries, data, init_files=[], env=server.environment())
    command = postgres.server_command(binaries, data, port=server.port, bind="127.0.0.1")

    def ready() -> bool:
        try:
            psycopg2.connect(server.url).close()
        except psycopg2.OperationalError:
            return False
        return True

    with _running(command, at / "postgres.log", ready, signal.SIGINT):
        schema = REPO / "postgres" / "init" / "01-init-schema.sql"
        postgres.run_sql_file(
            binaries, schema, host="127.0.0.1", port=server.port, database="ecommerce_db", env=server.environment()
        )
        yield server


@contextmanager
def _running(
    command: list[str],
    log: Path,
    ready: Callable[[], bool],
    stop: signal.Signals,
    environment: dict[str, str] | None = None,
) -> Iterator[int]:
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=environment, stdout=sink, stderr=sink, cwd="/")
    try:
        deadline = time.monotonic() + 60
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not come up:\n{log.read_text()[-3000:]}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(stop)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2) as answer:
            return bool(answer.read() == b"Ok.\n")
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
