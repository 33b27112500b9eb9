"""Sessions on the source: read-only, in UTC, with errors that say whether a retry can help."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
import psycopg2
import psycopg2.extensions
from warehouse.errors import PipelineError, TerminalError, TransientError

from elt.errors import SnapshotGoneError, SourceRefusedError, SourceUnavailableError
from elt.sources.postgres.catalogue import Kind
from elt.sources.postgres.columns import MASK_SETTING
from elt.sources.postgres.names import TableName
from elt.sources.postgres.sessions.copier import Copier
from elt.sources.postgres.sessions.pooler import is_shared
from elt.sources.postgres.sessions.server import Server

# Output settings for all values, so that defaults of server or role do not change the copy.
# row_security off: policies that would hide rows from this role raise an error instead of a partial copy.
# Keepalives of the server: without them a disconnected host would hold its locks for two hours.
_SESSION = """
SET client_encoding = 'UTF8'; SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'iso_8601';
SET extra_float_digits = 3; SET bytea_output = 'hex'; SET lc_monetary = 'C';
SET row_security = off; SET default_transaction_read_only = on;
SET quote_all_identifiers = off; SET standard_conforming_strings = on;
SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET jit = off;
SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3
"""

LOCK_TIMEOUT_SECONDS = 60

_INVALID_SNAPSHOT = {"22023", "42704", "55000"}
_PASSING_CLASSES = {"08", "25P03", "40", "53", "57", "58", "XX"}
_LOCK_NOT_AVAILABLE = "55P03"


_NO_OPTION: dict[str, Any] = {}
_HAS_SALT = f"SELECT coalesce(current_setting('{MASK_SETTING}', true), '') <> ''"
_NO_STARTUP_OPTION = "unsupported startup parameter"
"""Message of poolers that do not pass options on."""
_CONNECT_SECONDS = 10


class Session:
    """A session. Each method raises SourceRefusedError or SourceUnavailableError."""

    def __init__(self, server: Server, application: str, *, salted: bool = False) -> None:
        """Connects. pg_stat_activity shows the first 63 bytes of `application`.

        With `salted` the session has the salt for masked columns.
        """
        self._server = server
        self._application = application
        self._salted = salted
        self._copying: CopySession | None = None
        self._connect()

    def _connect(self) -> None:
        options = _salt_option(self._server) if self._salted else _NO_OPTION
        self._salt: str | None = None
        """Salt for the copying session, as a parameter, if options do not reach Postgres."""
        try:
            self._connection = _connection(self._server, self._application, options)
        except SourceUnavailableError as error:
            if not self._salted or _NO_STARTUP_OPTION not in str(error):
                raise
            # A pooler.
            self._connection = _connection(self._server, self._application, _NO_OPTION)
        try:
            self._set_up()
        except BaseException:
            self._connection.close()
            raise

    def _set_up(self) -> None:
        self._connection.autocommit = True
        with self._errors("a query"):
            shared = is_shared(self._connection, lambda: _connection(self._server, self._application, _NO_OPTION))
        if shared:
            raise SourceRefusedError(
                f"The source {self._server.shown} is a pooler that gives each transaction another session (transaction "
                f"pooling), so that the loader's settings and locks would end up with others; give {self._server.variable} the address of Postgres "
                "itself, or of a pool with pool_mode = session"
            )
        if self._salted and not self.rows(_HAS_SALT)[0][0]:
            self._salt = self._server.mask_salt.get_secret_value()
        self.execute(_SESSION)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._copying is not None:
            self._copying.close()
            self._copying = None
        self._connection.close()

    def reopen(self) -> None:
        """Reconnects: after an error Postgres refuses all statements of the transaction."""
        self.close()
        self._connect()

    def cancel(self) -> None:
        """Stops the statement or the copy that another thread runs in this session."""
        if self._copying is not None:
            self._copying.cancel()
        with self._errors("cancelling"):
            self._connection.cancel()

    def execute(self, sql: str) -> None:
        with self._errors("a statement"), self._connection.cursor() as cursor:
            cursor.execute(sql)

    def rows(self, sql: str, parameters: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        with self._errors("a query"), self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            result: list[tuple[Any, ...]] = cursor.fetchall()
            return result

    @property
    def host(self) -> str:
        """Host of the connection: a name, an address, or a folder of sockets."""
        return str(self._connection.info.host or "")

    @property
    def address(self) -> str:
        """Host and port as written in the address, all of several hosts; libpq's choice if it names none."""
        given = self._connection.info.dsn_parameters
        return f"{given.get('host') or self.host}:{given.get('port') or self._connection.info.port}"

    @property
    def copying(self) -> CopySession:
        """The copying session beside this one, after `begin(.., copies=True)`."""
        if self._copying is None:
            raise RuntimeError("The source has no session for copies: begin(.., copies=True) opens it")
        return self._copying

    def begin(
        self, tables: Sequence[tuple[TableName, Kind]], snapshot: str | None = None, *, copies: bool = False
    ) -> None:
        """Opens a read-only repeatable-read transaction in which no table of `tables` can be truncated or rewritten.

        TRUNCATE and rewriting ALTERs are not MVCC-safe: an older snapshot reads an empty table. So the locks come before the snapshot
        (https://www.postgresql.org/docs/current/mvcc-caveats.html). With `snapshot` the transaction imports that snapshot; raises SnapshotGoneError if the
        exporting transaction has ended. With `copies` it also opens `copying`, with the same snapshot.
        """
        _begin(self, tables, snapshot)
        for name, kind in tables:
            if kind == "materialized view":
                self._lock_materialized(name)
        if copies:
            self._copying = self.copy_session(self._application, tables, snapshot or self.export_snapshot())

    def copy_session(self, application: str, tables: Sequence[tuple[TableName, Kind]], snapshot: str) -> CopySession:
        """Opens another copying session, in a transaction like that of `begin`. The caller closes it."""
        return CopySession(self._server, self._connection.info, application, tables, snapshot, self._salt)

    def _lock_materialized(self, name: TableName) -> None:
        # LOCK TABLE does not accept a materialized view. A read locks it, but only after the snapshot is taken, so check that
        # its file is still the snapshot's.
        self.execute(f"SELECT FROM {name.sql} WHERE false")
        seen = self.rows(
            "SELECT c.relfilenode = pg_relation_filenode(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relname = %s",
            (name.schema, name.table),
        )
        if seen != [(True,)]:
            raise TransientError(f"{name} was refreshed at the very moment it was to be read; run again")

    def being_altered(self, tables: Sequence[TableName]) -> list[TableName]:
        """Ends the transaction; returns the tables on which another session holds, or waits for, a lock that blocks readers."""
        self.execute("ROLLBACK")
        found = self.rows(
            "SELECT DISTINCT n.nspname, c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE l.mode = 'AccessExclusiveLock' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        locked = {TableName(schema, table) for schema, table in found}
        return [name for name in tables if name in locked]

    def export_snapshot(self) -> str:
        """Exports the snapshot; returns its name, which other sessions can import while this transaction is open."""
        return str(self.rows("SELECT pg_export_snapshot()")[0][0])

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except psycopg2.Error as error:
            raise _translated(self._server, error.pgcode, _reason(error, self._server), doing) from None


class CopySession:
    """A copying session in the snapshot of another session. Each method raises SourceRefusedError or SourceUnavailableError."""

    def __init__(
        self,
        server: Server,
        beside: psycopg2.extensions.ConnectionInfo,
        application: str,
        tables: Sequence[tuple[TableName, Kind]],
        snapshot: str,
        salt: str | None = None,
    ) -> None:
        """Connects to the server of `beside`, locks the tables and imports the snapshot.

        `salt` is for masked columns, if the options of `beside` lack it.

        It locks all tables before the first copy. Otherwise an ALTER could queue behind the session that holds the snapshot and block the copies for which
        that session waits: a deadlock.
        """
        self._server = server
        # libpq's choice, also of several hosts.
        parameters = beside.dsn_parameters | {"host": beside.host, "port": str(beside.port)}
        with self._errors("the copy's session"):
            self._copier = Copier(
                parameters,
                beside.password,
                application=_short(application),
                encrypted=beside.ssl_in_use,
                timeout=_CONNECT_SECONDS,
                variable=server.variable,
            )
        try:
            self.execute(_SESSION)
            _begin(self, tables, snapshot)
            if salt is not None:
                # Only for this transaction, so that it does not stay in the pooler's session.
                with self._errors("a setting"):
                    self._copier.set_locally(MASK_SETTING, salt)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> CopySession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, sql: str) -> None:
        with self._errors("a statement"):
            self._copier.execute(sql)

    def being_altered(self, tables: Sequence[TableName]) -> list[TableName]:
        """Returns no tables: the session beside this one has locked the same tables before."""
        return []

    def copy(self, select: str) -> Generator[memoryview, None, int]:
        """Yields chunks and returns the number of rows, like Copier.copy. A failing copy raises inside the chunks."""
        with self._errors("the copy"):
            return (yield from self._copier.copy(select))

    def cancel(self) -> None:
        """Stops the copy that another thread reads, or is about to."""
        self._copier.cancel()

    def close(self) -> None:
        """Ends the session, whatever it is doing."""
        self._copier.close()

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except asyncpg.PostgresError as error:
            found = error.as_dict()
            detail = f"; {found['detail']}" if found.get("detail") else ""
            reason = _clean(found.get("message") or str(error), self._server, detail)
            raise _translated(self._server, error.sqlstate, reason, doing) from None
        except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
            reason = _clean(str(error) or type(error).__name__, self._server)
            raise _translated(self._server, None, reason, doing) from None


