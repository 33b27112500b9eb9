"""`dbt build` against a real warehouse: what it makes, who may read it, and what stops it."""

import re
import shutil
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

# Each of the project's own generic tests on a model for which it holds, and on one for which it does not.
GENERIC_TESTS = """\
models:
  - name: one_row
    data_tests:
      - unique_combination_of_columns: {name: one_key, arguments: {combination_of_columns: [a, b]}}
      - equal_rowcount: {name: one_count, arguments: {compare_model: ref('one_row')}}
      - adds_up_to: {name: one_sums, arguments: {to: ref('two_rows'), measures: [c]}}
      - rows_hold: {name: one_rules, arguments: {rules: {b_is_two: b = 2}}}
  - name: two_rows
    data_tests:
      - unique_combination_of_columns: {name: two_key, arguments: {combination_of_columns: [a, b]}}
      - equal_rowcount: {name: two_count, arguments: {compare_model: ref('one_row')}}
      - adds_up_to: {name: two_sums, arguments: {to: ref('one_row'), measures: [b, c]}}
      - rows_hold: {name: two_rules, arguments: {rules: {a_is_one: a = 1, b_is_one: b = 1}}}
"""


@pytest.fixture(scope="module", autouse=True)
def built(dbt: Any, builds: Any) -> None:
    result = dbt("build")
    assert result.returncode == 0, result.stdout
    assert "WARN=0 ERROR=0 SKIP=0" in result.stdout
    assert builds().status == "success", builds.said
    assert "WARN=0 ERROR=0 SKIP=0" in builds.said


def rows(clickhouse: Any, sql: str, user: str = "superset") -> list[tuple[Any, ...]]:
    with clickhouse.client(user) as client:
        return [tuple(row) for row in client.query(sql).result_rows]


def test_fact_sales_has_each_item_once_with_its_attributes(clickhouse: Any) -> None:
    found = rows(
        clickhouse,
        "SELECT order_item_id, order_status, customer_name, customer_state, customer_city, product_name, quantity,"
        " gross_revenue, net_revenue, gross_product_margin, net_product_margin FROM analytics.fact_sales"
        " ORDER BY order_item_id",
    )
    d = Decimal
    assert found == [
        (1, "delivered", "Ada Berg", "Ohio", "Dayton", "Lamp", 3, d("59.97"), d("59.97"), d("38.94"), d("38.94")),
        (2, "delivered", "Ada Berg", "Ohio", "Dayton", "Chair", 1, d("0.10"), d("0.10"), d("-0.20"), d("-0.20")),
        (3, "cancelled", "Ben Cole", "Ohio", None, "Lamp", 1, d("19.99"), d(0), d("12.98"), d(0)),
        (4, "paid", "Ben Cole", "Ohio", None, "Chair", 3, d("0.30"), d("0.30"), d("-0.60"), d("-0.60")),
        (5, "returned", "Cy Dunn", "Texas", "Waco", "Lamp", 2, d("39.98"), d(0), d("25.96"), d(0)),
        (6, "paid", "Ben Cole", "Ohio", None, "Gift card", 1, d(0), d(0), d(0), d(0)),
    ]


def test_states_add_up_and_leave_cancelled_and_returned_orders_out_of_net(clickhouse: Any) -> None:
    found = rows(
        clickhouse,
        "SELECT customer_state, gross_customers, net_customers, gross_orders, net_orders, gross_units, net_units,"
        " gross_revenue, net_revenue, net_revenue_per_order FROM analytics.agg_sales_by_state ORDER BY customer_state",
    )
    d = Decimal
    assert found == [
        ("Ohio", 2, 2, 3, 2, 9, 8, d("80.36"), d("60.37"), d("30.19")),
        ("Texas", 1, 0, 1, 0, 2, 0, d("39.98"), d(0), None),
    ]


def test_money_is_decimal_everywhere(clickhouse: Any) -> None:
    columns = rows(
        clickhouse,
        "SELECT table, name, type FROM system.columns WHERE database IN ('analytics', 'analytics_dev')",
        "default",
    )
    money = ("price", "cost", "revenue", "margin", "amount", "subtotal")
    assert not [column for column in columns if "Float" in column[2]]
    assert not [column for column in columns if column[1].endswith(money) and "Decimal" not in column[2]]


def test_a_missing_value_stays_missing(clickhouse: Any) -> None:
    assert rows(clickhouse, "SELECT count() FROM analytics.stg_customers WHERE phone IS NULL") == [(2,)]
    assert rows(clickhouse, "SELECT count() FROM analytics.fact_sales WHERE customer_city = ''") == [(0,)]


