"""A load says how far it is now and then; a million chunks are not a million lines."""

import logging
import time

import pytest
from elt_airflow.progress import ProgressLog


def test_many_reports_are_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report = ProgressLog(logging.getLogger("load"), every=0.05)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        report("some rows")
    assert 1 <= len(caplog.messages) <= 6
    assert caplog.messages[0].startswith("some rows")


def test_short_load_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ProgressLog(logging.getLogger("load"))("1 row")
    assert caplog.messages == []
