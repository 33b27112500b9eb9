"""Write, audit, publish: readers of `analytics` see a build that went well, whole, or the one before it."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from warehouse.client import Warehouse
from warehouse.errors import UNKNOWN_TABLE, WarehouseError
from webhook.publishing import journal
from webhook.publishing.journal import roll_forward


@pytest.fixture(scope="module", autouse=True)
def built(builds: Any) -> None:
    if "agg_customer_value" not in builds.published():
        assert builds().status == "success", builds.said


@pytest.fixture
def raw(clickhouse: Any, refill_raw: None) -> Callable[[str], None]:
    """Changes a raw table as user loader; the fixture makes them whole again."""

    def change(sql: str) -> None:
        with clickhouse.client("loader") as loader:
            loader.command(sql, settings={"mutations_sync": 2})

    return change


def answer(clickhouse: Any, sql: str, user: str = "superset") -> list[tuple[Any, ...]]:
    with clickhouse.client(user) as client:
        return [tuple(row) for row in client.query(sql).result_rows]


# As a build and a publish that were killed leave them.
LEFTOVERS = (
    "customers_history__next__snapshot_upsert",
    "customers_history__next__dbt_tmp",
    "fact_sales__next",
    "fact_sales__next__dbt_backup",
    "agg_sales_daily__next_0a1b2c3d",
)


def test_a_good_build_replaces_every_table_and_leaves_nothing_beside(clickhouse: Any, builds: Any) -> None:
    before = builds.published()
    for name in LEFTOVERS:
        builds.publisher._warehouse.command(
            f"CREATE TABLE analytics.{name} (customer_id Int64) ENGINE = MergeTree ORDER BY ()"
        )
    assert builds().status == "success", builds.said
    after = builds.published()
    assert before.keys() == after.keys() and not [name for name in after if "__next" in name]
    closed = answer(
        clickhouse,
        "SELECT target, toString(new_uuid), status FROM ops.dbt_publishes FINAL WHERE run_id ="
        " (SELECT argMax(run_id, opened_at) FROM ops.dbt_publishes) ORDER BY target",
        "webhook",
    )
    published = [name for name, _, _ in closed]
    assert f"Published: {', '.join(published)}" in builds.log()
    assert {"stg_orders", "fact_sales", "fact_sales_as_sold", "customers_history", "agg_sales_daily"} < set(published)
    assert closed == [(name, after[name], "done") for name in published]
    assert not [name for name in published if after[name] == before[name]]


LINE = "INSERT INTO raw.order_items (order_item_id, order_id, product_id, quantity, unit_price, subtotal) VALUES"
ORDER = "INSERT INTO raw.orders (order_id, customer_id, order_date, status, total_amount) VALUES"
# For each test or rule that blocks: where its failing rows lie, a row that breaks it, and how that row is told.
POISON = {
    "unique_stg_order_items_order_item_id": (
        "failed__unique_stg_order_items_order_item_id",
        "INSERT INTO raw.order_items SELECT * FROM raw.order_items WHERE order_item_id = 6",
        '"unique_field": 6',
    ),
    "line_has_its_order": (
        "failed__stg_order_items_rules",
        f"{LINE} (7, 99, 1, 1, 1, 1)",
        '"broken_rules": ["line_has_its_order"], "order_item_id": 7, "order_id": 99',
    ),
    "line_has_its_product": (
        "failed__stg_order_items_rules",
        f"{LINE} (8, 1, 99, 1, 1, 1)",
        '"broken_rules": ["line_has_its_product"], "order_item_id": 8, "order_id": 1, "product_id": 99',
    ),
    "line_is_quantity_times_price": (
        "failed__stg_order_items_rules",
        f"{LINE} (9, 1, 1, 2, 1, 1)",
        '"broken_rules": ["line_is_quantity_times_price"], "order_item_id": 9',
    ),
    "quantity_is_not_negative": (
        "failed__stg_order_items_rules",
        f"{LINE} (10, 1, 1, -1, 1, -1)",
        '"broken_rules": ["quantity_is_not_negative"], "order_item_id": 10',
    ),
    "unit_price_is_not_negative": (
        "failed__stg_order_items_rules",
        f"{LINE} (11, 1, 1, 1, -2, -2)",
        '"broken_rules": ["unit_price_is_not_negative"], "order_item_id": 11',
    ),
    "price_is_not_negative": (
        "failed__stg_products_rules",
        "INSERT INTO raw.products (product_id, price) VALUES (4, -1)",
        '"broken_rules": ["price_is_not_negative"], "product_id": 4',
    ),
    "cost_is_not_negative": (
        "failed__stg_products_rules",
        "INSERT INTO raw.products (product_id, cost) VALUES (5, -1)",
        '"broken_rules": ["cost_is_not_negative"], "product_id": 5',
    ),
    "order_has_its_customer": (
        "failed__stg_orders_rules",
        f"{ORDER} (5, 99, '2025-01-01', 'paid', 0)",
        '"broken_rules": ["order_has_its_customer"], "order_id": 5, "customer_id": 99',
    ),
    "total_is_not_negative": (
        "failed__stg_orders_rules",
        f"{ORDER} (6, 1, '2025-01-01', 'paid', -1)",
        '"broken_rules": ["total_is_not_negative"], "order_id": 6',
    ),
    "status_is_known": (
        "failed__stg_orders_rules",
        f"{ORDER} (7, 1, '2025-01-01', 'lost', 0)",
        '"broken_rules": ["status_is_known"], "order_id": 7',
    ),
    "order_date_is_there": (
        "failed__stg_orders_rules",
        "CREATE OR REPLACE TABLE raw.orders ENGINE = MergeTree ORDER BY tuple() AS"
        " SELECT * REPLACE (if(order_id = 4, NULL, order_date) AS order_date) FROM raw.orders",
        '"broken_rules": ["order_date_is_there"], "order_id": 4',
    ),
    "not_null_stg_customers_customer_id": (
        "failed__not_null_stg_customers_customer_id",
        "CREATE OR REPLACE TABLE raw.customers ENGINE = MergeTree ORDER BY tuple() AS"
        " SELECT * REPLACE (nullIf(customer_id, 4) AS customer_id) FROM raw.customers",
        '"customer_name": "Di Ewing"',
    ),
}


def test_rows_that_fail_a_test_leave_every_mart_as_it_was_and_are_named(
    clickhouse: Any, builds: Any, raw: Callable[[str], None]
) -> None:
    before, revenue = builds.published(), answer(clickhouse, "SELECT sum(gross_revenue) FROM analytics.fact_sales")
    for _, sql, _ in POISON.values():
        raw(sql)
    outcome = builds()
    assert outcome.status == "error" and "Failing rows: " in outcome.error
    assert builds.published() == before
    assert answer(clickhouse, "SELECT sum(gross_revenue) FROM analytics.fact_sales") == revenue
    log = builds.log()
    for name, (table, _, row) in POISON.items():
        assert [line for line in log.splitlines() if f"analytics.{table}:" in line and row in line], (name, log)
    # A person with Superset's SQL Lab can read them all, until a build goes well.
    stored = {name for (name,) in answer(clickhouse, "SHOW TABLES FROM analytics LIKE 'failed\\_\\_%'")}
    assert {table for table, _, _ in POISON.values()} <= stored


@pytest.mark.long
@pytest.mark.parametrize("test", POISON)
def test_each_blocking_test_stops_the_publish_by_itself(
    clickhouse: Any, builds: Any, raw: Callable[[str], None], test: str
) -> None:
    before = builds.published()
    _, sql, row = POISON[test]
    raw(sql)
    outcome = builds()
    assert outcome.status == "error" and row in outcome.error, outcome
    assert builds.published() == before


def test_a_build_after_a_failed_one_starts_from_what_is_published(
    clickhouse: Any, builds: Any, raw: Callable[[str], None]
) -> None:
    raw("ALTER TABLE raw.customers UPDATE city = 'Nowhere', updated_at = '2025-06-01 00:00:00' WHERE customer_id = 1")
    # Late, so that the snapshot of customers has been built when it fails.
    raw(
        "INSERT INTO raw.order_items (order_item_id, order_id, product_id, quantity, unit_price, subtotal) VALUES"
        " (12, 1, 1, 1, 1, 1), (12, 1, 1, 1, 1, 1)"
    )
    assert builds().status == "error"
    assert " OK snapshotted `analytics`.`customers_history__next`" in builds.said
    raw("ALTER TABLE raw.customers UPDATE city = 'Dayton', updated_at = '2025-01-01 10:00:00' WHERE customer_id = 1")
    raw("ALTER TABLE raw.order_items DELETE WHERE order_item_id = 12")
    assert builds().status == "success", builds.said
    history = "SELECT customer_city, is_current FROM analytics.dim_customers_history WHERE customer_id = 1"
    assert answer(clickhouse, history) == [("Dayton", 1)]
    assert not answer(clickhouse, "SHOW TABLES FROM analytics LIKE 'failed\\_\\_%'")


def test_a_build_of_one_mart_reads_the_others_as_they_are_published(
    clickhouse: Any, builds: Any, raw: Callable[[str], None]
) -> None:
    before = builds.published()
    assert builds("agg_sales_by_state").status == "success", builds.said
    after = builds.published()
    assert {name for name in after if after[name] != before[name]} == {"agg_sales_by_state"}
    # The test that compares it with fact_sales, which was not built, is one of those that ran.
    assert "adds_up_to_fact_sales" in builds.said


def test_dbts_tests_alone_test_what_is_published(builds: Any, raw: Callable[[str], None]) -> None:
    before = builds.published()
    assert builds("fact_sales", command="test").status == "success", builds.said
    raw("INSERT INTO raw.order_items SELECT * FROM raw.order_items WHERE order_item_id = 6")
    outcome = builds("fact_sales", command="test")
    assert "failed__fact_sales_has_every_order_item" in outcome.error
    assert builds.published() == before


@pytest.fixture
def project(repo: Path, tmp_path: Path, builds: Any) -> Iterator[Path]:
    """The project with an incremental model that adds a row at each build, and views upon views."""
    folder = tmp_path / "project"
    shutil.copytree(repo / "dbt", folder, ignore=shutil.ignore_patterns("target", "logs"))
    marts = folder / "models/marts"
    (marts / "growing.sql").write_text(
        "{{ config(materialized='incremental', engine='MergeTree()', order_by='id') }}\n"
        "select {% if is_incremental() %}(select max(id) + 1 from {{ this }}){% else %}toUInt64(1){% endif %} as id\n"
    )
    (marts / "over.sql").write_text("{{ config(materialized='view') }}\nselect id from {{ ref('growing') }}\n")
    (marts / "over_over.sql").write_text(
        "{{ config(materialized='view') }}\nselect max(id) as last from {{ ref('over') }}\n"
    )
    (marts / "wrong.sql").write_text(
        "-- depends_on: {{ ref('over_over') }}\nselect throwIf({{ env_var('SHOP_FAILS', '0') }}) as one\n"
    )
    yield folder
    for name in ("growing", "over", "over_over", "wrong"):
        builds.publisher._warehouse.command(f"DROP TABLE IF EXISTS analytics.{name}")


def test_an_incremental_model_grows_by_good_builds_only_and_views_follow_it(
    clickhouse: Any, builds: Any, project: Path
) -> None:
    def build(fails: str = "0", **options: Any) -> str:
        return str(builds("growing+", project=project, env={"SHOP_FAILS": fails}, **options).status)

    def grown() -> list[tuple[Any, ...]]:
        return answer(
            clickhouse, "SELECT last, (SELECT arraySort(groupArray(id)) FROM analytics.over) FROM analytics.over_over"
        )

    assert build() == "success", builds.said
    assert grown() == [(1, [1])]
    assert build("1") == "error"
    assert grown() == [(1, [1])]
    assert build() == "success", builds.said
    assert grown() == [(2, [1, 2])]
    assert build(full_refresh=True) == "success", builds.said
    assert grown() == [(1, [1])]


class CutWarehouse(Warehouse):
    """Loses ClickHouse before the command of this number, as a worker that is killed there."""

    left = 10**6

    def command(self, sql: str, settings: Any = None) -> None:
        self.left -= 1
        if self.left < 0:
            raise WarehouseError("cut")
        super().command(sql, settings)


def names_several(sql: str) -> bool:
    return sql.startswith(("RENAME", "EXCHANGE", "DROP")) and ", " in sql


class HalfCutWarehouse(CutWarehouse):
    """Loses it in the middle of a statement about several tables, when the first is done."""

    def command(self, sql: str, settings: Any = None) -> None:
        if self.left == 0 and names_several(sql):
            Warehouse.command(self, sql.split(", ")[0])
        super().command(sql, settings)


class OneByOneWarehouse(CutWarehouse):
    """Refuses a statement about several tables, as a Replicated database does."""

    def command(self, sql: str, settings: Any = None) -> None:
        if names_several(sql):
            raise WarehouseError("several tables in one statement", 48)
        super().command(sql, settings)


@pytest.mark.parametrize("cut_warehouse", [CutWarehouse, HalfCutWarehouse, OneByOneWarehouse])
def test_a_publish_that_is_cut_anywhere_is_finished_by_the_next(builds: Any, cut_warehouse: type[CutWarehouse]) -> None:
    warehouse = cut_warehouse(builds.settings.warehouse("dbt"))
    tables = ("cut_one", "cut_two", "cut_new")
    try:
        for cut in range(20):
            warehouse.left = 10**6
            for table in tables:
                warehouse.command(f"DROP TABLE IF EXISTS analytics.{table}")
                for name, content in ((table, "old"), (f"{table}__next", "new")):
                    if (name, content) != ("cut_new", "old"):
                        warehouse.command(
                            f"CREATE TABLE analytics.{name} ENGINE = MergeTree ORDER BY is AS SELECT '{content}' AS is"
                        )
            warehouse.left = cut
            try:
                builds.record(f"cut-{cut}")
                builds.publisher._warehouse = warehouse
                builds.publisher._publish(f"cut-{cut}", 1)
                finished = True
            except WarehouseError:
                finished = False
                warehouse.left = 10**6
                assert sorted(builds.publisher.recover().published) == sorted(tables)
            content = {t: warehouse.rows(f"SELECT groupArray(is) FROM analytics.{t}")[0][0] for t in tables}
            assert content == {table: ["new"] for table in tables}, cut
            assert not journal.open_entries(warehouse)
        assert finished, "the loop ends with a publish that was not cut"
    finally:
        builds.publisher._warehouse = Warehouse(builds.settings.warehouse("dbt"))
        for table in tables:
            builds.publisher._warehouse.command(f"DROP TABLE IF EXISTS analytics.{table}")


def test_a_swap_that_arrives_late_undoes_nothing(builds: Any) -> None:
    class Late(Warehouse):
        """Keeps back each swap of a worker that is killed then."""

        kept: list[str]

        def command(self, sql: str, settings: Any = None) -> None:
            if sql.startswith("EXCHANGE"):
                self.kept.append(sql)
                raise WarehouseError("killed")
            super().command(sql, settings)

    warehouse, late = Warehouse(builds.settings.warehouse("dbt")), Late(builds.settings.warehouse("dbt"))
    records = Warehouse(builds.settings.warehouse("webhook"))
    late.kept = []
    try:
        for name, content in (("late", "old"), ("late__next", "new")):
            warehouse.command(
                f"CREATE TABLE analytics.{name} ENGINE = MergeTree ORDER BY is AS SELECT '{content}' AS is"
            )
        builds.publisher._warehouse = late
        with pytest.raises(WarehouseError, match="killed"):
            builds.publisher._publish("late", 1)
        builds.publisher._warehouse = warehouse
        (entry,) = roll_forward(warehouse, records, journal.open_entries(warehouse))
        assert entry.status == "done"
        (swap,) = late.kept
        with pytest.raises(WarehouseError) as refused:
            warehouse.command(swap)
        assert refused.value.code == UNKNOWN_TABLE
        assert warehouse.rows("SELECT is FROM analytics.late") == [("new",)]
    finally:
        builds.publisher._warehouse = warehouse
        warehouse.command("DROP TABLE IF EXISTS analytics.late")


def test_readers_never_see_a_mart_that_is_missing_or_half(
    clickhouse: Any, builds: Any, raw: Callable[[str], None]
) -> None:
    poll_through(clickhouse, builds, raw, builds_wanted=2)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_readers_never_see_a_mart_that_is_missing_or_half_in_50_builds(
    clickhouse: Any, builds: Any, raw: Callable[[str], None]
) -> None:
    poll_through(clickhouse, builds, raw, builds_wanted=50)


def poll_through(clickhouse: Any, builds: Any, raw: Callable[[str], None], *, builds_wanted: int) -> None:
    """Every second build fails; each good one has one more sale of 1.00. Readers see whole states, in order."""
    seen: dict[str, list[Any]] = {"fact_sales": [], "agg_sales_by_state": [], "agg_sales_daily": []}
    wrong: list[str] = []
    ended = threading.Event()

    def read(mart: str) -> None:
        with clickhouse.client("superset") as client:
            while not ended.is_set():
                try:
                    found = client.query(f"SELECT sum(gross_revenue) FROM analytics.{mart}").result_rows[0][0]
                except Exception as error:  # noqa: BLE001 - whatever a reader gets that is no answer
                    wrong.append(f"{mart}: {error}")
                    return
                if not seen[mart] or seen[mart][-1] != found:
                    seen[mart].append(found)

    readers = [threading.Thread(target=read, args=(mart,)) for mart in seen]
    for reader in readers:
        reader.start()
    try:
        first = answer(clickhouse, "SELECT sum(gross_revenue) FROM analytics.fact_sales")[0][0]
        for number in range(builds_wanted):
            is_good = number % 2 == 0
            raw(
                "INSERT INTO raw.order_items (order_item_id, order_id, product_id, quantity, unit_price, subtotal)"
                f" VALUES ({100 + number}, 1, {1 if is_good else 99}, 1, 1, 1)"
            )
            assert builds().status == ("success" if is_good else "error"), builds.said
            raw("ALTER TABLE raw.order_items DELETE WHERE product_id = 99")
    finally:
        ended.set()
        for reader in readers:
            reader.join()
    assert not wrong
    expected = [first + number for number in range((builds_wanted + 1) // 2 + 1)]
    assert seen == dict.fromkeys(seen, expected)
