"""The SQLite file that web process and worker share: schema, connections, transactions."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from webhook.queue.schema import ADDED_COLUMNS, STATEMENTS, TRIGGERS


def now() -> int:
    """Microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


class Database:
    """One connection for each thread. Transactions are atomic, and survive a kill -9 once they have returned."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._local = threading.local()
        connection = self._connection()
        # Two processes may create the file at the same moment; the write lock makes one of them wait.
        with self.transaction():
            for statement in STATEMENTS:
                connection.execute(statement)
            for table, column, definition in ADDED_COLUMNS:
                known = {row["name"] for row in connection.execute(f"PRAGMA table_info({table})")}
                if column not in known:
                    connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {definition}")
            for statement in TRIGGERS:
                connection.execute(statement)

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=20, isolation_level=None)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA busy_timeout = 20000")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA journal_size_limit = 16000000")
            self._local.connection = connection
        return connection

    @contextmanager
    def transaction(self, *, waits_for_disk: bool = True) -> Iterator[sqlite3.Connection]:
        """A write transaction. It takes the write lock at its start, so what it reads stays true to its end.

        With `waits_for_disk=False` the transaction survives a kill, but a power cut may undo it until a later one has waited. Use that for changes
        whose loss the next step repairs.
        """
        connection = self._connection()
        # https://sqlite.org/pragma.html#pragma_synchronous: in WAL mode a power cut never leaves half a transaction.
        connection.execute(f"PRAGMA synchronous = {'FULL' if waits_for_disk else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def read(self, sql: str, *parameters: object) -> list[sqlite3.Row]:
        return self._connection().execute(sql, parameters).fetchall()

    def close(self) -> None:
        """Closes this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None
