"""Postgres, and the embedded ClickHouse, which may be killed and started again on the same data."""

import os
import secrets
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import clickhouse_connect
import psycopg2
from stack import warehouse_init
from stack.native import postgres as native_postgres

from testing.waiting import until_up

REPO = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_sql(dsn: str, *statements: str, name: str = "") -> list[tuple[Any, ...]]:
    """Runs each statement in a transaction of its own, in a session of that `name`; returns the rows of the last one."""
    connection = psycopg2.connect(dsn, application_name=name)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


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

    def environment(self) -> dict[str, str]:
        """Environment of a client that is the owner of the data."""
        return {"POSTGRES_HOST": self.host, "POSTGRES_PORT": str(self.port), **self.init_env()}

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return run_sql(self.dsn(), sql)

    def apply(self, file: Path, dbname: str = "ecommerce_db") -> None:
        """Applies an SQL file by psql."""
        native_postgres.run_sql_file(
            self.binaries, file, host=self.host, port=self.port, database=dbname, env=self.init_env()
        )

    def upgrade(
        self, dbname: str = "ecommerce_db", folder: Path = REPO / "postgres" / "upgrade"
    ) -> subprocess.CompletedProcess[str]:
        """Applies postgres/upgrade as every boot does; what psql printed stands in the answer."""
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


@contextmanager
def postgres_server(venvs: Path, folder: Path) -> Iterator[PostgresServer]:
    """A Postgres below `folder` with an empty database ecommerce_db."""
    binaries = native_postgres.find_binaries(venvs)
    server = PostgresServer(
        "127.0.0.1", free_port(), "ecommerce", secrets.token_hex(16), secrets.token_hex(16), binaries
    )
    data = folder / "postgres"
    native_postgres.make_data_directory(binaries, data, init_files=[], env=server.init_env())
    with (data / "postgresql.conf").open("a") as file:
        file.write("max_prepared_transactions = 4\n")  # for the tests of transactions that wait
    log = folder / "postgres.log"
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
    try:
        yield server
    finally:
        _stop(process, signal.SIGINT)


USERS = {
    user.tag: user.find("password").attrib["from_env"]  # type: ignore[union-attr]
    for user in ElementTree.parse(REPO / "clickhouse/config/users.xml").getroot().findall("users/*")
}
"""Name of the variable with the password, by user."""


@dataclass(frozen=True)
class WarehouseServer:
    host: str
    port: int
    passwords: dict[str, str]

    def password(self, user: str) -> str:
        return self.passwords[user]

    def env(self, *users: str) -> dict[str, str]:
        """Environment of a client of the warehouse: the address, and the passwords of `users`; of all, where none is named."""
        address = {"CLICKHOUSE_HOST": self.host, "CLICKHOUSE_HTTP_PORT": str(self.port), "CLICKHOUSE_SECURE": "false"}
        passwords = {USERS[user]: self.passwords[user] for user in users or USERS}
        return {**address, **passwords, "STACK_SECRETS": ",".join(passwords)}

    def client(self, user: str = "default", **options: Any) -> Any:
        return clickhouse_connect.get_client(
            host=self.host, port=self.port, username=user, password=self.passwords[user], **options
        )

    def rows(self, sql: str, user: str = "default") -> list[tuple[Any, ...]]:
        with self.client(user) as client:
            return [tuple(row) for row in client.query(sql).result_rows]

    def command(self, sql: str, user: str = "default") -> None:
        with self.client(user) as client:
            client.command(sql)


class WarehouseProcess:
    """The embedded ClickHouse below `folder` with the project's users, roles and init SQL."""

    def __init__(self, venvs: Path, folder: Path) -> None:
        self.server = WarehouseServer("127.0.0.1", free_port(), {user: secrets.token_hex(16) for user in USERS})
        self.folder = folder
        self._python = venvs / "clickhouse/bin/python"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "the server was never started"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> Path:
        return self.folder / "clickhouse.log"

    def launch(self, **changes: str) -> "subprocess.Popen[bytes]":
        """Starts one more server, with these changes of its environment, and does not wait for it."""
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPO / "clickhouse"),
            "BIND_ADDRESS": self.server.host,
            "CLICKHOUSE_HTTP_PORT": str(self.server.port),
            "CLICKHOUSE_PATH": str(self.folder / "clickhouse"),
            "CLICKHOUSE_CONFIG": str(REPO / "clickhouse" / "config"),
            **{name: self.server.passwords[user] for user, name in USERS.items()},
            **changes,
        }
        with self.log.open("ab") as sink:
            return subprocess.Popen([self._python, "-m", "embedded"], env=env, stdout=sink, stderr=sink, cwd=REPO)

    def start(self, **changes: str) -> None:
        """Starts the server on the data that is there; waits until it answers."""
        self._process = self.launch(**changes)
        until_up(self._process, self._answers, self.log)

    def apply_init(self) -> None:
        """Applies clickhouse/init, as each boot does."""
        with self.server.client() as admin:
            warehouse_init.apply(admin)

    def forget_peak(self) -> None:
        """Resets the highest memory of the server."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """Highest resident memory of the server since forget_peak."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def end(self, how: signal.Signals) -> int:
        """Sends the signal and waits for the end; returns the exit code."""
        self.process.send_signal(how)
        return self.process.wait(20)

    def stop(self) -> None:
        if self._process is not None:
            _stop(self._process, signal.SIGTERM)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.server.host}:{self.server.port}/ping", timeout=2) as answer:
                return bool(answer.read() == b"Ok.\n")
        except OSError:
            return False


@contextmanager
def warehouse_server(venvs: Path, folder: Path) -> Iterator[WarehouseProcess]:
    process = WarehouseProcess(venvs, folder)
    try:
        process.start()
        process.apply_init()
        yield process
    finally:
        process.stop()


def _stop(process: "subprocess.Popen[bytes]", how: signal.Signals) -> None:
    process.send_signal(how)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
