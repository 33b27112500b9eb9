"""Schedules: what is refused is what Airflow itself cannot run."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from stack.env import schedule

GOOD = [
    "@daily", "@hourly", "@weekly", "@monthly", "@quarterly", "@yearly", "@annually", "@midnight", "0 4 * * *",
    "*/5 * * * *", "5/15 * * * *", "1-5/2 * * * *", "0,30 8-18 * * mon-fri", "0 22-3 * * *", "0 0 * * fri-mon", "0 0 * * 7",
    "0 0 * feb *", "0 0 29 2 *", "0 0 ? * ?", "0 0 l * *", "0 0 L * *", "0 0 * * l5", "0 0 * * sat#2", "0 0 1W * *",
    "0 0 31 4,5 *", "0 0 */40 * *", "* * * * * *", "* * * * * * *", "r r * * *",
]  # fmt: skip
BAD = [
    "every five minutes", "* * * *", "61 * * * *", "60 * * * *", "0 24 * * *", "0 0 0 * *", "0 0 32 * *", "0 0 * 13 *",
    "0 0 * * 8", "-1 * * * *", "a * * * *", "1,,2 * * * *", "*/0 * * * *", "*-5 * * * *", "? * * * *", "h h * * *",
    "0 0 * * 5L", "@reboot", "@every 5m", "0 0 30 2 *", "0 0 31 4,6 *", "0 0 30-31 2 *", "0 0 30 feb ?", "0 0 30 2 mon",
]  # fmt: skip
ASK_AIRFLOW = """
import json, sys
from airflow.timetables.base import TimeRestriction
from airflow.timetables.trigger import CronTriggerTimetable
import pendulum
ever = TimeRestriction(pendulum.datetime(2025, 1, 1), None, False)
def fires(text):
    try:
        table = CronTriggerTimetable(text, timezone="UTC")
        table.validate()
        return table.next_dagrun_info(last_automated_data_interval=None, restriction=ever) is not None
    except Exception:
        return False
print(json.dumps([text for text in json.load(sys.stdin) if fires(text)]))
"""


@pytest.mark.parametrize("text", [*GOOD, "@once", "@continuous"])
def test_a_schedule_that_fires_is_taken(text: str) -> None:
    assert schedule.mistake(text) == ""


@pytest.mark.parametrize("text", BAD)
def test_a_schedule_that_cannot_fire_is_refused(text: str) -> None:
    assert schedule.mistake(text)


def test_airflow_itself_takes_and_refuses_the_same(venvs: Path, tmp_path: Path) -> None:
    answer = subprocess.run(
        [venvs / "airflow/bin/python", "-c", ASK_AIRFLOW],
        input=json.dumps([*GOOD, *BAD]), env={"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(answer.stdout.strip().splitlines()[-1]) == GOOD
