"""The generated shop into Postgres: one transaction, COPY, sequences set right."""

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from typing import Any

import psycopg2
from psycopg2.extensions import connection, cursor

from shop.errors import ShopError
from shop.settings import Owner
from shop.stream import Batch, Ids, batches

# Table: (its key, the columns that are copied). updated_at is not among them: it is the time of writing, and a reader that follows it
# must find the new rows.
TABLES = {
    "products": ("product_id", "product_id, product_name, category, price, cost, created_at"),
    "customers": ("customer_id", "customer_id, first_name, last_name, email, phone, state, city, created_at"),
    "orders": ("order_id", "order_id, customer_id, order_date, status, total_amount"),
    "order_items": ("order_item_id", "order_item_id, order_id, product_id, quantity, unit_price, subtotal"),
}
CHUNK = 1 << 20


@contextmanager
def connect(owner: Owner) -> Iterator[connection]:
    """A connection to the source as its owner. Raises ShopError if the server does not answer or refuses."""
    try:
        source = psycopg2.connect(
            host=owner.host,
            port=owner.port,
            user=owner.user,
            password=owner.password.get_secret_value(),
            dbname=owner.database,
            application_name="generate_data",
            connect_timeout=10,
            client_encoding="UTF8",
        )
    except psycopg2.OperationalError as error:
        where = f"{owner.host}:{owner.port}/{owner.database}"
        raise ShopError(
            f"The source {where} cannot be reached as {owner.user} ({str(error).strip()}); is the stack up (./run.sh)?"
        ) from None
    try:
        yield source
    finally:
        source.close()


def _value(cur: cursor, query: str) -> Any:
    cur.execute(query)
    row = cur.fetchone()
    return row[0] if row else None


def first_ids(cur: cursor) -> Ids:
    """Locks the shop's tables against other writers, not readers, until the end of the transaction, and says where numbering goes on."""
    try:
        cur.execute("LOCK TABLE customers, products, orders, order_items IN SHARE ROW EXCLUSIVE MODE")
    except psycopg2.errors.UndefinedTable as error:
        cause = str(error).splitlines()[0]
        raise ShopError(
            f"The source has no sample shop ({cause}); it is made at the first boot unless SAMPLE_SHOP=false."
        ) from None
    following = {}
    for table, (key, _) in TABLES.items():
        following[table] = _value(cur, f"SELECT coalesce(max({key}), 0) + 1 FROM {table}")
    return Ids(following["customers"], following["products"], following["orders"], following["order_items"])


def _trust_foreign_keys(cur: cursor) -> None:
    """Spares the check of each row's foreign keys, which takes longer than everything else together.

    Safe here: the rows refer to each other only, and the lock keeps them from being deleted meanwhile. Only a superuser may; an owner without
    that right gets the checks.
    """
    if _value(cur, "SELECT current_setting('is_superuser') = 'on'"):
        cur.execute("SET LOCAL session_replication_role = 'replica'")


def _copy(cur: cursor, table: str, text: str) -> None:
    if text:
        cur.copy_expert(f"COPY {table} ({TABLES[table][1]}) FROM STDIN", io.BytesIO(text.encode()), size=CHUNK)


def _copy_batch(cur: cursor, batch: Batch) -> None:
    _copy(cur, "products", batch.products)
    _copy(cur, "customers", batch.customers)
    _copy(cur, "orders", batch.orders)
    _copy(cur, "order_items", batch.order_items)


def _set_sequences(cur: cursor) -> None:
    for table, (key, _) in TABLES.items():
        cur.execute(f"SELECT setval(pg_get_serial_sequence('{table}', '{key}'), max({key})) FROM {table}")


def add_shop(
    source: connection, *, orders: int, seed: int, days: int, until: date, progress: Callable[[dict[str, int]], None]
) -> dict[str, int]:
    """Adds a shop with `orders` orders in one transaction and returns the rows added by table; `progress` gets the same while it goes on.

    Raises ShopError where there is no sample shop to add to. After any error nothing was added.
    """
    added = dict.fromkeys(TABLES, 0)
    with source, source.cursor() as cur, ThreadPoolExecutor(1) as generator:
        ids = first_ids(cur)
        _trust_foreign_keys(cur)
        rows = batches(orders, seed=seed, days=days, until=until, ids=ids)
        # The next batch is made while Postgres takes this one in.
        coming = generator.submit(next, rows, None)
        while (batch := coming.result()) is not None:
            coming = generator.submit(next, rows, None)
            _copy_batch(cur, batch)
            added = {table: count + batch.rows[table] for table, count in added.items()}
            progress(added)
        _set_sequences(cur)
    source.autocommit = True
    with source.cursor() as cur:
        cur.execute("ANALYZE customers, products, orders, order_items")
    return added
