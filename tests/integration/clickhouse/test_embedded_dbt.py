"""dbt as it is: every kind of model, twice, as user dbt; and what superset then may read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FILES = {
    "dbt_project.yml": "name: tiny\nversion: '1.0'\nprofile: tiny\nflags: {send_anonymous_usage_stats: false}\n",
    "profiles.yml": """
tiny:
  target: dev
  outputs:
    dev:
      {type: clickhouse, driver: http, user: dbt, schema: analytics_dev, threads: 2, connect_timeout: 10,
       host: "{{ env_var('CLICKHOUSE_HOST') }}", port: "{{ env_var('CLICKHOUSE_HTTP_PORT') | int }}",
       password: "{{ env_var('CLICKHOUSE_DBT_PASSWORD') }}"}
""",
    "models/schema.yml": """
sources: [{name: raw, schema: raw, tables: [{name: tiny}]}]
models:
  - name: tiny_table
    columns: [{name: a, data_tests: [not_null, unique]}]
  - name: tiny_contract
    config: {contract: {enforced: true}}
    columns: [{name: a, data_type: UInt32}]
""",
    "models/tiny_view.sql": "{{ config(materialized='view', sql_security='definer', definer='dbt') }} select * from {{ source('raw', 'tiny') }}",
    "models/tiny_table.sql": "{{ config(materialized='table', order_by='a') }} select * from {{ ref('tiny_view') }}",
    "models/tiny_contract.sql": "{{ config(materialized='table', order_by='a') }} select a from {{ ref('tiny_view') }}",
    "models/tiny_merge.sql": "{{ config(materialized='incremental', unique_key='a', order_by='a') }} select * from {{ ref('tiny_view') }}",
    "models/tiny_delete.sql": "{{ config(materialized='incremental', unique_key='a', order_by='a', incremental_strategy='delete+insert') }} select * from {{ ref('tiny_view') }}",
    "models/tiny_append.sql": "{{ config(materialized='incremental', order_by='a', incremental_strategy='append') }} select * from {{ ref('tiny_view') }}",
    "models/tiny_mv.sql": "{{ config(materialized='materialized_view', order_by='a') }} select * from {{ source('raw', 'tiny') }}",
    "seeds/tiny_seed.csv": "id,name\n1,a\n2,b\n",
    "snapshots/tiny_snapshot.sql": "{% snapshot tiny_snapshot %}{{ config(unique_key='id', strategy='check', check_cols=['name']) }} select * from {{ ref('tiny_seed') }}{% endsnapshot %}",
}  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, api: Callable[[str], Any]) -> Iterator[Path]:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
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
