"""chDB: the one engine of this process, and connections with a user's rights and limits."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from embedded.errors import QueryError, StartError, from_engine
from embedded.figures import Figures
from embedded.interface import COUNTS
from embedded.sql.files import FOLDER
from embedded.users import User

# Settings where chDB's defaults differ from a server's.
_AS_A_SERVER = {
    "implicit_select": "0",
    "allow_introspection_functions": "0",
    # Our own: parse data in smaller pieces, for less memory at the same speed.
    "min_chunk_bytes_for_parallel_parsing": "524288",
}
# Freed memory goes back to the machine after 0.1 s, blocks of 2 MB and more at once. By default the engine's allocator waits 5 s
# and frees only while it is used: the first large insert of a server needed 150 MB more and kept them.
_ALLOCATOR = "background_thread:true,dirty_decay_ms:100,oversize_threshold:2097152"
# With less free disk (bytes) the engine acknowledges a CREATE TABLE but writes an empty definition, and then the folder does
# not open again.
LEAST_FREE = 1 << 24
# This setting has no effect here (no logs are sent), so it carries the query's mark: its user and the client's query id.
TAG = "send_logs_source_regexp"
# Prefix of the server's own statements; no client can know it.
OWN = f"/* server {secrets.token_hex(8)} */ "


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


class Connection:
    """A connection to the engine, with its own settings, database and temporary tables. It runs one query at a time."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def run(
        self, sql: str, output_format: str = "TabSeparated", parameters: Mapping[str, str] | None = None
    ) -> tuple[bytes, Figures]:
        """Runs one statement. Raises QueryError."""
        try:
            result = self._raw.query(sql.encode(errors="surrogateescape"), output_format, params=dict(parameters or {}))
        except RuntimeError as error:
            raise from_engine(error) from None
        body = bytes(result.bytes())
        return body, Figures(
            result.storage_rows_read(),
            result.storage_bytes_read(),
            result.rows_written(),
            result.bytes_written(),
            result.rows_read(),
            result.bytes_read(),
        )

    def own(
        self, sql: str, output_format: str = "TabSeparated", parameters: Mapping[str, str] | None = None
    ) -> tuple[bytes, Figures]:
        """Runs a statement of the server itself, hidden from clients. Raises QueryError."""
        return self.run(OWN + sql, output_format, parameters)

    def set(self, settings: Mapping[str, str]) -> None:
        if settings:
            self.own("SET " + ", ".join(f"{name} = {quoted(value)}" for name, value in settings.items()))

    def values(self, settings: Iterable[str]) -> dict[str, str]:
        """Returns the connection's values of the settings. Raises QueryError."""
        names = list(settings)
        if not names:
            return {}
        columns = ", ".join(f"toString(getSetting({quoted(name)}))" for name in names)
        row: list[str] = json.loads(self.own(f"SELECT {columns}", "JSONCompactEachRow")[0])
        return dict(zip(names, row, strict=True))

    def statements(self, sql: str) -> int:
        """Returns how many statements the engine's parser sees; 0 if it cannot parse the text."""
        count: int = self._raw.classify_query(sql.encode(errors="surrogateescape"))["statement_count"]
        return count

    def watch(self, callback: Any) -> None:
        """Registers `callback`, which gets a dict of figures while a query runs; None removes it."""
        self._raw.set_progress_callback(callback)

    def close(self) -> None:
        self._raw.close()


