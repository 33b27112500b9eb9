"""The client reads the webhook's answers: which errors may pass, which never will, and no token in any."""

import socket
import time
from typing import Any

import pytest
from elt_airflow import webhook as client
from elt_airflow.webhook import Webhook, WebhookRefusedError, WebhookUnavailableError

TOKEN = "a-token-for-tests-only"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def test_run_that_the_webhook_does_not_know_is_none(webhook: Any) -> None:
    assert Webhook(webhook.url, TOKEN).run("nobody/knows") is None


@pytest.mark.parametrize("code", [429, 500, 502, 503])
def test_answers_that_may_pass_are_transient(webhook: Any, code: int) -> None:
    webhook.refuse_with = code
    with pytest.raises(WebhookUnavailableError, match=r"because the test says so"):
        Webhook(webhook.url, TOKEN).start("key", {})


@pytest.mark.parametrize("code", [400, 403, 409, 422])
def test_answers_that_stay_are_terminal(webhook: Any, code: int) -> None:
    webhook.refuse_with = code
    with pytest.raises(WebhookRefusedError, match=r"because the test says so"):
        Webhook(webhook.url, TOKEN).start("key", {})
    assert webhook.posts == []


def test_nobody_listening_is_transient_and_says_where() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(WebhookUnavailableError, match=url):
            Webhook(url, TOKEN).start("key", {})


def test_wrong_token_is_terminal_and_told_without_either_token(webhook: Any) -> None:
    with pytest.raises(WebhookRefusedError) as refused:
        Webhook(webhook.url, "another-token").start("key", {})
    assert "another-token" not in str(refused.value)
    assert "another-token" not in repr(Webhook(webhook.url, "another-token"))


@pytest.mark.parametrize("document", [{}, {"id": "1"}, {"id": "1", "status": "perhaps"}, {"status": "running"}])
def test_answer_of_another_service_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(WebhookRefusedError, match="WEBHOOK_URL"):
        client.DbtRun.from_json(document)
