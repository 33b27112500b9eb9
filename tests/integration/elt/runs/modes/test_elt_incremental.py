"""Incremental tables: nothing that is written is missed, readers see one row a key, and the newest."""

import threading
import time
from typing import Any

import clickhouse_connect
import psycopg2
import pytest
from elt.cli.check import check
from elt.runs.reconcile import reconcile
from elt.runs.run import begin, load_table, publish
from warehouse.errors import TerminalError

ORDERS = "name: public.orders, mode: incremental, cursor: updated_at"


@pytest.fixture
def orders(shop: Any) -> Any:
    """Three orders of the last days, published. The last one is at the watermark, and read again each time."""
    shop.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, v int NOT NULL, updated_at timestamptz NOT NULL DEFAULT clock_timestamp())",
        "CREATE INDEX ON orders (updated_at)",
        "INSERT INTO orders SELECT i, 1, now() - interval '1 day' * (4 - i) FROM generate_series(1, 3) i",
    )
    shop.tables(ORDERS)
    assert modes(shop.load()) == {"orders": ("full", 3)}
    return shop


def modes(done: Any) -> dict[str, tuple[str, int]]:
    return {load.target: (load.mode, load.rows) for load in done.loads}


def seen(shop: Any, columns: str = "id, v") -> list[tuple[Any, ...]]:
    """Rows that the staging view reads."""
    return list(shop.warehouse(f"SELECT {columns} FROM raw.orders ORDER BY id SETTINGS final = 1"))


def recorded(shop: Any) -> int:
    return int(
        shop.warehouse("SELECT rows FROM ops.publishes FINAL WHERE target = 'orders' ORDER BY run DESC LIMIT 1")[0][0]
    )


def test_only_what_changed_is_read_and_a_reader_sees_the_newest_row_of_each_key(orders: Any) -> None:
    orders.sql(
        "UPDATE orders SET v = 2, updated_at = clock_timestamp() WHERE id = 2", "INSERT INTO orders VALUES (4, 1)"
    )
    assert modes(orders.load()) == {"orders": ("incremental", 3)}
    assert seen(orders) == [(1, 1), (2, 2), (3, 1), (4, 1)] and recorded(orders) == 4
    # Within the lookback the same rows are read again, and are still one row each.
    orders.sql("UPDATE orders SET v = 3, updated_at = clock_timestamp() WHERE id = 2")
    assert modes(orders.load()) == {"orders": ("incremental", 2)}
    assert seen(orders) == [(1, 1), (2, 3), (3, 1), (4, 1)] and recorded(orders) == 4
    orders.admin_client.command("OPTIMIZE TABLE raw.orders FINAL")
    orders.sql("INSERT INTO orders VALUES (5, 1)")
    orders.load()
    assert [row[0] for row in seen(orders)] == [1, 2, 3, 4, 5] and recorded(orders) == 5
    assert orders.warehouse("SELECT count() FROM system.tables WHERE name LIKE '%__loading_%'") == [(0,)]


