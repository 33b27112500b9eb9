"""The client of ClickHouse, with errors that say whether trying again can help."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError

from warehouse.errors import (
    ACCESS_DENIED,
    AUTHENTICATION_FAILED,
    PASSING,
    UNKNOWN_COLUMN,
    UNKNOWN_DATABASE,
    UNKNOWN_TABLE,
    WarehouseError,
    WarehouseRefusedError,
    WarehouseUnavailableError,
)

# A few rows at a time: threads that cut them into pieces cost more than they save, and no two are of one key.
_EVENT_SETTINGS = {
    "async_insert": 0,
    "insert_deduplicate": 0,
    "input_format_parallel_parsing": 0,
    "optimize_on_insert": 0,
}

_CURES = {
    **dict.fromkeys((UNKNOWN_TABLE, UNKNOWN_DATABASE, UNKNOWN_COLUMN), "apply clickhouse/init to it (./run.sh does)"),
    ACCESS_DENIED: "run ./run.sh, or clickhouse/grants.sql where SQL manages its users",
}

# Both log each refused connection at length; a WarehouseError tells it in a sentence.
for _name in ("urllib3", "clickhouse_connect"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Address:
    """One user's way to the warehouse."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    secure: bool = False
    password_variable: str = ""
    """Name in .env of the password, for the error that it is wrong."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Warehouse:
    """A client of one user, for several threads at once. It connects when it is first used.

    Each method raises WarehouseRefusedError or WarehouseUnavailableError. Timeouts are seconds; `retries` counts how often the
    driver repeats a query that the server refused as too busy (429, 503, 504).
    """

    def __init__(
        self, address: Address, *, connect_timeout: float = 10, answer_timeout: float = 3600, retries: int = 2
    ) -> None:
        self.address = address
        self._options = {
            "connect_timeout": connect_timeout,
            "send_receive_timeout": answer_timeout,
            "query_retries": retries,
        }
        self._lock = threading.Lock()
        self._client: Any = None

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; the next call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def beside(self, *, connect_timeout: float, answer_timeout: float, retries: int) -> Warehouse:
        """Another client of the same user, with its own connections and timeouts."""
        return type(self)(self.address, connect_timeout=connect_timeout, answer_timeout=answer_timeout, retries=retries)

    @property
    def host(self) -> str:
        """Its name or address."""
        return self.address.host

    def ping(self) -> None:
        """Raises WarehouseError unless the user is let in."""
        self.command("SELECT 1")

    def rows(
        self, sql: str, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Rows of a query; parameters stand in it as {name:Type}."""
        with self._connected() as client:
            found = client.query(sql, parameters=dict(parameters or {}), settings=dict(settings or {}))
            return [tuple(row) for row in found.result_rows]

    def command(self, sql: str, settings: Mapping[str, Any] | None = None) -> None:
        with self._connected() as client:
            client.command(sql, settings=dict(settings or {}))

    def insert_events(self, table: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Appends all `events` in one insert: all of them are there, or none."""
        if not events:
            return
        body = "\n".join(json.dumps(event, ensure_ascii=False) for event in events).encode()
        with self._connected() as client:
            client.raw_insert(table, list(events[0]), body, fmt="JSONEachRow", settings=_EVENT_SETTINGS)

    def insert_stream(
        self, statement: str, chunks: Generator[memoryview, None, None], settings: Mapping[str, Any]
    ) -> int:
        """Streams `chunks` behind the INSERT statement. Returns the rows that ClickHouse says it wrote."""
        with self._connected() as client:
            # The statement goes ahead of the rows: with many columns it would be too long for an address.
            body = _after(f"{statement}\n".encode(), chunks)
            return int(client.raw_insert(insert_block=body, fmt="TabSeparated", settings=dict(settings)).written_rows)

    def count(self, table: str, condition: str = "") -> int:
        return int(self.rows(f"SELECT count() FROM {table}{f' WHERE {condition}' if condition else ''}")[0][0])

    def drop(self, table: str) -> None:
        """Drops a table of any size, if it is there."""
        self.command(f"DROP TABLE IF EXISTS {table}", {"max_table_size_to_drop": 0})

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        try:
            yield self._connect()
        except ClickHouseError as error:
            found = self._translated(error)
            if found.code is None:
                # Another server may answer at this address next time.
                self.close()
            raise found from None

    def _connect(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = clickhouse_connect.get_client(
                    host=self.address.host,
                    port=self.address.port,
                    secure=self.address.secure,
                    username=self.address.user,
                    password=self.address.password,
                    autogenerate_session_id=False,
                    compress=False,
                    **self._options,
                )
            return self._client

    def _translated(self, error: ClickHouseError) -> WarehouseError:
        code: int | None = getattr(error, "code", None)
        where, user = str(self.address), self.address.user
        said = str(error)
        if self.address.password:
            said = said.replace(self.address.password, "***")
        reason = _reason(said)
        if code is None:
            return WarehouseUnavailableError(
                f"The warehouse {where} does not answer ({reason}); check CLICKHOUSE_HOST and CLICKHOUSE_HTTP_PORT, "
                "and that ClickHouse runs there"
            )
        if code == AUTHENTICATION_FAILED:
            password = self.address.password_variable or "the password"
            return WarehouseRefusedError(
                f"The warehouse {where} refuses user {user}; {password} must be the one it was set up with "
                "(where SQL manages users, run clickhouse/grants.sql)",
                code,
            )
        if code in PASSING:
            return WarehouseUnavailableError(f"The warehouse {where} could not do it now ({reason}); run again", code)
        cure = _CURES.get(code, "see there")
        return WarehouseRefusedError(f"The warehouse {where} refuses user {user} ({reason}); {cure}", code)


def in_parallel(*calls: Callable[[], object]) -> None:
    """Makes the calls side by side, since most of a short statement is waiting. Raises the first error when all have ended."""
    with ThreadPoolExecutor(len(calls), thread_name_prefix="in parallel") as pool:
        for future in [pool.submit(call) for call in calls]:
            future.result()


def _after(first: bytes, rest: Generator[memoryview, None, None]) -> Generator[bytes | memoryview, None, None]:
    yield first
    yield from rest


def _reason(said: str) -> str:
    """The first sentence of the server's or the driver's words, without version and stack."""
    text = " ".join(said.split())
    if "DB::Exception:" in text:
        text = text.split("DB::Exception:", 1)[1].strip()
    return text[:300].rstrip(". ")
