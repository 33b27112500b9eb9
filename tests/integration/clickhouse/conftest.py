"""Plain HTTP to the embedded ClickHouse, and servers of one's own that may be killed."""

from __future__ import annotations

import base64
import http.client
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import evidence
import pytest
from testing.servers import WarehouseProcess
from testing.waiting import until


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


class OwnServer(WarehouseProcess):
    """A server of one test, which may stop, kill and start it again on the same data. Its init SQL is not applied."""

    def api(self, user: str = "default") -> Api:
        return Api(self.server.host, self.server.port, user, self.server.password(user))


@pytest.fixture
def own_server(venvs: Path) -> Iterator[OwnServer]:
    folder = Path(tempfile.mkdtemp(prefix="embedded-"))
    evidence.keep_logs_of(folder)
    server = OwnServer(venvs, folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)
