"""Who may call, seen from outside. No worker runs."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

OLD, NEW, OTHER = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"o", b"n", b"x"))
PAGES = ["/", "/runs", "/docs/", "/metrics", "/api/docs", "/api/openapi.json", "/api/swagger", "/static/webhook.css"]


@pytest.fixture(scope="module")
def webhook(
    repo: Any, venvs: Any, clickhouse: Any, project: Any, free_port: Any, tmp_path_factory: Any, webhook_class: Any
) -> Iterator[Any]:
    home = tmp_path_factory.mktemp("webhook") / "home"
    env = clickhouse.env("dbt", "webhook") | {
        "WEBHOOK_SIGNING_SECRET": f"{NEW} {OLD}",
        "WEBHOOK_FAILED_TRIES": "100000",
    }
    webhook = webhook_class(repo, venvs, home, project, free_port(), env)
    webhook.start_web()
    yield webhook
    webhook.end()


def signed(secret: str, body: str, *, message: str = "msg_1", age: float = 0) -> dict[str, str]:
    at = datetime.fromtimestamp(int(time.time() - age), UTC)
    return {
        "webhook-id": message,
        "webhook-timestamp": f"{at.timestamp():.0f}",
        "webhook-signature": Webhook(secret).sign(message, at, body),
    }


def post(webhook: Any, body: str, headers: dict[str, str], path: str = "/webhook") -> Any:
    return webhook.call("POST", path, token=None, data=body, headers=headers)


@pytest.mark.parametrize("secret", [OLD, NEW], ids=["old", "new"])
def test_a_signature_with_any_of_the_secrets_starts_a_run_under_its_id(webhook: Any, secret: str) -> None:
    message = {OLD: "msg_old", NEW: "msg_new"}[secret]
    body = json.dumps({"select": ["stg_orders"], "vars": {"sent_by": message}})
    headers = signed(secret, body, message=message)
    first = post(webhook, body, headers)
    assert (first.status_code, first.json()["idempotency_key"]) == (202, message)
    # Sent again by the sender or by whoever overheard it, also under another key: the same run.
    for again in (headers, headers | {"Idempotency-Key": "another"}):
        assert post(webhook, body, again).json()["id"] == first.json()["id"]


def test_among_several_signatures_one_that_holds_is_enough(webhook: Any) -> None:
    headers = signed(NEW, "{}", message="several")
    good = headers["webhook-signature"]
    for many in (f"v1,AAAA {good}", f"nonsense {good}", f"v1a,{good[3:]} {good}", f"v1,é, {good}"):
        assert post(webhook, "{}", headers | {"webhook-signature": many.encode()}).status_code == 202, many


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": str(int(time.time()) - 1)},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": ""},
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,a,b"},
        {"webhook-signature": "v1,!"},
    ],
)
def test_a_signature_that_does_not_hold_is_refused(webhook: Any, change: dict[str, str]) -> None:
    answer = post(webhook, "{}", signed(NEW, "{}") | change)
    assert answer.status_code == 401 and "WWW-Authenticate" in answer.headers


def test_another_body_another_secret_or_another_address_is_refused(webhook: Any) -> None:
    assert post(webhook, '{"command": "test"}', signed(NEW, "{}")).status_code == 401
    assert post(webhook, "{}", signed(OTHER, "{}")).status_code == 401
    assert post(webhook, "{}", signed(NEW, "{}"), path="/webhook/manual").status_code == 401
    assert post(webhook, "\udcff".encode("utf-8", "surrogateescape"), signed(NEW, "{}")).status_code == 401  # type: ignore[arg-type]


@pytest.mark.parametrize(("age", "status"), [(290, 202), (-290, 202), (310, 401), (-310, 401)])
def test_a_signature_holds_for_five_minutes_either_way(webhook: Any, age: float, status: int) -> None:
    assert post(webhook, "{}", signed(NEW, "{}", message=f"age {age}", age=age)).status_code == status


headers_of_latin_1 = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        dict.fromkeys(("webhook-id", "webhook-timestamp", "webhook-signature", "Authorization"), headers_of_latin_1)
    )
)
def test_no_credentials_make_the_service_fail(webhook: Any, sent: dict[str, str]) -> None:
    headers = {name: value.strip().encode("latin-1") for name, value in sent.items()}
    assert webhook.call("POST", "/webhook", token=None, data="{}", headers=headers).status_code == 401


def basic(password: str, name: str = "anybody") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.mark.parametrize("path", PAGES)
def test_a_browser_gets_every_page_by_basic_and_none_without(webhook: Any, path: str) -> None:
    token = "test-token-of-the-webhook"
    refused = webhook.call("GET", path, token=None)
    assert refused.status_code == 401 and "Basic realm=" in refused.headers["WWW-Authenticate"]
    assert webhook.call("GET", path, token=None, headers=basic("wrong")).status_code == 401
    assert webhook.call("GET", path, token=None, headers=basic("", token)).status_code == 401
    # There is no documentation before a good run.
    assert webhook.call("GET", path, token=None, headers=basic(token)).status_code == (404 if path == "/docs/" else 200)


@pytest.mark.parametrize("path", ["/webhook", "/webhook/manual", "/runs/x/cancel"])
def test_what_a_browser_sends_by_itself_starts_and_ends_nothing(webhook: Any, path: str) -> None:
    answer = webhook.call("POST", path, token=None, headers=basic("test-token-of-the-webhook"))
    assert answer.status_code == 401 and "Basic" not in answer.headers["WWW-Authenticate"]


def test_too_many_wrong_tries_are_told_to_wait_and_right_ones_still_pass(make_webhook: Callable[..., Any]) -> None:
    webhook = make_webhook(WEBHOOK_FAILED_TRIES="5")
    webhook.start_web()
    wrong = [webhook.call("POST", "/webhook", token="x" * 20) for _ in range(30)]
    # A minute may begin in between, and the count with it.
    statuses = [answer.status_code for answer in wrong]
    assert statuses[:5] == [401] * 5 and statuses.count(429) >= 15
    limited = next(answer for answer in wrong if answer.status_code == 429)
    assert int(limited.headers["Retry-After"]) > 0 and limited.headers["Content-Type"] == "application/problem+json"
    assert webhook.call("GET", "/runs").status_code == 200
    assert webhook.call("GET", "/status", token=None).status_code == 200