def test_superset_reads_views_and_marts_and_nothing_of_raw(clickhouse: Any) -> None:
    for view, expected in (("stg_customers", 4), ("stg_products", 3), ("stg_orders", 4), ("stg_order_items", 6)):
        assert rows(clickhouse, f"SELECT count() FROM analytics.{view}") == [(expected,)]
    for forbidden in ("raw.orders", "analytics_dev.fact_sales"):
        with pytest.raises(DatabaseError, match="Not enough privileges"):
            rows(clickhouse, f"SELECT * FROM {forbidden}")


def test_views_read_the_last_state_of_rows_that_were_loaded_incrementally(clickhouse: Any, refill_raw: None) -> None:
    with clickhouse.client("loader") as loader:
        loader.command(
            "CREATE OR REPLACE TABLE raw.orders ENGINE = ReplacingMergeTree(_elt_run) ORDER BY order_id AS"
            " SELECT * FROM raw.orders"
        )
        loader.command(
            "INSERT INTO raw.orders SELECT * REPLACE ('shipped' AS status, 2 AS _elt_run) FROM raw.orders WHERE order_id = 3"
        )
        assert loader.command("SELECT count() FROM raw.orders") == 5
    assert rows(clickhouse, "SELECT status FROM analytics.stg_orders WHERE order_id = 3") == [("shipped",)]
    assert rows(clickhouse, "SELECT count() FROM analytics.stg_orders") == [(4,)]


def test_the_business_day_follows_the_shops_time_zone(clickhouse: Any, dbt: Any) -> None:
    sql = "SELECT order_day, order_year, order_quarter, order_month FROM analytics_dev.stg_orders ORDER BY order_id LIMIT 2"
    assert rows(clickhouse, sql, "dbt") == [(date(2025, 3, 31), 2025, 1, 3), (date(2025, 12, 31), 2025, 4, 12)]
    result = dbt("run", "--select", "stg_orders", env={"SHOP_TIMEZONE": "Europe/Berlin"})
    assert result.returncode == 0, result.stdout
    # Summer time began the day before: 22:30 in UTC is half past midnight there.
    assert rows(clickhouse, sql, "dbt") == [(date(2025, 4, 1), 2025, 2, 4), (date(2026, 1, 1), 2026, 1, 1)]
    refused = dbt("run", "--select", "stg_orders", env={"SHOP_TIMEZONE": "UTC'), sleep(3"})
    assert refused.returncode == 2 and "which is no time zone name" in refused.stdout


def test_an_order_whose_total_is_wrong_only_warns(clickhouse: Any, dbt: Any, refill_raw: None) -> None:
    with clickhouse.client("loader") as loader:
        loader.command(
            "INSERT INTO raw.orders (order_id, customer_id, status, total_amount) VALUES (5, 1, 'paid', 1.00)"
        )
    result = dbt("test", "--select", "order_total_is_sum_of_its_lines")
    assert result.returncode == 0 and "WARN=1 ERROR=0" in result.stdout


def test_raw_is_as_fresh_as_the_loader_says(clickhouse: Any, dbt: Any) -> None:
    def publish(hours_ago: int, run: int) -> None:
        """As of the one load that ops knows of each table."""
        with clickhouse.client() as admin:
            admin.command("TRUNCATE TABLE ops.loads")
            admin.command(
                "INSERT INTO ops.loads (run, target, try, status, started_at, ended_at, version)"
                " SELECT {run:UInt64}, arrayJoin(['customers', 'products', 'orders', 'order_items']), 1, 'published',"
                " now64(6), now64(6) - toIntervalHour({hours:UInt32}), 1",
                {"run": run, "hours": hours_ago},
            )

    publish(hours_ago=1, run=1)
    result = dbt("source", "freshness")
    assert result.returncode == 0 and result.stdout.count(" PASS ") == 4, result.stdout
    publish(hours_ago=51, run=2)
    result = dbt("source", "freshness")
    assert result.returncode == 1 and result.stdout.count(" ERROR STALE ") == 4, result.stdout


