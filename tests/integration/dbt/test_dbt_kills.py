"""kill -9 of a build and of its publish, at any point."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from warehouse.client import Warehouse
from webhook.publishing import journal

MARTS = ("fact_sales", "fact_sales_as_sold", "agg_sales_by_state", "agg_sales_daily", "agg_product_performance")


@pytest.mark.long
def test_killed_builds_leave_all_marts_old_or_after_recovery_all_new(
    clickhouse: Any, builds: Any, refill_raw: None, repo: Path, venvs: Path, tmp_path: Path
) -> None:
    assert builds().status == "success", builds.said
    warehouse = Warehouse(builds.settings.warehouse("dbt"))

    def revenue() -> list[int]:
        return [int(warehouse.rows(f"SELECT sum(gross_revenue) * 100 FROM analytics.{mart}")[0][0]) for mart in MARTS]

    def start(number: int) -> "subprocess.Popen[str]":
        places = ["--project-dir", repo / "dbt", "--profiles-dir", repo / "dbt"]
        places += ["--target-path", tmp_path / "target", "--log-path", tmp_path / "logs"]
        dbt = [venvs / "dbt/bin/dbt", "build", "--target", "prod", "--exclude-resource-type", "unit_test", *places]
        return subprocess.Popen(
            [sys.executable, Path(__file__).with_name("build_once.py"), f"killed-{number}", *dbt],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(repo / "scripts"),
                "WEBHOOK_HOME": str(tmp_path),
                "DBT_PROJECT_DIR": str(repo / "dbt"),
                **clickhouse.env("dbt", "webhook"),
            },
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def names() -> set[str]:
        found = warehouse.rows("SELECT name FROM system.tables WHERE database = 'analytics'")
        # The sum of an order's lines is not its total any more: a warning, whose rows are stored.
        return {name for (name,) in found if name != "failed__order_total_is_sum_of_its_lines"}

    whole = names()
    published = in_raw = revenue()[0]
    ended = {"old": 0, "new": 0}
    for number in range(20):
        with clickhouse.client("loader") as loader:
            loader.command(
                "INSERT INTO raw.order_items (order_item_id, order_id, product_id, quantity, unit_price, subtotal)"
                f" VALUES ({1000 + number}, 1, 1, 1, 1, 1)"
            )
        in_raw += 100
        builds.record(f"killed-{number}")
        with start(number) as build:
            assert build.stdout is not None
            if number % 2:
                build.stdout.readline()
                time.sleep(random.uniform(0, 0.6))
            else:
                time.sleep(random.uniform(0, 12))
            os.killpg(build.pid, signal.SIGKILL)
        warehouse.kill_dbt_queries()
        before_recovery = revenue()
        assert set(before_recovery) <= {published, in_raw}
        builds.publisher.recover()
        after = revenue()
        assert set(after) in ({published}, {in_raw}), (number, before_recovery, after)
        assert after[0] == in_raw or before_recovery == after
        assert not journal.open_entries(warehouse)
        ended["new" if after[0] == in_raw else "old"] += 1
        published = after[0]
    assert builds().status == "success", builds.said
    assert set(revenue()) == {in_raw}
    assert names() == whole, "what killed builds left is gone"
    for table, key in (("customers_history", "customer_id"), ("products_history", "product_id")):
        assert warehouse.rows(f"SELECT count() - uniqExact({key}, dbt_valid_from) FROM analytics.{table}") == [(0,)]
    print(ended)
