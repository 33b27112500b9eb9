"""The sample shop by the role and the file that the stack uses."""

from typing import Any

import psycopg2
from elt.cli.check import check
from elt.runs.whole_run import Listener, load_everything

TABLES = {
    "customers": ("customer_id", "customer_id"),
    "products": ("product_id", "price"),
    "orders": ("order_id", "total_amount"),
    "order_items": ("order_item_id", "subtotal"),
}


def test_the_sample_shop_arrives_whole(shop: Any, sample_shop: Any) -> None:
    settings = shop.settings.model_copy(
        update={
            "source_url": type(shop.settings.source_url)(
                sample_shop.dsn(user="elt_reader", password=sample_shop.reader_password)
            ),
            "elt_pipeline": shop.repo / "pipeline.yml",
        }
    )
    checked = check(settings)
    assert checked.mistakes == () and all(table.key for table in checked.tables)
    done = load_everything(settings, Listener(lambda _: None, lambda _: None))
    assert {table.target for table in done.published.tables} == set(TABLES)
    connection = psycopg2.connect(sample_shop.dsn())
    with connection.cursor() as cursor:
        for table, (key, amount) in TABLES.items():
            figures = f"count(*), count(DISTINCT {key}), sum({amount}), max(updated_at)"
            cursor.execute(f"SELECT {figures} FROM {table}")
            rows, keys, total, newest = cursor.fetchone() or ()
            found = shop.warehouse(
                f"SELECT count(), uniqExact({key}), sum({amount}), toUnixTimestamp64Micro(max(updated_at)) FROM raw.{table}"
            )
            micros = int(newest.timestamp()) * 1_000_000 + newest.microsecond
            assert found == [(rows, keys, total, micros)] and rows > 0
    connection.close()
