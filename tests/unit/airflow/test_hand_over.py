"""How the run's one snapshot is handed over: loads wait for it, never for ever, and tell one failure once."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def answers(airflow_python: Start) -> dict[str, Any]:
    out, err = airflow_python("hand_over.py").communicate(timeout=300)
    assert out, err
    found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return found


def test_a_load_waits_until_the_holder_of_its_run_hands_over(answers: dict[str, Any]) -> None:
    assert answers["waits"] == answers["server away"] == "new"


def test_a_load_whose_holder_failed_is_skipped_so_that_one_failure_is_told_once(answers: dict[str, Any]) -> None:
    assert answers["failed"] == "AirflowSkipException"


def test_a_load_that_is_cleared_alone_fails_since_its_instant_is_over(answers: dict[str, Any]) -> None:
    assert answers["ended"] == "AirflowFailException"


def test_what_was_handed_over_before_is_not_taken_and_no_load_waits_for_ever(answers: dict[str, Any]) -> None:
    assert answers["of another run"] == answers["the same again"] == answers["never begins"] == "NoPlaceError"


def test_the_holder_holds_until_every_load_is_final_and_a_retry_is_not(answers: dict[str, Any]) -> None:
    assert answers["loads"] == ["False", "False", "True"]
    assert answers["no load"] == ["True"]


def test_a_holder_beside_which_no_load_can_begin_gives_up(answers: dict[str, Any]) -> None:
    assert answers["no place"] == ["AirflowFailException"]
