"""A failure is told, or logged without the address; it never fails by itself."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from elt import notify
from elt.notify import send_failure


class Chat(HTTPServer):
    """Answers with the given statuses, one a call."""

    def __init__(self, statuses: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses = statuses
        self.bodies: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook/secret-key"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Chat)
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.statuses.pop(0))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "_PAUSE_SECONDS", 0.01)


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat([]) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


def test_the_event_arrives_after_a_passing_error(chat: Chat) -> None:
    chat.statuses += [503, 200]
    send_failure(chat.url, event={"error": "no source"})
    assert chat.bodies == [{"error": "no source"}] * 2


def test_a_refusal_is_not_repeated_and_the_address_is_not_logged(chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    chat.statuses += [404, 200]
    with caplog.at_level(logging.WARNING):
        send_failure(chat.url, event={})
    assert len(chat.bodies) == 1
    assert "status 404" in caplog.text and "secret-key" not in caplog.text


@pytest.mark.parametrize(
    "url", ["", "nonsense", "file:///etc/passwd", "http://127.0.0.1:1/secret-key", "http://[::bad"]
)
def test_it_never_raises(url: str, caplog: pytest.LogCaptureFixture) -> None:
    send_failure(url, event={"a": "b"})
    assert "secret-key" not in caplog.text
