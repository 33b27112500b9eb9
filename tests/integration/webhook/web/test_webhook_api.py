"""The calls as any HTTP client sees them. No worker runs, so everything stays queued."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def webhook(module_webhook: Any) -> Any:
    return module_webhook


def is_problem(answer: Any, status: int) -> bool:
    body = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.status_code, body["status"]) == (status, status), body
    return bool(body["title"] and body["detail"].endswith("."))


GUARDED = [
    ("POST", "/webhook"),
    ("POST", "/webhook/manual"),
    ("GET", "/runs"),
    ("GET", "/runs/x"),
    ("GET", "/runs/x/logs"),
    ("POST", "/runs/x/cancel"),
]


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_without_the_token_every_call_says_how_and_never_what_was_wrong(webhook: Any, method: str, path: str) -> None:
    bodies = set()
    for header in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic eA=="},
        {"Authorization": "Bearer "},
    ):
        answer = webhook.call(method, path, token=None, headers=header)
        assert is_problem(answer, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        bodies.add(answer.text)
    assert len(bodies) == 1


def test_a_start_is_accepted_with_its_address(webhook: Any) -> None:
    answer = webhook.call("POST", "/webhook/manual", json={"select": ["fact_sales"]})
    body = answer.json()
    assert (answer.status_code, body["status"], body["attempts"]) == (202, "queued", 0)
    assert answer.headers["Location"] == body["url"] == f"/runs/{body['id']}"
    run = webhook.run(body["id"])
    assert (run["command"], run["select"], run["nodes"], run["requested_by"]) == ("build", ["fact_sales"], [], "manual")
    assert webhook.call("GET", f"{body['url']}/logs").text == ""
    assert body["id"] in [run["id"] for run in webhook.call("GET", "/runs?limit=200").json()["runs"]]


def test_a_body_may_be_missing_or_sent_as_curl_does(webhook: Any) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    same = {webhook.call("POST", "/webhook", data=body, headers=form).json()["id"] for body in ("", "{}", " {} ")}
    assert len(same) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("[" * 60_000, 400),
        (b"\xff\xfe", 400),
        ("[]", 422),
        ("null", 422),
        ('{"selct": []}', 422),
        ('{"command": "run-operation"}', 422),
        ('{"select": "fact_sales"}', 422),
        ('{"select": ["--target", "dev"]}', 422),
        ('{"select": ["fact_sale"]}', 422),
        ('{"full_refresh": "yes"}', 422),
        ('{"command": "docs", "full_refresh": true}', 422),
        (json.dumps({"select": ["x" * 70_000]}), 413),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_a_sentence(webhook: Any, body: Any, status: int) -> None:
    assert is_problem(webhook.call("POST", "/webhook/manual", data=body), status)


def test_a_large_body_is_refused_also_in_chunks(webhook: Any) -> None:
    answer = webhook.call("POST", "/webhook/manual", data=iter([b" " * 40_000, b" " * 40_000]))
    assert is_problem(answer, 413)


def test_an_unknown_model_is_answered_with_those_near_it(webhook: Any) -> None:
    detail = webhook.call("POST", "/webhook", json={"select": ["+fact_sale"]}).json()["detail"]
    assert "'fact_sale'" in detail and "fact_sales" in detail


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/runs/20260101-000000-0000000000", 404),
        ("GET", "/runs/..%2f..%2fwebhook.sqlite3/logs", 404),
        ("POST", "/runs/x/cancel", 404),
        ("GET", "/webhook", 405),
        ("DELETE", "/runs", 405),
        ("POST", "/webhook?wait=-1", 422),
        ("POST", "/webhook?wait=nan", 422),
        ("GET", "/runs?limit=0", 422),
        ("GET", "/runs?status=lost", 422),
    ],
)
def test_what_is_not_there_or_not_allowed_is_a_problem_too(webhook: Any, method: str, path: str, status: int) -> None:
    assert is_problem(webhook.call(method, path), status)


def test_a_key_must_be_printable_and_of_reasonable_length(webhook: Any) -> None:
    assert is_problem(webhook.call("POST", "/webhook", headers={"Idempotency-Key": "k" * 256}), 422)
    assert is_problem(webhook.call("POST", "/webhook", headers={"Idempotency-Key": ""}), 422)


def test_a_key_sent_with_another_request_is_a_conflict_that_names_the_run(webhook: Any) -> None:
    run = webhook.post("stg_orders", key="conflict")
    answer = webhook.call("POST", "/webhook", json={}, headers={"Idempotency-Key": "conflict"})
    assert is_problem(answer, 422) and run["id"] in answer.json()["detail"]


def test_many_sends_of_one_key_are_one_run(webhook: Any) -> None:
    with ThreadPoolExecutor(20) as pool:
        ids = set(pool.map(lambda _: webhook.post("stg_products", key="many")["id"], range(300)))
    assert len(ids) == 1


def test_a_waiting_run_can_be_cancelled_and_its_key_starts_a_successor(webhook: Any) -> None:
    run = webhook.post("stg_customers", key="cancel me")
    assert webhook.call("POST", f"{run['url']}/cancel").json()["status"] == "cancelled"
    assert is_problem(webhook.call("POST", f"{run['url']}/cancel"), 409)
    assert webhook.post("stg_customers", key="cancel me")["id"] != run["id"]


def test_a_wait_ends_when_its_seconds_do(webhook: Any) -> None:
    answer = webhook.call("POST", "/webhook/manual?wait=1")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert 0.9 < answer.elapsed.total_seconds() < 5


def test_the_open_pages_tell_no_secret_and_no_key(webhook: Any) -> None:
    webhook.post("stg_orders", key="a-key-of-somebody")
    health = webhook.call("GET", "/health", token=None)
    status = webhook.call("GET", "/status", token=None)
    assert (health.status_code, health.json()["status"]) == (503, "degraded")
    assert not health.json()["checks"]["worker"]["ok"] and health.json()["checks"]["warehouse"]["ok"]
    assert status.json()["queue"]["limit"] == 100 and status.json()["queue"]["queued"] > 0
    for answer in (health, status):
        assert "a-key-of-somebody" not in answer.text and "test-token" not in answer.text


def test_a_full_queue_says_when_to_come_back(make_webhook: Callable[..., Any]) -> None:
    webhook = make_webhook(WEBHOOK_QUEUE_LIMIT="2")
    webhook.start_web()
    webhook.post("stg_orders")
    first = webhook.post("stg_products", key="k")
    answer = webhook.call("POST", "/webhook/manual", json={"select": ["fact_sales"]})
    assert is_problem(answer, 503) and int(answer.headers["Retry-After"]) > 0
    assert webhook.post("stg_products", key="k")["id"] == first["id"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
fields = st.sampled_from(["command", "select", "exclude", "full_refresh", "vars"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=50)
    | st.dictionaries(fields, json_values, max_size=3).map(lambda body: json.dumps(body).encode())
)
def test_no_body_makes_the_service_fail(webhook: Any, body: bytes) -> None:
    answer = webhook.call("POST", "/webhook", data=body)
    assert answer.status_code in (202, 400, 422), (body, answer.text)


@pytest.fixture(scope="module")
def module_webhook(
    repo: Any, venvs: Any, clickhouse: Any, project: Any, free_port: Any, tmp_path_factory: Any, webhook_class: Any
) -> Iterator[Any]:
    webhook = webhook_class(
        repo, venvs, tmp_path_factory.mktemp("webhook") / "home", project, free_port(), clickhouse.env("dbt", "webhook")
    )
    webhook.start_web()
    yield webhook
    webhook.end()
