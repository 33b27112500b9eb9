"""Short-lived connections of the check to source and warehouse."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from warehouse.client import Address, Warehouse

from stack.env.file import Env


@contextmanager
def source(url: str) -> Iterator[Any]:
    """A cursor on a source in one read-only snapshot, in UTC and UTF-8."""
    connection = psycopg2.connect(url, connect_timeout=5)
    try:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        connection.set_client_encoding("UTF8")
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            yield cursor
    finally:
        connection.close()


def warehouse(env: Env, *, admin: bool = False) -> Warehouse:
    """A client of the warehouse as user `dbt`, who may read raw, analytics and ops, or as the admin."""
    user, variable = ("default", "CLICKHOUSE_PASSWORD") if admin else ("dbt", "CLICKHOUSE_DBT_PASSWORD")
    secure = env.CLICKHOUSE_SECURE == "true"
    return Warehouse(
        Address(env.clickhouse_host, env.CLICKHOUSE_HTTP_PORT, user, getattr(env, variable), secure, variable)
    )
