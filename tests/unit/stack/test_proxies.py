"""Proxies of the person's environment are not asked for the stack's own services."""

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from clickhouse_connect.driver import httputil
from stack import proxies
from stack.env import file as env_file
from stack.native import launch
from stack.paths import Paths
from stack.table import health, services
from stack.table.services import Context

# Nobody listens there: what asks this proxy fails.
NOBODY = "http://127.0.0.1:9"
PROXIES = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


class Ok(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Ok) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


@pytest.fixture
def behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.setenv(name, NOBODY)
    monkeypatch.setenv("NO_PROXY", "intranet.example.com")
    monkeypatch.setenv("no_proxy", "")


def test_health_checks_ask_no_proxy(server: int, behind_a_proxy: None) -> None:
    check = health.CHECKS["superset"]
    assert check({"SUPERSET_PORT": str(server)}, datetime.now(UTC)) == ""


def test_the_managers_clients_ask_no_proxy_for_the_stack_and_the_given_hosts_stay(
    server: int, behind_a_proxy: None
) -> None:
    with pytest.raises(requests.exceptions.ProxyError):
        requests.get(f"http://127.0.0.1:{server}/", timeout=5)
    proxies.leave_out("localhost,127.0.0.1,::1")
    assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "localhost,127.0.0.1,::1,intranet.example.com"
    assert requests.get(f"http://127.0.0.1:{server}/", timeout=5).status_code == 200
    assert httputil.check_env_proxy("http", "127.0.0.1", server) is None
    assert httputil.check_env_proxy("http", "elsewhere.example.com", 80) == NOBODY
    proxies.leave_out("localhost,127.0.0.1,::1")
    assert os.environ["NO_PROXY"] == "localhost,127.0.0.1,::1,intranet.example.com"


def test_every_service_is_told_the_stacks_own_hosts(repo: Path, tmp_path: Path, venvs: Path) -> None:
    file = tmp_path / ".env"
    lines = env_file.fill(repo / ".env.example", {}, {}, STACK_MODE="native", BIND_ADDRESS="192.168.7.5")
    env_file.write_new(file, lines)
    context = Context(Paths(home=tmp_path, env_file=file, venvs=venvs), env_file.load(file))
    for row in services.SERVICES:
        names = launch.environment(context, row)
        assert names["NO_PROXY"] == names["no_proxy"] == "localhost,127.0.0.1,::1,192.168.7.5", row.name
