"""Task logs stay within bounds, and nothing that is still written is touched."""

import os
import time
from pathlib import Path

from elt_airflow.log_retention import remove_old_logs

DAY = 86400


def write(path: Path, size: int, days_old: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    then = time.time() - days_old * DAY
    os.utime(path, (then, then))
    return path


def test_old_logs_go_and_young_ones_stay(tmp_path: Path) -> None:
    old, young = write(tmp_path / "dag_id=a/old.log", 1, 31), write(tmp_path / "dag_id=a/young.log", 1, 29)
    assert remove_old_logs(tmp_path, days=30) == 1
    assert not old.exists()
    assert young.exists()


def test_oldest_go_first_when_there_is_too_much(tmp_path: Path) -> None:
    logs = [write(tmp_path / f"{age}.log", 100, age) for age in (3, 2, 1)]
    assert remove_old_logs(tmp_path, most_bytes=250) == 1
    assert [log.exists() for log in logs] == [False, True, True]


def test_log_that_may_still_be_written_stays_whatever_its_size(tmp_path: Path) -> None:
    log = write(tmp_path / "now.log", 1000, 0)
    assert remove_old_logs(tmp_path, most_bytes=10) == 0
    assert log.exists()


def test_empty_folders_of_old_runs_go(tmp_path: Path) -> None:
    old = write(tmp_path / "dag_id=a/run_id=b/1.log", 1, 31).parent
    remove_old_logs(tmp_path, days=30, now=time.time() + 2 * DAY)
    assert not old.exists()
    assert not old.parent.exists()
    assert tmp_path.exists()