FUNCTION = """
CREATE FUNCTION elt_oldest_transaction() RETURNS timestamptz LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'SELECT min(xact_start) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()'
"""


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp"])
@pytest.mark.parametrize(
    ("grant", "revoke"),
    [
        ("GRANT pg_read_all_stats TO elt_test_reader", "REVOKE pg_read_all_stats FROM elt_test_reader"),
        (FUNCTION, "DROP FUNCTION elt_oldest_transaction()"),
    ],
    ids=["right", "function"],
)
def test_a_row_committed_late_by_a_long_transaction_is_not_lost(
    orders: Any, kind: str, grant: str, revoke: str
) -> None:
    """Its cursor is older than rows that were published meanwhile, and the lookback alone would not reach it."""
    orders.sql(grant, f"ALTER TABLE orders ALTER updated_at TYPE {kind}")
    orders.tables(f"{ORDERS}, lookback: 0s")
    orders.load()
    late = psycopg2.connect(orders.admin_dsn)
    with late.cursor() as cursor:
        cursor.execute("INSERT INTO orders VALUES (4, 1)")
        orders.sql("INSERT INTO orders VALUES (5, 1)")
        orders.load()
        assert [row[0] for row in seen(orders)] == [1, 2, 3, 5]
        orders.sql("INSERT INTO orders VALUES (6, 1)")
        orders.load()
        late.commit()
    late.close()
    orders.load()
    orders.sql(revoke)
    assert [row[0] for row in seen(orders)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp"])
def test_the_lookback_covers_transactions_that_the_role_may_not_see(orders: Any, kind: str) -> None:
    orders.sql(f"ALTER TABLE orders ALTER updated_at TYPE {kind}")
    orders.load()
    late = psycopg2.connect(orders.admin_dsn)
    with late.cursor() as cursor:
        cursor.execute("INSERT INTO orders VALUES (4, 1)")
        for number in (5, 6):
            orders.sql(f"INSERT INTO orders VALUES ({number}, 1)")
            orders.load()
        assert [row[0] for row in seen(orders)] == [1, 2, 3, 5, 6]
        late.commit()
    late.close()
    orders.load()
    assert [row[0] for row in seen(orders)] == [1, 2, 3, 4, 5, 6]


def test_the_lookback_covers_clocks_of_applications_where_the_role_sees_all_transactions(orders: Any) -> None:
    """An application sets the cursor before its transaction begins: no list of transactions tells how long before."""
    orders.sql("GRANT pg_read_all_stats TO elt_test_reader", "INSERT INTO orders VALUES (4, 1)")
    try:
        orders.load()
        orders.sql("INSERT INTO orders VALUES (5, 1, now() - interval '50 min')")
        assert modes(orders.load()) == {"orders": ("incremental", 2)}
    finally:
        orders.sql("REVOKE pg_read_all_stats FROM elt_test_reader")
    assert [row[0] for row in seen(orders)] == [1, 2, 3, 4, 5]


def test_an_index_that_somebody_gave_the_table_in_raw_stops_no_load(orders: Any) -> None:
    """Its parts then do not fit those of the changed rows, which are written once more instead."""
    orders.admin_client.command("ALTER TABLE raw.orders ADD INDEX by_v v TYPE minmax GRANULARITY 1")
    orders.sql("INSERT INTO orders VALUES (4, 1)")
    assert modes(orders.load()) == {"orders": ("incremental", 2)}
    assert seen(orders) == [(1, 1), (2, 1), (3, 1), (4, 1)] and recorded(orders) == 4
    assert orders.warehouse("SELECT count() FROM system.tables WHERE name LIKE '%__loading_%'") == [(0,)]


def test_a_row_of_a_prepared_transaction_is_not_lost(orders: Any) -> None:
    """Nobody knows when it began: the watermark stays where it was until it is over."""
    orders.tables(f"{ORDERS}, lookback: 0s")
    orders.sql("BEGIN", "INSERT INTO orders VALUES (4, 1)", "PREPARE TRANSACTION 'late'")
    try:
        for number in (5, 6):
            orders.sql(f"INSERT INTO orders VALUES ({number}, 1)")
            orders.load()
        assert [row[0] for row in seen(orders)] == [1, 2, 3, 5, 6]
    finally:
        orders.sql("COMMIT PREPARED 'late'")
    # The third row is at the watermark of before; were that held back no longer, the sixth alone would be read.
    assert modes(orders.load()) == {"orders": ("incremental", 4)}
    assert [row[0] for row in seen(orders)] == [1, 2, 3, 4, 5, 6]
    assert modes(orders.load()) == {"orders": ("incremental", 1)}


def test_a_failed_load_leaves_watermark_and_table_as_they_were(orders: Any) -> None:
    before = orders.warehouse("SELECT watermark FROM ops.loads FINAL WHERE target = 'orders' ORDER BY run DESC LIMIT 1")
    orders.sql("INSERT INTO orders VALUES (4, 1)")
    run = begin(orders.settings, run_key="dag/unpublished", tables=None, full_refresh=False)
    assert load_table(orders.settings, run=run, target="orders", attempt=1).rows == 2
    assert load_table(orders.settings, run=run, target="orders", attempt=2).rows == 2
    assert [row[0] for row in seen(orders)] == [1, 2, 3]
    publish(orders.settings, run=run)
    assert [row[0] for row in seen(orders)] == [1, 2, 3, 4]
    assert before != orders.warehouse(
        "SELECT watermark FROM ops.loads FINAL WHERE target = 'orders' ORDER BY run DESC LIMIT 1"
    )


def test_readers_see_whole_states_through_incremental_publishes(orders: Any) -> None:
    """Each commit adds one row to every pair: a reader never sees half of a publish."""
    orders.sql("TRUNCATE orders")
    orders.load(full_refresh=True)
    over, wrong = threading.Event(), []

    def poll() -> None:
        while not over.is_set():
            for count, keys, even in seen_counts(orders):
                if count != keys or count % 2 or even * 2 != count:
                    wrong.append((count, keys, even))

    reader = threading.Thread(target=poll)
    reader.start()
    for number in range(6):
        orders.sql(f"INSERT INTO orders VALUES ({2 * number}, 1), ({2 * number + 1}, 1)")
        orders.load()
    over.set()
    reader.join(10)
    assert wrong == [] and seen_counts(orders) == [(12, 12, 6)]


def seen_counts(shop: Any) -> list[tuple[Any, ...]]:

    settings = shop.settings
    client = clickhouse_connect.get_client(
        host=settings.clickhouse_host,
        port=settings.clickhouse_http_port,
        username="loader",
        password=settings.clickhouse_loader_password.get_secret_value(),
    )
    with client:
        query = "SELECT count(), uniqExact(id), countIf(id % 2 = 0) FROM raw.orders SETTINGS final = 1"
        return [tuple(row) for row in client.query(query).result_rows]


@pytest.mark.parametrize(
    ("statement", "entry"),
    [
        ("ALTER TABLE orders ADD COLUMN note text", ORDERS),
        ("ALTER TABLE orders ALTER COLUMN v TYPE bigint", ORDERS),
        ("ALTER TABLE orders DROP COLUMN v", ORDERS),
        ("SELECT 1", f"{ORDERS}, where: id < 3"),
        ("SELECT 1", f"{ORDERS}, key: [id, updated_at]"),
        ("SELECT 1", f"{ORDERS}, mask: [v]"),
        ("SELECT 1", "public.orders"),
    ],
)
def test_a_changed_shape_key_or_condition_is_a_full_load(orders: Any, statement: str, entry: str) -> None:
    orders.sql(statement)
    orders.tables(entry)
    rows = 2 if "where" in entry else 3
    assert modes(orders.load()) == {"orders": ("full", rows)}
    assert len(seen(orders, "id")) == rows
    assert modes(orders.load())["orders"][0] == ("full" if entry == "public.orders" else "incremental")


def test_a_full_refresh_reads_everything_and_drops_what_was_deleted(orders: Any) -> None:
    orders.sql("DELETE FROM orders WHERE id = 1")
    orders.load()
    assert len(seen(orders)) == 3
    assert modes(orders.load(full_refresh=True)) == {"orders": ("full", 2)}
    assert len(seen(orders)) == 2


def test_values_that_need_conversion_and_partitions_come_through_a_clone(orders: Any) -> None:
    orders.sql(
        "ALTER TABLE orders ADD COLUMN b bytea, ADD COLUMN a int[], ADD COLUMN day date NOT NULL DEFAULT '2026-01-31'"
    )
    orders.tables(f"{ORDERS}, partition_by: toYYYYMM(day)")
    orders.load()
    orders.sql(
        r"INSERT INTO orders VALUES (4, 1, clock_timestamp(), '\x00ff', '{1,NULL}', '2026-02-01')",
        "UPDATE orders SET day = '2026-03-01', updated_at = clock_timestamp() WHERE id = 1",
    )
    assert modes(orders.load()) == {"orders": ("incremental", 3)}
    assert seen(orders, "id, hex(b), a, toString(day)") == [
        (1, None, [], "2026-03-01"),
        (2, None, [], "2026-01-31"),
        (3, None, [], "2026-01-31"),
        (4, "00FF", [1, None], "2026-02-01"),
    ]
    assert recorded(orders) == 4


def test_a_cursor_of_numbers_goes_by_its_own_units(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, v int)",
        "INSERT INTO orders SELECT i, 1 FROM generate_series(1, 50) i",
    )
    shop.tables("name: public.orders, mode: incremental, cursor: id")
    with pytest.raises(TerminalError, match="lookback"):
        shop.load()
    shop.tables("name: public.orders, mode: incremental, cursor: id, lookback: 10")
    shop.load()
    shop.sql("INSERT INTO orders VALUES (51, 1)", "UPDATE orders SET v = 2 WHERE id IN (5, 45)")
    assert modes(shop.load()) == {"orders": ("incremental", 12)}
    assert shop.warehouse("SELECT id FROM raw.orders WHERE v = 2 SETTINGS final = 1") == [(45,)]


