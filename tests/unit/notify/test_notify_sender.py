"""A failure is told, or logged without the address; it never fails by itself."""

import base64
import logging
from collections.abc import Iterator

import pytest
from notify import sender
from notify.sender import Event, send_now
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from testing.receiver import Receiver, receiving


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "_PAUSE_SECONDS", 0.01)


@pytest.fixture
def chat() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def test_the_event_arrives_after_a_passing_error(chat: Receiver) -> None:
    chat.statuses += [503, 200]
    send_now(chat.url, Event("airflow.task.failed", {"error": "no source"}))
    first, second = chat.events
    assert first == second and set(first) == {"type", "timestamp", "data"}
    assert (first["type"], first["data"]) == ("airflow.task.failed", {"error": "no source"})
    assert len({notice.headers["webhook-id"] for notice in chat.got}) == 1


@pytest.mark.parametrize(
    ("status", "calls"),
    [(200, 1), (204, 1), (400, 1), (404, 1), (428, 1), (429, 2), (430, 1), (499, 1), (500, 2), (502, 2), (503, 2)],
)
def test_what_may_pass_is_sent_again(chat: Receiver, status: int, calls: int) -> None:
    chat.statuses += [status, 200]
    send_now(chat.url, Event("a.b", {}))
    assert len(chat.got) == calls


def test_a_receiver_with_any_of_the_secrets_can_verify_it_and_nobody_else(chat: Receiver) -> None:
    chat.statuses += [200]
    old, new, other = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"o", b"n", b"x"))
    send_now(chat.url, Event("airflow.task.failed", {"error": "é"}), signing_secrets=f"{new} {old}")
    for secret in (old, new):
        assert Webhook(secret).verify(chat.got[0].body, chat.got[0].headers)["data"] == {"error": "é"}
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(chat.got[0].body, chat.got[0].headers)


def test_a_refusal_is_not_repeated_and_the_address_is_not_logged(
    chat: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    chat.statuses += [404, 200]
    with caplog.at_level(logging.WARNING):
        send_now(chat.url, Event("a.b", {}))
    assert len(chat.got) == 1
    assert "status 404" in caplog.text and "secret-key" not in caplog.text


@pytest.mark.parametrize("secrets", ["", "whsec_", "whsec_é"])
@pytest.mark.parametrize(
    "url", ["", "nonsense", "file:///etc/passwd", "http://127.0.0.1:1/secret-key", "http://[::bad"]
)
def test_it_never_raises(url: str, secrets: str, caplog: pytest.LogCaptureFixture) -> None:
    send_now(url, Event("a.b", {"a": "b"}), signing_secrets=secrets)
    assert "secret-key" not in caplog.text


def test_a_proxy_of_the_environment_is_used(chat: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    chat.statuses += [200]
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{chat.server_port}")
    send_now("http://far.example/hook", Event("a.b", {}))
    assert chat.got[0].headers["Host"] == "far.example"
    chat.statuses += [200]
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    send_now(chat.url, Event("a.b", {}))
    assert chat.got[1].headers["Host"] == f"127.0.0.1:{chat.server_port}"
