"""The same project serves the stack's own warehouse, ClickHouse Cloud and a cluster, by environment alone."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def describe(repo: Path, venvs: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def described(target: str, **environ: str) -> dict[str, Any]:
        script = Path(__file__).with_name("describe_project.py")
        result = subprocess.run(
            [venvs / "dbt/bin/python", script, repo / "dbt", tmp_path, target],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CLICKHOUSE_DBT_PASSWORD": "x", **environ},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return found

    return described


def test_cloud_is_an_address_and_tls(describe: Callable[..., dict[str, Any]]) -> None:
    found = describe(
        "prod",
        CLICKHOUSE_HOST="abc.eu-central-1.aws.clickhouse.cloud",
        CLICKHOUSE_HTTP_PORT="8443",
        CLICKHOUSE_SECURE="true",
    )
    assert (found["host"], found["port"], found["secure"]) == ("abc.eu-central-1.aws.clickhouse.cloud", 8443, True)
    assert (found["cluster"], found["database_engine"]) == (None, "")
    # Cloud makes a SharedMergeTree of it.
    assert set(found["tables"].values()) == {"MergeTree"}
    assert all(name.endswith("__next") for name in found["tables"])
    assert "from `analytics`.`stg_order_items__next`" in found["compiled"]["fact_sales"]


def test_a_cluster_gets_replicated_tables(describe: Callable[..., dict[str, Any]]) -> None:
    found = describe("dev", CLICKHOUSE_DATABASE_ENGINE="Replicated", CLICKHOUSE_TABLE_ENGINE="ReplicatedMergeTree")
    assert (found["cluster"], found["database_engine"]) == (None, "Replicated")
    assert set(found["tables"].values()) == {"ReplicatedMergeTree"}
    assert {"fact_sales", "customers_history"} < set(found["tables"])
    # The Replicated databases carry each statement to all nodes by themselves.
    assert all(sql and "on cluster" not in sql.lower() for sql in found["compiled"].values())