def test_rows_without_a_cursor_are_read_every_time(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE orders (id int PRIMARY KEY, v int, updated_at timestamp)",
        "INSERT INTO orders VALUES (1, 1, '2020-01-01'), (2, 1, '2026-01-01'), (3, 1, NULL)",
    )
    shop.tables(ORDERS)
    shop.load()
    shop.sql("UPDATE orders SET v = 2 WHERE id <> 1")
    assert modes(shop.load()) == {"orders": ("incremental", 2)}
    assert seen(shop) == [(1, 1), (2, 2), (3, 2)]


def test_a_key_that_does_not_tell_rows_apart_is_refused(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE orders (id int NOT NULL, updated_at timestamptz NOT NULL)",
        "INSERT INTO orders VALUES (1, now()), (1, now())",
    )
    shop.tables(ORDERS)
    with pytest.raises(TerminalError, match="no primary key"):
        shop.load()
    shop.tables(f"{ORDERS}, key: [id]")
    with pytest.raises(TerminalError, match=r"1 keys \(id\) that stand in more than one row"):
        shop.load()


def test_check_tells_what_an_incremental_table_cannot_promise(orders: Any) -> None:
    checked = check(orders.settings)
    assert checked.mistakes == ()
    assert "deletes are not followed" in " ".join(checked.tables[0].notes)
    assert any("pg_read_all_stats" in note for note in checked.notes)
    orders.sql("GRANT pg_read_all_stats TO elt_test_reader")
    try:
        assert not any("pg_read_all_stats" in note for note in check(orders.settings).notes)
    finally:
        orders.sql("REVOKE pg_read_all_stats FROM elt_test_reader")


