"""The OpenAPI document is kept: schemathesis makes the calls, and every answer is one that the document allows."""

import fcntl
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance"),
    *("response_schema_conformance", "unsupported_method"),
)


def fuzz(webhook: Any, venvs: Path, folder: Path, *, examples: int, seed: int, phases: str) -> str:
    """Runs schemathesis against a running webhook; returns what it printed. Fails the test if a check does."""
    # Without a wait: one of five minutes is no fault, and would last five minutes.
    command = [
        *(venvs / "tests/bin/schemathesis", "run", f"http://127.0.0.1:{webhook.port}/api/openapi.json"),
        *("--header", "Authorization: Bearer test-token-of-the-webhook", "--checks", ",".join(CHECKS)),
        *("--phases", phases, "--max-examples", str(examples), "--seed", str(seed), "--workers", "1"),
        *("--request-timeout", "30", "--generation-database", "none", "--no-color"),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stdout[done.stdout.find("= FAILURES") :][:8000] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture
def webhook(make_webhook: Callable[..., Any]) -> Iterator[Any]:
    webhook = make_webhook(WEBHOOK_QUEUE_LIMIT="1000000", WEBHOOK_MAX_WAIT="0")
    webhook.start_web()
    # As if a worker lived: /health would rightly answer 503, and so would a start once the queue is full.
    with (webhook.home / "worker.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.utime(webhook.home / "worker.lock", (time.time() + 7200,) * 2)
        yield webhook


def test_answers_to_some_hundred_made_up_calls_are_those_of_the_document(
    webhook: Any, venvs: Path, tmp_path: Path
) -> None:
    assert "No issues found" in fuzz(webhook, venvs, tmp_path, examples=20, seed=1, phases="examples,coverage,fuzzing")


def test_the_document_has_the_version_of_the_project(webhook: Any, repo: Path) -> None:
    assert webhook.call("GET", "/api/openapi.json").json()["info"]["version"] == (repo / "VERSION").read_text().strip()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_answers_to_ten_thousand_made_up_calls_are_those_of_the_document(
    webhook: Any, venvs: Path, tmp_path: Path
) -> None:
    said = fuzz(webhook, venvs, tmp_path, examples=2600, seed=2, phases="examples,coverage,fuzzing")
    found = re.search(r"([\d,]+) generated", said)
    assert found and int(found[1].replace(",", "")) >= 10_000, said[-3000:]
    assert "No issues found" in said
    print(said[-1500:])