def test_without_the_sample_shop_only_its_models_are_left_out(dbt: Any, repo: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(repo / "dbt", project, ignore=shutil.ignore_patterns("target", "logs"))
    (project / "models/marts/own.sql").write_text("select 1 as one\n")
    # Without a ref, so that only its folder leaves it out.
    (project / "tests/shop/of_nothing.sql").write_text("select 1 as one where 1 = 0\n")
    listed = dbt("-q", "ls", project=project, env={"SAMPLE_SHOP": "false"})
    assert listed.stdout.split() == ["ecommerce.marts.own"]
    result = dbt("build", project=project, env={"SAMPLE_SHOP": "false"})
    assert result.returncode == 0 and "Finished running 1 project hook, 1 table model in" in result.stdout


def test_generic_tests_of_the_project_find_what_they_are_named_for(
    clickhouse: Any, dbt: Any, repo: Path, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    shutil.copytree(repo / "dbt", project, ignore=shutil.ignore_patterns("target", "logs"))
    (project / "models/marts/one_row.sql").write_text("select 1 as a, 2 as b, 2 as c\n")
    (project / "models/marts/two_rows.sql").write_text("select 1 as a, arrayJoin([2, 2]) as b, 1 as c\n")
    (project / "models/marts/own.yml").write_text(GENERIC_TESTS)
    result = dbt("build", project=project, env={"SAMPLE_SHOP": "false"})
    assert result.returncode == 1 and " PASS=7 WARN=0 ERROR=4 " in result.stdout, result.stdout
    found = {
        name: rows(clickhouse, f"SELECT * FROM analytics_dev.failed__{name}", "dbt")
        for (name,) in rows(
            clickhouse,
            "SELECT substring(name, 9) FROM system.tables WHERE database = 'analytics_dev' AND name LIKE 'failed\\_\\_two%'",
            "dbt",
        )
    }
    assert found == {
        "two_key": [(1, 2, 2)],
        "two_count": [(2, 1)],
        "two_sums": [("b", "4", "2")],
        "two_rules": [(["b_is_one"], 1, 2, 1)] * 2,
    }


def test_the_page_of_marts_names_the_columns_and_types_that_are_there(clickhouse: Any, repo: Path) -> None:
    page = (repo / "docs/marts.md").read_text()
    for name, text in re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL):
        listed = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", text, re.MULTILINE)
        assert listed == rows(
            clickhouse,
            f"SELECT name, type FROM system.columns WHERE table = '{name}' AND database = 'analytics' ORDER BY position",
            "dbt",
        )


def test_history_keeps_what_a_price_and_a_city_were_at_the_time_of_the_order(
    clickhouse: Any, dbt: Any, refill_raw: None
) -> None:
    with clickhouse.client("loader") as loader:
        for table, column, value, key in (
            ("products", "price", "25.00", "product_id = 1"),
            ("products", "cost", "9.01", "product_id = 1"),
            ("customers", "city", "'Austin'", "customer_id = 3"),
        ):
            loader.command(
                f"ALTER TABLE raw.{table} UPDATE {column} = {value}, updated_at = '2025-07-01 00:00:00.000001'"
                f" WHERE {key} SETTINGS mutations_sync = 2"
            )
        loader.command("ALTER TABLE raw.customers DELETE WHERE customer_id = 4 SETTINGS mutations_sync = 2")
    result = dbt("build")
    assert result.returncode == 0, result.stdout
    prices = "SELECT price, cost, valid_from < '1970-01-02', is_current FROM analytics_dev.dim_products_history"
    assert rows(clickhouse, f"{prices} WHERE product_id = 1 ORDER BY valid_from", "dbt") == [
        (Decimal("19.99"), Decimal("7.01"), 1, 0),
        (Decimal("25.00"), Decimal("9.01"), 0, 1),
    ]
    cities = "SELECT customer_id, customer_city, is_current FROM analytics_dev.dim_customers_history"
    assert rows(clickhouse, f"{cities} WHERE customer_id > 2 ORDER BY ALL", "dbt") == [
        (3, "Austin", 1),
        (3, "Waco", 0),
        (4, "Provo", 0),
    ]
    # Order 4 is a microsecond older than the change, order 2 half a year younger.
    as_sold = "SELECT order_id, customer_city, list_price, gross_product_margin FROM analytics_dev.fact_sales_as_sold"
    assert rows(clickhouse, f"{as_sold} WHERE product_id = 1 ORDER BY order_id", "dbt") == [
        (1, "Dayton", Decimal("19.99"), Decimal("38.94")),
        (2, None, Decimal("25.00"), Decimal("10.98")),
        (4, "Waco", Decimal("19.99"), Decimal("25.96")),
    ]
    assert rows(clickhouse, "SELECT customer_city FROM analytics_dev.dim_customers WHERE customer_id = 3", "dbt") == [
        ("Austin",)
    ]


def test_every_day_is_there_up_to_the_last_load(clickhouse: Any) -> None:
    found = rows(
        clickhouse,
        "SELECT min(order_day), max(order_day) - min(order_day) + 1 = count(), max(order_day) ="
        " toDate((SELECT max(loaded_at) FROM analytics.stg_orders)), countIf(gross_orders > 0), sum(net_revenue)"
        " FROM analytics.agg_sales_daily",
    )
    assert found == [(date(2025, 3, 31), 1, 1, 4, Decimal("60.37"))]
