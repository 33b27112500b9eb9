"""One client of ClickHouse, with errors that say whether trying again can help."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError

from elt.columns import NARROW, WIDE, YearRange
from elt.errors import EltError, WarehouseRefusedError, WarehouseUnavailableError
from elt.pipeline.names import quote_clickhouse
from elt.settings import Settings

UNKNOWN_TABLE = 60
TABLE_EXISTS = 57
AUTHENTICATION_FAILED = 516
ACCESS_DENIED = 497
UNKNOWN_DATABASE = 81

# Timeouts, memory, disk, parts, connections, shutdown, Keeper: they pass. https://clickhouse.com/docs: ErrorCodes.cpp
_PASSING = {159, 160, 164, 202, 203, 209, 210, 212, 241, 242, 243, 252, 319, 394, 439, 473, 499, 999}

# One insert is one load: its rows must neither be merged with others' nor taken for a repetition of earlier ones, nor the
# first one for a header, a NULL must never turn into a default, and floats must come out as Postgres printed them.
_INSERT_SETTINGS = {
    "async_insert": 0,
    "insert_deduplicate": 0,
    "input_format_null_as_default": 0,
    "input_format_allow_errors_num": 0,
    "input_format_tsv_empty_as_default": 0,
    "input_format_tsv_detect_header": 0,
    "date_time_input_format": "basic",
    "precise_float_parsing": 1,
    # As Postgres prints them: any other spelling is looked for in a slower way.
    "bool_true_representation": "t",
    "bool_false_representation": "f",
    # Rows are counted as they were sent; only a merge may collapse those of one key.
    "optimize_on_insert": 0,
    # One thread parses twice as fast as one COPY sends; with another that cuts the text for it first, the same work
    # takes more of the processor that Postgres may need.
    "input_format_parallel_parsing": 0,
    # Small blocks (bytes) are written while the next are read, and little is left to do when the last row is there.
    "input_format_max_block_size_bytes": 8_000_000,
    "min_insert_block_size_bytes": 25_000_000,
}

# And smaller ones where few are to come. Should they be many, merges begin after 100 parts, which is 100 MB.
_OF_FEW = {"input_format_max_block_size_bytes": 1_000_000, "min_insert_block_size_bytes": 1_000_000}

# A few rows at a time: threads that cut them into pieces cost more than they save, and no two are of one key.
_EVENT_SETTINGS = {
    "async_insert": 0,
    "insert_deduplicate": 0,
    "input_format_parallel_parsing": 0,
    "optimize_on_insert": 0,
}


class Warehouse:
    """A client for the user `loader`, for several threads at once.

    Each method raises WarehouseRefusedError or WarehouseUnavailableError.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # The driver logs each refused connection with a traceback; the loader says it in one sentence.
        logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
        with self._errors():
            self._client = clickhouse_connect.get_client(
                host=settings.clickhouse_host,
                port=settings.clickhouse_http_port,
                secure=settings.clickhouse_secure,
                username=settings.clickhouse_loader_user,
                password=settings.clickhouse_loader_password.get_secret_value(),
                autogenerate_session_id=False,
                connect_timeout=10,
                send_receive_timeout=3600,
                compress=False,
            )

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    @property
    def host(self) -> str:
        """Its name or address."""
        return self._settings.clickhouse_host

    def rows(
        self, sql: str, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Rows of a query; parameters stand in it as {name:Type}."""
        with self._errors():
            found = self._client.query(sql, parameters=dict(parameters or {}), settings=dict(settings or {}))
            return [tuple(row) for row in found.result_rows]

    def command(self, sql: str, settings: Mapping[str, Any] | None = None) -> None:
        with self._errors():
            self._client.command(sql, settings=dict(settings or {}))

    def insert_events(self, table: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Appends all `events` in one insert: all of them are there, or none."""
        if not events:
            return
        body = "\n".join(json.dumps(event, ensure_ascii=False) for event in events).encode()
        with self._errors():
            self._client.raw_insert(table, list(events[0]), body, fmt="JSONEachRow", settings=_EVENT_SETTINGS)

    def insert_text(
        self,
        table: str,
        columns: Sequence[str],
        stream: Generator[memoryview, None, None],
        *,
        writers: int = 1,
        few: bool = False,
    ) -> int:
        """Streams TabSeparated rows into `table` (quoted name), where `writers` threads sort and write what one parses.

        Where the rows are `few`, parts are smaller, so that the last of them is soon written. Returns the rows that
        ClickHouse says it wrote.
        """
        names = ", ".join(quote_clickhouse(column) for column in columns)
        statement = f"INSERT INTO {table} ({names}) FORMAT TabSeparated\n".encode()
        with self._errors():
            # The statement goes ahead of the rows: with many columns it would be too long for an address.
            settings = _INSERT_SETTINGS | {"max_insert_threads": writers} | (_OF_FEW if few else {})
            summary = self._client.raw_insert(
                insert_block=_after(statement, stream), fmt="TabSeparated", settings=settings
            )
        return int(summary.written_rows)

    def count(self, table: str, condition: str = "") -> int:
        return int(self.rows(f"SELECT count() FROM {table}{f' WHERE {condition}' if condition else ''}")[0][0])

    def drop(self, table: str) -> None:
        """Drops a table of any size, if it is there."""
        self.command(f"DROP TABLE IF EXISTS {table}", {"max_table_size_to_drop": 0})

    def years(self) -> YearRange:
        """Years that this server's Date32 and DateTime64 hold: servers before 26 move years outside 1900-2299 silently."""
        probe = (
            "SELECT toString(CAST('0001-01-01' AS Date32)), toString(CAST('9999-12-31' AS Date32)),"
            " toString(CAST('0001-01-01 00:00:00' AS DateTime64(6, 'UTC'))),"
            " toString(CAST('9999-12-31 23:59:59.999999' AS DateTime64(6, 'UTC')))"
        )
        kept = ("0001-01-01", "9999-12-31", "0001-01-01 00:00:00.000000", "9999-12-31 23:59:59.999999")
        try:
            return WIDE if self.rows(probe) == [kept] else NARROW
        except WarehouseRefusedError:
            return NARROW

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ClickHouseError as error:
            raise self._translated(error) from None

    def _translated(self, error: ClickHouseError) -> EltError:
        code: int | None = getattr(error, "code", None)
        where = self._settings.warehouse_address
        reason = _reason(self._settings.redact(str(error)))
        if code is None:
            return WarehouseUnavailableError(
                f"The warehouse {where} does not answer ({reason}); check CLICKHOUSE_HOST and CLICKHOUSE_HTTP_PORT, "
                "and that ClickHouse runs there"
            )
        if code == AUTHENTICATION_FAILED:
            user = self._settings.clickhouse_loader_user
            return WarehouseRefusedError(
                f"The warehouse {where} refuses user {user}; CLICKHOUSE_LOADER_PASSWORD must be the one it was set up with",
                code,
            )
        if code in _PASSING:
            return WarehouseUnavailableError(f"The warehouse {where} could not do it now ({reason}); run again", code)
        cure = (
            "apply clickhouse/init to it" if code in (UNKNOWN_TABLE, UNKNOWN_DATABASE, ACCESS_DENIED) else "see there"
        )
        return WarehouseRefusedError(f"The warehouse {where} refuses ({reason}); {cure}", code)


def in_parallel(*calls: Callable[[], object]) -> None:
    """Makes the calls side by side, since most of a short statement is waiting. Raises the first error when all have ended."""
    with ThreadPoolExecutor(len(calls), thread_name_prefix="at once") as pool:
        for future in [pool.submit(call) for call in calls]:
            future.result()


def _after(first: bytes, rest: Generator[memoryview, None, None]) -> Generator[bytes | memoryview, None, None]:
    yield first
    yield from rest


def _reason(text: str) -> str:
    """The first sentence of what a server or the driver said, without its version and stack."""
    text = " ".join(text.split())
    if "DB::Exception:" in text:
        text = text.split("DB::Exception:", 1)[1].strip()
    return text[:300].rstrip(". ")
