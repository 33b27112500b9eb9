"""Short-lived connections of the check to source and warehouse."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import clickhouse_connect
import psycopg2

from stack.env.file import Env


@contextmanager
def source(env: Env) -> Iterator[Any]:
    """A cursor on the source in one read-only snapshot, in UTC and UTF-8."""
    connection = psycopg2.connect(env.source_url, connect_timeout=5)
    try:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        connection.set_client_encoding("UTF8")
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            yield cursor
    finally:
        connection.close()


@contextmanager
def warehouse(env: Env, *, admin: bool = False) -> Iterator[Any]:
    """A client of the warehouse as user `dbt`, who may read raw, analytics and ops, or as the admin."""
    client = clickhouse_connect.get_client(
        host=env.clickhouse_host,
        port=env.CLICKHOUSE_HTTP_PORT,
        secure=env.CLICKHOUSE_SECURE == "true",
        username="default" if admin else "dbt",
        password=env.CLICKHOUSE_PASSWORD if admin else env.CLICKHOUSE_DBT_PASSWORD,
    )
    try:
        yield client
    finally:
        client.close()


def quoted(identifier: str) -> str:
    """A name of the warehouse as it stands in SQL."""
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"


def rows(client: Any, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    return list(client.query(sql, parameters=parameters).result_rows)
