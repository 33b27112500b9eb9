"""One session on the source: read only, in UTC, with errors that say whether trying again can help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import psycopg2
import psycopg2.extensions

from elt.catalogue import Kind
from elt.column_types import MASK_SETTING
from elt.errors import (
    EltError,
    SnapshotGoneError,
    SourceRefusedError,
    SourceUnavailableError,
    TerminalError,
    TransientError,
)
from elt.names import TableName
from elt.settings import Settings

# What every value is printed with, so that no server's or role's own defaults show in the warehouse.
# row_security off: a table whose policies would hide rows from this role is an error, not a short copy.
# The keepalives are the server's: a host that is cut off does not keep its locks for two hours.
_SESSION = """
SET client_encoding = 'UTF8'; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'iso_8601';
SET extra_float_digits = 3; SET bytea_output = 'hex'; SET lc_monetary = 'C';
SET row_security = off; SET default_transaction_read_only = on;
SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET jit = off;
SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3
"""

LOCK_TIMEOUT_SECONDS = 60

_INVALID_SNAPSHOT = {"22023", "42704", "55000"}
_PASSING_CLASSES = {"08", "25P03", "40", "53", "57", "58", "XX"}
_LOCK_NOT_AVAILABLE = "55P03"


_NO_OPTION: dict[str, Any] = {}


class Source:
    """A session. Each method raises SourceRefusedError or SourceUnavailableError."""

    def __init__(self, settings: Settings, application: str, *, salted: bool = False) -> None:
        """Connects. `application` is what pg_stat_activity shows; its first 63 bytes count.

        With `salted` the session knows the salt for masked columns.
        """
        self._settings = settings
        url = settings.source_url.get_secret_value()
        try:
            self._connection = psycopg2.connect(
                url,
                **(_salt_option(settings, url) if salted else _NO_OPTION),
                connect_timeout=10,
                application_name=application.encode()[:63].decode(errors="ignore"),
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
            )
        except psycopg2.ProgrammingError:
            # libpq repeats parts of the address in its message, the password among them.
            raise SourceRefusedError(
                "SOURCE_URL is not an address that Postgres understands; write postgresql://user:password@host:5432/database"
            ) from None
        except psycopg2.Error as error:
            raise SourceUnavailableError(
                f"The source {settings.source_address} does not let the loader in ({_reason(error, settings)}); "
                "check SOURCE_URL and that Postgres runs there"
            ) from None
        self._connection.autocommit = True
        self.execute(_SESSION)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def cancel(self) -> None:
        """Stops the statement that another thread runs in this session."""
        with self._errors("cancelling"):
            self._connection.cancel()

    def execute(self, sql: str) -> None:
        with self._errors("a statement"), self._connection.cursor() as cursor:
            cursor.execute(sql)

    def rows(self, sql: str, parameters: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        with self._errors("a query"), self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found

    def copy_out(self, sql: str, file: IO[bytes]) -> int:
        """Runs `COPY .. TO STDOUT` into `file`; returns the rows that Postgres says it sent."""
        with self._errors("the copy"), self._connection.cursor() as cursor:
            cursor.copy_expert(sql, file)
            return int(cursor.rowcount)

    def begin(self, tables: Sequence[tuple[TableName, Kind]], snapshot: str | None = None) -> None:
        """Opens a read-only repeatable-read transaction in which no table of `tables` can be emptied or rewritten.

        TRUNCATE and rewriting ALTERs are not MVCC-safe: a snapshot older than them reads an empty table. So the locks
        come before the snapshot is taken (https://www.postgresql.org/docs/current/mvcc-caveats.html).
        With `snapshot` the transaction reads what the exporting one reads; SnapshotGoneError when that has ended.
        """
        self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        if snapshot is not None:
            try:
                self.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
            except SourceRefusedError as error:
                if error.sqlstate in _INVALID_SNAPSHOT:
                    raise SnapshotGoneError(snapshot) from None
                raise
        self.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
        lockable = [name for name, kind in tables if kind in ("table", "partitioned table", "view")]
        if lockable:
            self._lock(lockable)
        for name, kind in tables:
            if kind == "materialized view":
                self._lock_materialized(name)

    def _lock(self, tables: Sequence[TableName]) -> None:
        names = ", ".join(name.sql for name in tables)
        try:
            self.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
        except SourceUnavailableError as error:
            if error.sqlstate != _LOCK_NOT_AVAILABLE:
                raise
            raise SourceUnavailableError(
                f"A table of {', '.join(map(str, tables))} is being altered or emptied at the source for more than "
                f"{LOCK_TIMEOUT_SECONDS} s; run again when that has ended",
                error.sqlstate,
            ) from None

    def _lock_materialized(self, name: TableName) -> None:
        # LOCK TABLE does not take a materialized view. Reading it locks it, but only after the snapshot is taken:
        # the file that the snapshot knows must still be the one in use.
        self.execute(f"SELECT FROM {name.sql} WHERE false")
        seen = self.rows(
            "SELECT c.relfilenode = pg_relation_filenode(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relname = %s",
            (name.schema, name.table),
        )
        if seen != [(True,)]:
            raise TransientError(f"{name} was refreshed at the very moment it was to be read; run again")

    def snapshot_text(self) -> str:
        """The transaction's own snapshot, for the record: xmin:xmax:xip_list."""
        return f"own:{self.rows('SELECT pg_current_snapshot()::text')[0][0]}"[:200]

    def export_snapshot(self) -> str:
        """A name under which other sessions can read the same instant while this transaction is open."""
        return str(self.rows("SELECT pg_export_snapshot()")[0][0])

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except psycopg2.Error as error:
            raise self._translated(error, doing) from None

    def _translated(self, error: psycopg2.Error, doing: str) -> EltError:
        state = error.pgcode
        reason = _reason(error, self._settings)
        where = self._settings.source_address
        passing = state is None or state == _LOCK_NOT_AVAILABLE or any(state.startswith(c) for c in _PASSING_CLASSES)
        if passing:
            return SourceUnavailableError(f"The source {where} broke off {doing} ({reason}); run again", state)
        cure = "grant it, see docs/source.md" if state == "42501" else "correct that and run again"
        return SourceRefusedError(f"The source {where} refuses {doing} ({reason}); {cure}", state)


def _salt_option(settings: Settings, url: str) -> dict[str, Any]:
    """The salt as an option of the connection, behind those of the address. Raises TerminalError when there is none."""
    salt = settings.mask_salt.get_secret_value()
    if not salt:
        raise TerminalError(
            "pipeline.yml masks columns and MASK_SALT is empty; set it, once and for all, and run again"
        )
    given = psycopg2.extensions.parse_dsn(url).get("options", "")
    escaped = salt.replace("\\", "\\\\").replace(" ", "\\ ")
    return {"options": f"{given} -c {MASK_SETTING}={escaped}".strip()}


def _reason(error: psycopg2.Error, settings: Settings) -> str:
    text = error.diag.message_primary or str(error)
    detail = f"; {error.diag.message_detail}" if error.diag.message_detail else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return settings.redact((lines[0] if lines else type(error).__name__) + detail).rstrip(".")
