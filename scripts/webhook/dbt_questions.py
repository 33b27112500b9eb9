"""What dbt asks the warehouse of its tables, queries and settings: once where the answer is known, and without running what need
not run.

The answers are those that dbt gets by itself. With another version of it a function here may find nothing to hold on to, and
then dbt goes on as it does by itself. `dbt_host.py` loads this file by its path.
"""

import contextlib
import re
import threading
from collections.abc import Callable
from copy import copy
from typing import Any


def ask_less() -> None:
    """For a process that forks those that run dbt, once."""
    for save in (_read_columns_once, _describe_queries, _introduce_once):
        with contextlib.suppress(ImportError, AttributeError):
            save()


def _read_columns_once() -> None:
    """A materialization asks up to ten times what columns a table has; here, again only after a statement that might have
    changed that table."""
    from dbt.adapters.clickhouse.connections import ClickHouseConnectionManager
    from dbt.adapters.sql import SQLAdapter

    read = SQLAdapter.get_columns_in_relation
    known = KnownColumns()

    def get_columns_in_relation(self: Any, relation: Any) -> list[Any]:
        key = relation.database, relation.schema, relation.identifier
        return [copy(column) for column in known.get(key, lambda: read(self, relation))]

    def watched(send: Callable[..., Any]) -> Callable[..., Any]:
        def send_watched(self: Any, sql: str, *rest: Any, **named: Any) -> Any:
            try:
                return send(self, sql, *rest, **named)
            finally:
                known.forget_after(sql)

        return send_watched

    for name in ("execute", "add_query"):
        setattr(ClickHouseConnectionManager, name, watched(getattr(ClickHouseConnectionManager, name)))
    SQLAdapter.get_columns_in_relation = get_columns_in_relation


class KnownColumns:
    """Columns of tables, for several threads; keys are database, schema and name."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._known: dict[tuple[Any, ...], list[Any]] = {}
        # What a thread is asking for, by thread.
        self._asked: dict[int, tuple[Any, ...]] = {}

    def get(self, key: tuple[Any, ...], read: Callable[[], list[Any]]) -> list[Any]:
        me = threading.get_ident()
        with self._turn:
            if key in self._known:
                return self._known[key]
            self._asked[me] = key
        columns = read()
        with self._turn:
            # Unless another thread has changed the table meanwhile.
            if self._asked.pop(me, None) == key:
                self._known[key] = columns
        return columns

    def forget_after(self, sql: str) -> None:
        """Forget what a statement that has ended may have changed: tables that it names, or any of a whole database."""
        if _LEAVES_COLUMNS.match(sql):
            return
        is_wide = _NAMES_DATABASE.search(sql) is not None

        def may_have_changed(key: tuple[Any, ...]) -> bool:
            # A name that is no word is written with escapes.
            return is_wide or not str(key[-1]).isidentifier() or key[-1] in sql

        with self._turn:
            self._known = {key: columns for key, columns in self._known.items() if not may_have_changed(key)}
            self._asked = {thread: key for thread, key in self._asked.items() if not may_have_changed(key)}


_NAMES_DATABASE = re.compile(r"\b(?:database|schema)\b", re.IGNORECASE)
# Comments may stand before the first word.
_LEAVES_COLUMNS = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:select|insert|exists|show|describe|explain)\b", re.IGNORECASE | re.DOTALL
)


def _describe_queries() -> None:
    """To learn the columns of a query dbt runs it with LIMIT 0, for which ClickHouse still fills the sides of its joins."""
    from clickhouse_connect.datatypes.registry import get_from_name
    from clickhouse_connect.driver.exceptions import DatabaseError
    from dbt.adapters.clickhouse import ClickHouseColumn
    from dbt.adapters.clickhouse.httpclient import ChHttpClient

    run = ChHttpClient.columns_in_query

    def columns_in_query(self: Any, sql: str, **named: Any) -> Any:
        try:
            described = self._client.query(f"DESCRIBE TABLE (\n{sql}\n)", **named).result_rows
        except DatabaseError:
            # dbt's own error, or a query that is none within brackets.
            return run(self, sql, **named)
        return [ClickHouseColumn.create(name, get_from_name(kind).name) for name, kind, *_ in described]

    ChHttpClient.columns_in_query = columns_in_query


def _introduce_once() -> None:
    """What the server tells of itself to every new connection is asked for the first connection of a run."""
    from clickhouse_connect.driver.client import Client

    ask, take = Client._init_common_settings, Client._apply_init_result
    known: dict[str, Any] = {}

    def take_and_keep(self: Any, told: Any) -> None:
        known[self.uri] = told
        take(self, told)

    def ask_once(self: Any, *arguments: Any) -> None:
        told = known.get(self.uri)
        if told is None:
            ask(self, *arguments)
        else:
            take(self, told)

    Client._apply_init_result = take_and_keep
    Client._init_common_settings = ask_once