def _begin(session: Session | CopySession, tables: Sequence[tuple[TableName, Kind]], snapshot: str | None) -> None:
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    if snapshot is not None:
        try:
            session.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        except SourceRefusedError as error:
            if error.sqlstate in _INVALID_SNAPSHOT:
                raise SnapshotGoneError(snapshot) from None
            raise
    session.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
    lockable = [name for name, kind in tables if kind in ("table", "partitioned table", "view")]
    if lockable:
        _lock(session, lockable)


def _lock(session: Session | CopySession, tables: Sequence[TableName]) -> None:
    names = ", ".join(name.sql for name in tables)
    try:
        session.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
    except SourceUnavailableError as error:
        if error.sqlstate != _LOCK_NOT_AVAILABLE:
            raise
        some = session.being_altered(tables)
        which = f"{', '.join(map(str, some))} is" if some else f"A table of {', '.join(map(str, tables))} is"
        raise SourceUnavailableError(
            f"{which} being altered or emptied at the source for more than {LOCK_TIMEOUT_SECONDS} s; run again when that has ended",
            error.sqlstate,
        ) from None
    except SourceRefusedError as error:
        # Postgres' message names the table without its schema.
        named = [name for name in tables if len(tables) == 1 or f" {name.table}" in str(error).replace('"', "")]
        if named:
            error.naming(", ".join(map(str, named)))
        raise


