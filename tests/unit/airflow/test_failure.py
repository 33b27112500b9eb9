"""A failure is told also where the settings of telling are wrong, and never with a secret in it."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

Start = Callable[..., "subprocess.Popen[str]"]
SECRET = "hush-hush-hush"


class Receiver(HTTPServer):
    """Keeps the bodies that it gets."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def tell(start: Start, **environment: str) -> str:
    with start("tell_failure.py", f"it said {SECRET}", MASK_SALT=SECRET, **environment) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    return out


def test_the_error_is_told_without_the_secrets_in_it(airflow_python: Start, receiver: Receiver) -> None:
    tell(airflow_python, NOTIFY_URL=receiver.url)
    assert [(notice["type"], notice["data"]["error"]) for notice in receiver.got] == [
        ("airflow.task.failed", "it said ***")
    ]


def test_a_callback_that_is_not_told_the_secrets_tells_the_failure_without_its_error(
    airflow_python: Start, receiver: Receiver
) -> None:
    tell(airflow_python, NOTIFY_URL=receiver.url, STACK_SECRETS="")
    (notice,) = receiver.got
    assert notice["data"]["task"] == "load_orders"
    assert "STACK_SECRETS is not set" in notice["data"]["error"] and SECRET not in str(notice)


def test_a_wrong_address_is_logged_and_fails_nothing(airflow_python: Start) -> None:
    out = tell(airflow_python, NOTIFY_URL="hooks.example.org/key")
    assert "NOTIFY_URL: must begin with http:// or https://" in out and "hooks.example.org" not in out