def test_reconcile_finds_missed_rows_and_deleted_ones_and_repairs(orders: Any) -> None:
    # Restored from a dump: older than any watermark.
    orders.sql("INSERT INTO orders VALUES (4, 1, '2020-01-01')", "DELETE FROM orders WHERE id = 1")
    orders.load()
    assert [row[0] for row in seen(orders)] == [1, 2, 3]
    code, out, _ = orders.command("reconcile", "--dry-run")
    assert code == 1 and "raw.orders" in out and "(1)" in out
    (compared,) = reconcile(orders.settings)
    assert (compared.found.rows, compared.found.missing, compared.found.deleted, compared.found.examples) == (
        3,
        1,
        1,
        ("(1)",),
    )
    code, out, err = orders.command("reconcile")
    assert code == 0 and "Every row is in its place" in out, err
    assert [row[0] for row in seen(orders)] == [2, 3, 4]
    orders.sql("DELETE FROM orders WHERE id = 2")
    code, out, _ = orders.command("reconcile")
    assert code == 0 and "Rows deleted at the source stay" in out
    assert orders.command("reconcile", "--deleted")[0] == 0
    assert [row[0] for row in seen(orders)] == [3, 4]
    assert orders.warehouse("SELECT count() FROM system.tables WHERE name LIKE '%__loading_%'") == [(0,)]


def counts_agree(shop: Any, table: str, key: str, *steps: tuple[str, int]) -> None:
    """After each step, rows to upsert by `key` and how many there are then, a load says as many as a reader counts."""
    upsert = f" ON CONFLICT ({key}) DO UPDATE SET total = 2, updated_at = clock_timestamp()"
    for rows, count in steps:
        shop.sql(f"INSERT INTO {table} VALUES {rows}{upsert}")
        assert shop.load().published.tables[0].rows == count
        assert shop.warehouse(f"SELECT count() FROM raw.{table} FINAL") == [(count,)]


def test_rows_that_replace_others_count_once_wherever_their_keys_are(shop: Any) -> None:
    shop.sql(
        "CREATE TABLE sales (region text, id int, total int NOT NULL, PRIMARY KEY (region, id),"
        " updated_at timestamptz NOT NULL DEFAULT clock_timestamp())"
    )
    shop.tables("name: public.sales, mode: incremental, cursor: updated_at, lookback: 0s")
    assert shop.load().published.tables[0].rows == 0
    counts_agree(
        shop,
        "sales",
        "region, id",
        ("('a', 1, 1), ('b', 2, 1), ('ü', 3, 1)", 3),
        ("('a', 1, 0), ('b', 5, 1), ('ü', 3, 0), ('ü', 4, 1), ('𝄞', 1, 1)", 6),
        ("('𝄞', 1, 0), ('ü', 3, 0)", 6),
        ("('𝄞', 2, 1)", 7),
    )
    assert shop.warehouse("SELECT sum(total) FROM raw.sales FINAL") == [(10,)]


