"""The sample shop as the first boot makes it, and the role that reads it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

NOT_ADDING_UP = """
SELECT count(*) FROM orders AS o
WHERE o.total_amount IS DISTINCT FROM (SELECT sum(i.subtotal) FROM order_items AS i WHERE i.order_id = o.order_id)
"""
KEYS = {
    "customers": "customer_id",
    "products": "product_id",
    "orders": "order_id",
    "order_items": "order_item_id",
}


@pytest.fixture(scope="module")
def shop(new_shop: Callable[..., str]) -> str:
    return new_shop()


@pytest.fixture
def cursor(shop: str) -> Iterator[Any]:
    """As the owner, in a transaction that is rolled back."""
    connection = psycopg2.connect(shop)
    with connection.cursor() as cur:
        yield cur
    connection.rollback()
    connection.close()


def one(cursor: Any, query: str) -> Any:
    cursor.execute(query)
    return cursor.fetchone()[0]


def test_the_counts_are_those_promised(cursor: Any) -> None:
    assert one(cursor, "SELECT count(*) FROM customers") == 10
    assert one(cursor, "SELECT count(*) FROM products") == 15
    assert one(cursor, "SELECT count(DISTINCT category) FROM products") == 5
    assert one(cursor, "SELECT count(*) FROM orders") == 100
    assert one(cursor, "SELECT count(*) FROM order_items") == 300


def test_totals_add_up(cursor: Any) -> None:
    assert one(cursor, NOT_ADDING_UP) == 0


def test_orders_are_spread_over_the_year_that_ends_today(cursor: Any) -> None:
    cursor.execute("SET LOCAL timezone = 'UTC'")
    cursor.execute(
        "SELECT min(order_date), max(order_date), count(DISTINCT date_trunc('month', order_date)) FROM orders"
    )
    first, last, months = cursor.fetchone()
    now = datetime.now(UTC)
    # The shop may have been made on the other side of midnight.
    assert timedelta(0) <= now - last < timedelta(days=2)
    assert timedelta(days=364) <= last - first <= timedelta(days=366)
    assert months >= 12


def test_statuses_fit_the_dates(cursor: Any) -> None:
    assert (
        one(
            cursor,
            "SELECT count(*) FROM orders WHERE status IN ('pending', 'paid') AND order_date < now() - interval '8 days'",
        )
        == 0
    )
    assert (
        one(
            cursor,
            "SELECT count(*) FROM orders WHERE status IN ('delivered', 'returned') AND order_date > now() - interval '5 days'",
        )
        == 0
    )
    assert one(cursor, "SELECT count(DISTINCT status) FROM orders") == 6


def test_no_order_is_older_than_its_customer_or_its_products(cursor: Any) -> None:
    assert (
        one(cursor, "SELECT count(*) FROM orders JOIN customers USING (customer_id) WHERE created_at > order_date") == 0
    )
    items = "order_items JOIN products USING (product_id) JOIN orders USING (order_id)"
    assert one(cursor, f"SELECT count(*) FROM {items} WHERE created_at > order_date") == 0


def test_the_seed_is_the_same_every_time(cursor: Any, new_shop: Callable[..., str]) -> None:
    digest = """
    SELECT md5(string_agg(x::text, '|' ORDER BY x::text)) FROM (
        SELECT order_id, customer_id, order_date - (SELECT max(order_date) FROM orders) AS age, status, total_amount,
        (SELECT array_agg((product_id, quantity, unit_price) ORDER BY order_item_id) FROM order_items i WHERE i.order_id = o.order_id)
        FROM orders AS o
    ) AS x
    """
    with psycopg2.connect(new_shop()) as other, other.cursor() as cur:
        assert one(cur, digest) == one(cursor, digest)
    other.close()


@pytest.mark.parametrize("table", KEYS)
def test_a_change_moves_updated_at_and_a_change_of_nothing_does_not(cursor: Any, table: str) -> None:
    key = KEYS[table]
    cursor.execute(
        f"UPDATE {table} SET updated_at = '2001-01-01' WHERE {key} = 1 RETURNING updated_at > now() - interval '1 minute'"
    )
    assert cursor.fetchone()[0], "a stamp cannot be set by hand"
    cursor.execute(f"SELECT updated_at FROM {table} WHERE {key} = 1")
    before = cursor.fetchone()[0]
    cursor.execute(f"UPDATE {table} SET {key} = {key} WHERE {key} = 1 RETURNING updated_at")
    assert cursor.fetchone()[0] == before


@pytest.mark.parametrize("table", KEYS)
def test_updated_at_and_foreign_keys_are_indexed(cursor: Any, table: str) -> None:
    cursor.execute(
        "SELECT (SELECT attname FROM pg_attribute WHERE attrelid = indrelid AND attnum = indkey[0]) FROM pg_index WHERE indrelid = %s::regclass",
        (table,),
    )
    indexed = {name for (name,) in cursor.fetchall()}
    cursor.execute(
        "SELECT attname FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1] "
        "WHERE contype = 'f' AND conrelid = %s::regclass",
        (table,),
    )
    assert {"updated_at", KEYS[table]} | {name for (name,) in cursor.fetchall()} <= indexed


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO orders (customer_id, total_amount) VALUES (999, 1)",
        "INSERT INTO order_items (order_id, product_id, quantity, unit_price, subtotal) VALUES (1, 1, 2, 1.00, 1.00)",
        "INSERT INTO customers (first_name, last_name, email, state) SELECT 'A', 'B', email, 'CA' FROM customers LIMIT 1",
        "UPDATE products SET price = -1",
        "UPDATE orders SET status = 'lost'",
        "DELETE FROM products",
    ],
)
def test_what_cannot_be_in_a_shop_is_refused(cursor: Any, statement: str) -> None:
    with pytest.raises(psycopg2.errors.IntegrityError):
        cursor.execute(statement)


def test_new_rows_get_numbers_after_the_seed(cursor: Any) -> None:
    cursor.execute("INSERT INTO orders (customer_id, total_amount) VALUES (1, 0) RETURNING order_id")
    assert cursor.fetchone()[0] > 100


def test_the_reader_reads_tables_of_today_and_tomorrow(shop: str, reader_of: Callable[[str], Any]) -> None:
    owner = psycopg2.connect(shop)
    with owner, owner.cursor() as cur:
        cur.execute("CREATE TABLE IF NOT EXISTS later (id int PRIMARY KEY)")
    owner.close()
    with reader_of(shop).cursor() as cur:
        assert one(cur, "SELECT count(*) FROM order_items") == 300
        assert one(cur, "SELECT count(*) FROM later") == 0
        assert one(cur, "SHOW default_transaction_read_only") == "on"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO orders (customer_id, total_amount) VALUES (1, 1)",
        "UPDATE orders SET total_amount = 0",
        "DELETE FROM orders",
        "TRUNCATE orders CASCADE",
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "SELECT nextval(pg_get_serial_sequence('orders', 'order_id'))",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY orders TO PROGRAM 'cat'",
        "COPY orders TO '/tmp/orders'",
        "SET ROLE ecommerce",
        "SET session_replication_role = 'replica'",
    ],
)
def test_the_reader_cannot_do_anything_else_even_with_the_fence_lifted(
    shop: str, reader_of: Callable[[str], Any], statement: str
) -> None:
    with reader_of(shop).cursor() as cur:
        cur.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cur.execute(statement)


def test_the_reader_is_made_without_the_shop_and_made_again(
    new_shop: Callable[..., str], reader_of: Callable[[str], Any], repo: Path
) -> None:
    empty = new_shop(only=["03-reader.sql", "03-reader.sql"])
    owner = psycopg2.connect(empty)
    with owner, owner.cursor() as cur:
        cur.execute("CREATE TABLE anything (id int PRIMARY KEY)")
    owner.close()
    with reader_of(empty).cursor() as cur:
        assert one(cur, "SELECT count(*) FROM anything") == 0