class Engine:
    """The engine on one data folder; open until `close`. Only one process may open a folder."""

    def __init__(self, data: Path, config: Path) -> None:
        # The engine needs empty passwords (it logs in as `default` without one), and the process does not need them any more.
        for source in ElementTree.parse(config / "users.xml").getroot().iter("password"):
            if source.get("from_env"):
                os.environ[source.get("from_env", "")] = ""
        os.environ["TZ"] = "UTC"
        os.environ.setdefault("JE_MALLOC_CONF", _ALLOCATOR)
        self._folder_lock = _lock(data)
        self._data = data
        os.chdir(_user_files(data))  # the engine resolves relative paths here
        # Only chDB's Python API needs it, which is unused here: 40 MB.
        sys.modules.setdefault("pyarrow", None)  # type: ignore[arg-type]
        from chdb import _chdb  # type: ignore[import-not-found,unused-ignore] # after the environment is set

        _chdb.set_signal_handlers_enabled(0)
        self._connect = _chdb.connect
        try:
            self._address = f"{data}?config-file={_write_config(data, config)}"
            self._keeper = Connection(self._connect(self._address))
        except (OSError, RuntimeError) as error:
            if not self.has_room():
                raise StartError(
                    f"{data} is on a disk with less than {LEAST_FREE >> 20} MB free: make room."
                ) from error
            found = from_engine(error)
            raise StartError(f"The engine cannot open {data}: {found.message} (code {found.code}).") from None
        self._lock = threading.Lock()
        self._profiles = self._read_profiles()
        self.version = self.ask("SELECT version()").strip()
        self.table_engines = frozenset(self.ask("SELECT name FROM system.table_engines").split())
        formats = self.ask("SELECT lower(name), content_type FROM system.formats WHERE is_output").splitlines()
        self._content_types = dict(row.split("\t") for row in formats)

    def _read_profiles(self) -> dict[str, dict[str, str]]:
        """Returns the values of each profile: the engine's SET profile applies constraints, but not values."""
        profiles: dict[str, dict[str, str]] = {}
        rows = self.ask(
            "SELECT profile_name, setting_name, value, inherit_profile FROM system.settings_profile_elements"
            " WHERE profile_name IS NOT NULL ORDER BY profile_name, index"
        )
        for row in rows.splitlines():
            profile, name, value, inherited = row.split("\t")
            values = profiles.setdefault(profile, {})
            if inherited != "\\N":
                values.update(profiles.get(inherited, {}))
            elif value != "\\N":
                values[name] = value
        return profiles

    def ask(self, sql: str) -> str:
        """Runs a statement of the server itself, as admin."""
        with self._lock:
            return self._keeper.own(sql)[0].decode()

    def connect(self, user: User) -> Connection:
        """Returns a connection with the user's role, profile and limits; the client's statements cannot widen them."""
        connection = Connection(self._connect(self._address))
        values = _AS_A_SERVER | self._profiles.get(user.profile, {})
        readonly = values.pop("readonly", None)
        values = {name: value for name, value in values.items() if name not in COUNTS}
        if not user.admin:  # default definer of a materialized view
            values |= {"default_view_definer": user.name, "default_materialized_view_sql_security": "DEFINER"}
        connection.set(values)
        connection.own(f"SET profile = {quoted(user.profile)}")
        if readonly:
            connection.set({"readonly": readonly})
        connection.own("SET ROLE ALL" if user.admin else f"SET ROLE {user.role}")
        return connection

    def default(self, user: User, setting: str) -> str | None:
        """Returns the value of a setting in the user's profile; None for the engine's default."""
        return (_AS_A_SERVER | self._profiles.get(user.profile, {})).get(setting)

    def content_type(self, output_format: str) -> str:
        """Returns the content type of a format; the case of the format does not matter."""
        return self._content_types.get(output_format.lower(), "text/plain; charset=UTF-8")

    def kill(self, tag: str) -> bool:
        """Asks the queries with this tag to stop, without waiting; returns whether there was one."""
        return bool(self.ask(f"KILL QUERY WHERE Settings['{TAG}'] = {quoted(tag)} ASYNC"))

    def has_room(self) -> bool:
        """Whether the disk has room for a complete definition."""
        return shutil.disk_usage(self._data).free >= LEAST_FREE

    def close(self) -> None:
        with self._lock:
            self._keeper.close()


def _lock(data: Path) -> int:
    """Locks the folder against a second server; the kernel frees the lock when the process ends. Raises StartError."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = os.open(data / "embedded-server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(
            f"{data} cannot be written ({error.strerror}): make it the server's own, or give another CLICKHOUSE_PATH."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StartError(
            f"{data} is in use by another server: stop that one first, or give another CLICKHOUSE_PATH."
        ) from None
    return lock


def _user_files(data: Path) -> Path:
    folder = data / FOLDER
    folder.mkdir(exist_ok=True)
    return folder


def _write_config(data: Path, config: Path) -> Path:
    """Writes the engine's copy of server.xml, without merge attributes (remove="1") and with absolute paths."""
    root = ElementTree.parse(config / "server.xml").getroot()
    for element in [child for child in root if child.get("remove")]:
        root.remove(element)
    for folder in root.iterfind("./backups/allowed_path"):
        folder.text = f"{data / (folder.text or '')}/"
    ElementTree.SubElement(root, "users_config").text = str(config / "users.xml")
    path = data / "embedded-server.xml"
    ElementTree.ElementTree(root).write(path, encoding="unicode")
    return path


def refuse_several(connection: Connection, sql: str) -> None:
    """Raises QueryError if the engine's parser sees several statements: a second guard, since the engine would run them all."""
    if connection.statements(sql) > 1:
        raise QueryError(62, "Syntax error (Multi-statements are not allowed): send one statement in a request")
