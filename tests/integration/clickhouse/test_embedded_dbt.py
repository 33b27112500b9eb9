"""dbt as it is: every kind of model, twice, as user dbt; and what superset then may read."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def project(tmp_path: Path, repo: Path, api: Callable[[str], Any]) -> Iterator[Path]:
    shutil.copytree(repo / "tests/integration/clickhouse/tiny_dbt", tmp_path, dirs_exist_ok=True)
    admin, loader = api("default"), api("loader")
    admin.ask("DROP TABLE IF EXISTS raw.tiny SYNC")
    loader.ask("CREATE TABLE raw.tiny (a UInt32, s String) ENGINE = MergeTree ORDER BY a")
    loader.ask("INSERT INTO raw.tiny SELECT number, toString(number) FROM numbers(100)")
    yield tmp_path
    admin.ask("DROP TABLE IF EXISTS raw.tiny SYNC")
    for name in admin.ask(
        "SELECT name FROM system.tables WHERE database = 'analytics_dev' AND name LIKE 'tiny%'"
    ).split():
        admin.ask(f"DROP TABLE IF EXISTS analytics_dev.{name} SYNC")


def test_every_materialisation_twice(venvs: Path, clickhouse: Any, api: Callable[[str], Any], project: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(project)} | clickhouse.env("dbt")
    command = [venvs / "dbt/bin/dbt", "--no-use-colors", "build", "--profiles-dir", "."]
    for number in (1, 2):
        ran = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert ran.returncode == 0, ran.stdout[-3000:]
        assert "ERROR=0 SKIP=0" in ran.stdout
        api("loader").ask(f"INSERT INTO raw.tiny VALUES ({number + 1000}, 'new')")
    dbt = api("dbt")
    counted = {
        name: int(dbt.ask(f"SELECT count() FROM analytics_dev.{name}"))
        for name in ("tiny_view", "tiny_table", "tiny_merge", "tiny_delete", "tiny_append", "tiny_mv", "tiny_snapshot")
    }
    assert counted == {
        "tiny_view": 102, "tiny_table": 101, "tiny_merge": 101, "tiny_delete": 101, "tiny_append": 201,
        "tiny_mv": 102, "tiny_snapshot": 2,
    }  # fmt: skip
    assert api("superset").call("SELECT count() FROM analytics_dev.tiny_table").code == 497
