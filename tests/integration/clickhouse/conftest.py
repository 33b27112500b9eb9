"""Plain HTTP to the embedded ClickHouse, and servers of one's own that may be killed."""

from __future__ import annotations

import base64
import http.client
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import evidence
import pytest
from testing.servers import USERS
from testing.waiting import until, until_up


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def code(self) -> int | None:
        """ClickHouse's error code, or None for a success."""
        value = self.headers.get("X-ClickHouse-Exception-Code")
        return None if value is None else int(value)


@dataclass(frozen=True)
class Api:
    """One user at one server."""

    host: str
    port: int
    user: str
    password: str

    @property
    def authorization(self) -> dict[str, str]:
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {token}"}

    def connect(self, timeout: float = 60) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def call(
        self,
        body: str | bytes | Iterable[bytes] | None = None,
        *,
        method: str | None = None,
        path: str = "/",
        headers: dict[str, str] | None = None,
        **parameters: Any,
    ) -> Answer:
        """One request on a connection of its own; `parameters` stand in the address."""
        target = f"{path}?{urlencode(parameters)}" if parameters else path
        if isinstance(body, str):
            body = body.encode()
        connection = self.connect()
        try:
            chunked = body is not None and not isinstance(body, bytes)
            extra = {"Transfer-Encoding": "chunked"} if chunked else {}
            verb = method or ("GET" if body is None else "POST")
            connection.request(verb, target, body, self.authorization | extra | (headers or {}), encode_chunked=chunked)
            got = connection.getresponse()
            return Answer(got.status, dict(got.getheaders()), got.read())
        finally:
            connection.close()

    def ask(self, sql: str, **parameters: Any) -> str:
        """The answer of a query that must succeed."""
        answer = self.call(sql, **parameters)
        assert answer.status == 200, answer.text
        return answer.text.rstrip("\n")

    def running(self, query_id: str) -> int:
        """How many queries with this id the engine works on."""
        return int(self.ask(f"SELECT count() FROM system.processes WHERE Settings['log_comment'] = '{query_id}'"))

    def until_running(self, query_id: str, number: int = 1) -> None:
        until(lambda: self.running(query_id) == number, f"{number} queries {query_id} run")


@pytest.fixture(scope="session")
def api(clickhouse: Any) -> Callable[[str], Api]:
    return lambda user="default": Api(clickhouse.host, clickhouse.port, user, clickhouse.password(user))


@pytest.fixture(scope="session")
def admin(api: Callable[[str], Api]) -> Api:
    return api("default")


@pytest.fixture
def table(admin: Api, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name in `raw` for one test, dropped after it."""
    name = f"raw.{request.node.name.split('[')[0][:60]}"
    admin.ask(f"DROP TABLE IF EXISTS {name} SYNC")
    yield name
    admin.ask(f"DROP TABLE IF EXISTS {name} SYNC")


@dataclass
class OwnServer:
    """A server that a test may stop, kill and start again on the same data."""

    python: Path
    repo: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def launch(self, **changes: str) -> subprocess.Popen[bytes]:
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self.repo / "clickhouse"),
            "CLICKHOUSE_HTTP_PORT": str(self.port),
            "CLICKHOUSE_PATH": str(self.folder / "data"),
            **{variable: f"{user}-secret" for user, variable in USERS.items()},
            **self.extra,
            **changes,
        }
        with (self.folder / "server.log").open("ab") as sink:
            return subprocess.Popen([self.python, "-m", "embedded"], env=env, stdout=sink, stderr=sink, cwd=self.repo)

    def start(self) -> float:
        """Seconds until /ping answered."""
        began = time.monotonic()
        self.process = self.launch()
        until_up(self.process, self._answers, self.folder / "server.log")
        return time.monotonic() - began

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=1) as answer:
                return bool(answer.read() == b"Ok.\n")
        except OSError:
            return False

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def api(self, user: str = "default") -> Api:
        return Api("127.0.0.1", self.port, user, f"{user}-secret")


@pytest.fixture
def own_server(venvs: Path, repo: Path, free_port: Callable[[], int]) -> Iterator[OwnServer]:
    folder = Path(tempfile.mkdtemp(prefix="embedded-"))
    evidence.keep_logs_of(folder)
    server = OwnServer(venvs / "clickhouse/bin/python", repo, folder, free_port())
    yield server
    if server.process is not None and server.process.poll() is None:
        server.process.kill()
        server.process.wait()
    shutil.rmtree(folder, ignore_errors=True)
