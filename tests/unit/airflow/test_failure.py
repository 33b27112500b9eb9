"""A failure is told also where the settings of telling are wrong, and never with a secret in it."""

import subprocess
from collections.abc import Callable, Iterator

import pytest
from testing.receiver import Receiver, receiving

Start = Callable[..., "subprocess.Popen[str]"]
SECRET = "hush-hush-hush"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def tell(start: Start, **environment: str) -> str:
    with start("tell_failure.py", f"it said {SECRET}", MASK_SALT=SECRET, **environment) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    return out


def test_the_error_is_told_without_the_secrets_in_it(airflow_python: Start, receiver: Receiver) -> None:
    tell(airflow_python, NOTIFY_URL=receiver.url)
    assert [(notice["type"], notice["data"]["error"]) for notice in receiver.events] == [
        ("airflow.task.failed", "it said ***")
    ]


def test_a_callback_that_is_not_told_the_secrets_tells_the_failure_without_its_error(
    airflow_python: Start, receiver: Receiver
) -> None:
    tell(airflow_python, NOTIFY_URL=receiver.url, STACK_SECRETS="")
    (notice,) = receiver.events
    assert notice["data"]["task"] == "load_orders"
    assert "STACK_SECRETS is not set" in notice["data"]["error"] and SECRET not in str(notice)


def test_a_wrong_address_is_logged_and_fails_nothing(airflow_python: Start) -> None:
    out = tell(airflow_python, NOTIFY_URL="hooks.example.org/key")
    assert "NOTIFY_URL: must begin with http:// or https://" in out and "hooks.example.org" not in out