def _translated(server: Server, state: str | None, reason: str, doing: str) -> PipelineError:
    where = server.shown
    passing = state is None or state == _LOCK_NOT_AVAILABLE or any(state.startswith(c) for c in _PASSING_CLASSES)
    if passing:
        return SourceUnavailableError(f"The source {where} broke off {doing} ({reason}); run again", state)
    cure = "grant it, see docs/source.md" if state == "42501" else "correct that and run again"
    return SourceRefusedError(f"The source {where} refuses {doing} ({reason}); {cure}", state)


def _connection(server: Server, application: str, options: Mapping[str, Any]) -> psycopg2.extensions.connection:
    try:
        connection: psycopg2.extensions.connection = psycopg2.connect(
            server.url.get_secret_value(),
            **options,
            connect_timeout=_CONNECT_SECONDS,
            application_name=_short(application),
            # An option and not only SET: psycopg2 encodes parameters, such as table names, by the encoding at connect time.
            client_encoding="UTF8",
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
        )
        return connection
    except psycopg2.ProgrammingError:
        # libpq's message repeats parts of the address, including the password.
        raise SourceRefusedError(
            f"{server.variable} is not an address that Postgres understands; write postgresql://user:password@host:5432/database"
        ) from None
    except psycopg2.Error as error:
        raise SourceUnavailableError(
            f"The source {server.shown} does not let the loader in ({_reason(error, server)}); "
            f"check {server.variable} and that Postgres runs there"
        ) from None


def _short(application: str) -> str:
    """Returns the part of a name that pg_stat_activity shows."""
    return application.encode()[:63].decode(errors="ignore")


def _salt_option(server: Server) -> dict[str, Any]:
    """Returns the salt as a connection option, after those of the address. Raises TerminalError without a salt."""
    salt = server.mask_salt.get_secret_value()
    if not salt:
        raise TerminalError(
            "pipeline.yml masks columns and MASK_SALT is empty; set it, once and for all, and run again"
        )
    try:
        given = psycopg2.extensions.parse_dsn(server.url.get_secret_value()).get("options", "")
    except psycopg2.ProgrammingError:
        # The connection attempt will report what is wrong with the address.
        given = ""
    escaped = salt.replace("\\", "\\\\").replace(" ", "\\ ")
    return {"options": f"{given} -c {MASK_SETTING}={escaped}".strip()}


def _reason(error: psycopg2.Error, server: Server) -> str:
    text = error.diag.message_primary or str(error) or type(error).__name__
    detail = f"; {error.diag.message_detail}" if error.diag.message_detail else ""
    return _clean(text, server, detail)


def _clean(text: str, server: Server, detail: str = "") -> str:
    """Returns the first line, with secrets removed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return server.redact((lines[0] if lines else "no reason given") + detail).rstrip(".")
