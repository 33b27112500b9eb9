"""A failure is told, or logged without the address; it never fails by itself."""

import base64
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from notify import sender
from notify.sender import Event, send_now
from standardwebhooks.webhooks import Webhook, WebhookVerificationError


class Chat(HTTPServer):
    """Answers with the given statuses, one a call."""

    def __init__(self, statuses: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses = statuses
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook/secret-key"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Chat)
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.headers.append(dict(self.headers))
        self.send_response(self.server.statuses.pop(0))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_PAUSE_SECONDS", 0.01)


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat([]) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


def test_the_event_arrives_after_a_passing_error(chat: Chat) -> None:
    chat.statuses += [503, 200]
    send_now(chat.url, Event("airflow.task.failed", {"error": "no source"}))
    first, second = map(json.loads, chat.bodies)
    assert first == second and set(first) == {"type", "timestamp", "data"}
    assert (first["type"], first["data"]) == ("airflow.task.failed", {"error": "no source"})
    assert len({headers["webhook-id"] for headers in chat.headers}) == 1


@pytest.mark.parametrize(
    ("status", "calls"),
    [(200, 1), (204, 1), (400, 1), (404, 1), (428, 1), (429, 2), (430, 1), (499, 1), (500, 2), (502, 2), (503, 2)],
)
def test_what_may_pass_is_sent_again(chat: Chat, status: int, calls: int) -> None:
    chat.statuses += [status, 200]
    send_now(chat.url, Event("a.b", {}))
    assert len(chat.bodies) == calls


def test_a_receiver_with_any_of_the_secrets_can_verify_it_and_nobody_else(chat: Chat) -> None:
    chat.statuses += [200]
    old, new, other = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"o", b"n", b"x"))
    send_now(chat.url, Event("airflow.task.failed", {"error": "é"}), signing_secrets=f"{new} {old}")
    for secret in (old, new):
        assert Webhook(secret).verify(chat.bodies[0], chat.headers[0])["data"] == {"error": "é"}
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(chat.bodies[0], chat.headers[0])


def test_a_refusal_is_not_repeated_and_the_address_is_not_logged(chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    chat.statuses += [404, 200]
    with caplog.at_level(logging.WARNING):
        send_now(chat.url, Event("a.b", {}))
    assert len(chat.bodies) == 1
    assert "status 404" in caplog.text and "secret-key" not in caplog.text


@pytest.mark.parametrize("secrets", ["", "whsec_", "whsec_é"])
@pytest.mark.parametrize(
    "url", ["", "nonsense", "file:///etc/passwd", "http://127.0.0.1:1/secret-key", "http://[::bad"]
)
def test_it_never_raises(url: str, secrets: str, caplog: pytest.LogCaptureFixture) -> None:
    send_now(url, Event("a.b", {"a": "b"}), signing_secrets=secrets)
    assert "secret-key" not in caplog.text


def test_a_proxy_of_the_environment_is_used(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    chat.statuses += [200]
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{chat.server_port}")
    send_now("http://far.example/hook", Event("a.b", {}))
    assert chat.headers[0]["Host"] == "far.example"
    chat.statuses += [200]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    send_now(chat.url, Event("a.b", {}))
    assert chat.headers[1]["Host"] == f"127.0.0.1:{chat.server_port}"
