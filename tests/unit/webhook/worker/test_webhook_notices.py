"""NOTIFY_URL hears of every failed run, once it answers, and believes it by any of the secrets."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from notify.outbox import Postman
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from testing.waiting import until
from webhook.queue.database import Database
from webhook.queue.intake import accept
from webhook.queue.runs import RunRequest, Status
from webhook.queue.store import RunStore
from webhook.settings import Settings
from webhook.worker import notices as module

OLD, NEW = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))


class Receiver(HTTPServer):
    """Answers with the given statuses, one a call, then 204."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        self.server.got.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    database = Database(tmp_path / "webhook.sqlite3")
    yield RunStore(database)
    database.close()


@pytest.fixture
def notices(tmp_path: Path, store: RunStore, receiver: Receiver) -> Iterator[Callable[..., Postman]]:
    made: list[Postman] = []

    def make(**names: str) -> Postman:
        names = {"NOTIFY_URL": f"http://127.0.0.1:{receiver.server_port}/hook"} | names
        settings = Settings.from_environ(
            {
                "WEBHOOK_HOME": str(tmp_path),
                "DBT_PROJECT_DIR": str(tmp_path),
                "CLICKHOUSE_DBT_PASSWORD": "x",
                "CLICKHOUSE_WEBHOOK_PASSWORD": "x",
                "STACK_SECRETS": "CLICKHOUSE_DBT_PASSWORD",
                **names,
            }
        )
        made.append(module.notices(store, settings, retries=(0.05, 0.05)))
        made[-1].start()
        return made[-1]

    yield make
    for notice in made:
        notice.stop()


def ended(store: RunStore, status: Status, error: str = "") -> str:
    run_id = accept(store.database, RunRequest(), key=None, requested_by="manual", queue_limit=100)
    store.begin(run_id)
    store.finish(run_id, status, error)
    return run_id


def settled(store: RunStore, run_id: str) -> str:
    """State of the notice of a run."""

    def notice() -> str:
        (row,) = store.database.read("SELECT notice FROM runs WHERE id = ?", run_id)
        return "" if row["notice"] == "due" else str(row["notice"])

    return until(notice, "the notice is no longer due")


def test_a_failure_is_told_signed_with_each_secret(
    store: RunStore, notices: Callable[..., Postman], receiver: Receiver
) -> None:
    notices(WEBHOOK_SIGNING_SECRET=f"{NEW} {OLD}")
    run_id = ended(store, "error", "dbt failed at é")
    assert settled(store, run_id) == "sent"
    ((headers, body),) = receiver.got
    for secret in (OLD, NEW):
        event = Webhook(secret).verify(body, headers)
        assert (event["type"], event["data"]["id"], event["data"]["error"]) == (
            *("dbt.run.failed", run_id, "dbt failed at é"),
        )
    assert event["timestamp"] == event["data"]["ended_at"]


def test_notices_may_have_a_secret_that_starts_no_run(
    store: RunStore, notices: Callable[..., Postman], receiver: Receiver
) -> None:
    notices(WEBHOOK_SIGNING_SECRET=OLD, NOTIFY_SIGNING_SECRET=NEW)
    assert settled(store, ended(store, "error")) == "sent"
    ((headers, body),) = receiver.got
    assert Webhook(NEW).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(body, headers)


def test_it_is_sent_again_under_its_id_until_it_is_taken(
    store: RunStore, notices: Callable[..., Postman], receiver: Receiver
) -> None:
    receiver.statuses += [503, 404]
    notices()
    assert settled(store, ended(store, "interrupted")) == "sent"
    assert len(receiver.got) == 3
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


def test_what_is_never_taken_is_given_up_without_a_word_of_the_address(
    store: RunStore, notices: Callable[..., Postman], caplog: pytest.LogCaptureFixture
) -> None:
    notices(NOTIFY_URL="http://127.0.0.1:1/secret-key")
    assert settled(store, ended(store, "error")) == "refused"
    assert "NOTIFY_URL" in caplog.text and "secret-key" not in caplog.text


@pytest.mark.parametrize(("asked", "told"), [("false", "unwanted"), ("true", "sent")])
def test_a_success_is_told_if_asked_and_a_cancel_never(
    store: RunStore, notices: Callable[..., Postman], receiver: Receiver, asked: str, told: str
) -> None:
    notices(NOTIFY_SUCCESS=asked)
    assert settled(store, ended(store, "success")) == told
    assert settled(store, ended(store, "cancelled")) == "unwanted"
    assert [json.loads(body)["type"] for _, body in receiver.got] == (["dbt.run.succeeded"] if told == "sent" else [])


def test_what_a_killed_worker_had_not_told_the_next_one_tells(
    store: RunStore, notices: Callable[..., Postman], receiver: Receiver
) -> None:
    run_id = ended(store, "error")
    notices()
    assert settled(store, run_id) == "sent"


def test_without_an_address_nothing_is_kept_for_later(
    store: RunStore, notices: Callable[..., Postman], receiver: Receiver
) -> None:
    notices(NOTIFY_URL="")
    assert settled(store, ended(store, "error")) == "unwanted"
    assert receiver.got == []