def test_a_key_that_is_no_number_hides_no_row_that_replaces_another(shop: Any) -> None:
    """NaN is neither more nor less than another key, and may be what the warehouse knows of a part as its greatest."""
    shop.sql(
        "CREATE TABLE weights (w float8 PRIMARY KEY, total int NOT NULL,"
        " updated_at timestamptz NOT NULL DEFAULT clock_timestamp())"
    )
    shop.tables("name: public.weights, mode: incremental, cursor: updated_at, lookback: 0s")
    counts_agree(
        shop,
        "weights",
        "w",
        ("(1.5, 1), ('NaN', 1), (2.5, 1)", 3),
        ("(1.5, 0)", 3),
        ("(1.5, 0), ('NaN', 0)", 3),
        ("(3.5, 1)", 4),
    )
    (compared,) = reconcile(shop.settings)
    assert (compared.found.rows, compared.found.missing, compared.found.deleted) == (4, 0, 0)


def test_nothing_to_reconcile_is_told(shop: Any) -> None:
    shop.sql("CREATE TABLE orders (id int PRIMARY KEY)")
    shop.tables("public.orders")
    code, _, err = shop.command("reconcile")
    assert code == 1 and "nothing to compare" in err


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_hundred_publishes_under_writers_and_readers(shop: Any) -> None:
    """Orders and their items are written in one transaction as fast as possible: no run ever sees one without the other."""
    shop.sql(
        "CREATE TABLE orders (id bigint PRIMARY KEY, total int NOT NULL, updated_at timestamptz NOT NULL DEFAULT clock_timestamp())",
        "CREATE TABLE items (id bigint PRIMARY KEY, order_id bigint NOT NULL, price int NOT NULL,"
        " updated_at timestamptz NOT NULL DEFAULT clock_timestamp())",
        "CREATE INDEX ON orders (updated_at)",
        "CREATE INDEX ON items (updated_at)",
    )
    shop.sql(FUNCTION)
    shop.tables(f"{ORDERS}, lookback: 2s", "name: public.items, mode: incremental, cursor: updated_at, lookback: 2s")
    over, written, failed = threading.Event(), [0], []

    def write() -> None:
        connection = psycopg2.connect(shop.admin_dsn)
        with connection.cursor() as cursor:
            while not over.is_set():
                number = written[0]
                cursor.execute("INSERT INTO orders VALUES (%s, 6)", (number,))
                for price in (1, 2, 3):
                    cursor.execute("INSERT INTO items VALUES (%s, %s, %s)", (number * 3 + price, number, price))
                if number % 7 == 3:
                    cursor.execute(
                        "UPDATE items SET price = price + 1, updated_at = clock_timestamp() WHERE order_id = %s",
                        (number // 2,),
                    )
                    cursor.execute(
                        "UPDATE orders SET total = total + 3, updated_at = clock_timestamp() WHERE id = %s",
                        (number // 2,),
                    )
                connection.commit()
                written[0] += 1
                time.sleep(0.002)
        connection.close()

    def poll() -> None:
        before = 0
        while not over.is_set():
            ((count, keys),) = shop_client.query(
                "SELECT count(), uniqExact(id) FROM raw.orders SETTINGS final = 1"
            ).result_rows
            if count != keys or count < before:
                failed.append((before, count, keys))
            before = count

    shop.load()
    settings = shop.settings
    shop_client = clickhouse_connect.get_client(
        host=settings.clickhouse_host,
        port=settings.clickhouse_http_port,
        username="loader",
        password=settings.clickhouse_loader_password.get_secret_value(),
        autogenerate_session_id=False,
    )
    threads = [threading.Thread(target=write), threading.Thread(target=poll)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            shop.load()
            wrong = shop.warehouse(
                "SELECT count() FROM raw.orders AS o FULL JOIN (SELECT order_id, sum(price) AS total FROM raw.items GROUP BY order_id)"
                " AS i ON i.order_id = o.id WHERE o.total != i.total SETTINGS final = 1, join_use_nulls = 0"
            )
            assert wrong == [(0,)]
    finally:
        over.set()
        for thread in threads:
            thread.join(20)
        shop_client.close()
    shop.load()
    assert failed == [] and written[0] > 100
    assert shop.warehouse("SELECT count(), sum(total) FROM raw.orders SETTINGS final = 1") == shop.sql(
        "SELECT count(*), sum(total) FROM orders"
    )
