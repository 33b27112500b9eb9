"""chDB: the one engine of this process, and connections to it that carry a user's rights and limits."""

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

# What chDB sets otherwise than a server does.
_AS_A_SERVER = {
    "implicit_select": "0",
    "allow_introspection_functions": "0",
    # Not chDB's but ours: data are parsed in smaller pieces, for less memory at the same speed.
    "min_chunk_bytes_for_parallel_parsing": "524288",
}
# Freed memory goes back to the machine after a tenth of a second, and blocks of 2 MB and more at once. By itself the engine's
# allocator does so after 5 s and only while it works: a server's first large insert took 150 MB more, and left them behind.
_ALLOCATOR = "background_thread:true,dirty_decay_ms:100,oversize_threshold:2097152"
# On a disk with less room (bytes) the engine acknowledges a CREATE TABLE and leaves an empty definition behind, and then
# the folder does not open again.
LEAST_FREE = 1 << 24
# A setting without effect here (no logs are sent): it marks each query with its user and the client's query id.
TAG = "send_logs_source_regexp"
# Begins the statements that the server runs for itself; no client can know it.
OWN = f"/* server {secrets.token_hex(8)} */ "


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


class Connection:
    """A connection to the engine: it has its own settings, database and temporary tables, and runs one query at a time."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def run(
        self, sql: str, output_format: str = "TabSeparated", parameters: Mapping[str, str] | None = None
    ) -> tuple[bytes, Figures]:
        """Run one statement. Raises QueryError."""
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
        """Run a statement of the server, which no client has sent and none is shown. Raises QueryError."""
        return self.run(OWN + sql, output_format, parameters)

    def set(self, settings: Mapping[str, str]) -> None:
        if settings:
            self.own("SET " + ", ".join(f"{name} = {quoted(value)}" for name, value in settings.items()))

    def values(self, settings: Iterable[str]) -> dict[str, str]:
        """The settings' values as the connection has them. Raises QueryError."""
        names = list(settings)
        if not names:
            return {}
        columns = ", ".join(f"toString(getSetting({quoted(name)}))" for name in names)
        row: list[str] = json.loads(self.own(f"SELECT {columns}", "JSONCompactEachRow")[0])
        return dict(zip(names, row, strict=True))

    def statements(self, sql: str) -> int:
        """How many statements the engine's own parser sees; 0 when it sees none that it understands."""
        count: int = self._raw.classify_query(sql.encode(errors="surrogateescape"))["statement_count"]
        return count

    def watch(self, callback: Any) -> None:
        """Have `callback` called with a dict of figures while a query runs, until another or None takes its place."""
        self._raw.set_progress_callback(callback)

    def close(self) -> None:
        self._raw.close()


class Engine:
    """The engine on one data folder; it stays open until `close`. One process may open a folder."""

    def __init__(self, data: Path, config: Path) -> None:
        # The engine must see empty passwords (it logs in as `default` without one), and the process need not keep them.
        for source in ElementTree.parse(config / "users.xml").getroot().iter("password"):
            if source.get("from_env"):
                os.environ[source.get("from_env", "")] = ""
        os.environ["TZ"] = "UTC"
        os.environ.setdefault("JE_MALLOC_CONF", _ALLOCATOR)
        self._folder_lock = _lock(data)
        self._data = data
        os.chdir(_user_files(data))  # where the engine looks for paths that do not begin at the root
        # Only chDB's Python API, unused here, needs it: 40 MB.
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
        """The values of each profile: the engine takes constraints from SET profile, but not the values."""
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
        """Run a statement of the server's own, as admin."""
        with self._lock:
            return self._keeper.own(sql)[0].decode()

    def connect(self, user: User) -> Connection:
        """A connection with the user's role, profile and limits; what a client sends on it cannot widen them."""
        connection = Connection(self._connect(self._address))
        values = _AS_A_SERVER | self._profiles.get(user.profile, {})
        readonly = values.pop("readonly", None)
        values = {name: value for name, value in values.items() if name not in COUNTS}
        if not user.admin:  # whom a materialized view runs as, if it does not say so by itself
            values |= {"default_view_definer": user.name, "default_materialized_view_sql_security": "DEFINER"}
        connection.set(values)
        connection.own(f"SET profile = {quoted(user.profile)}")
        if readonly:
            connection.set({"readonly": readonly})
        connection.own("SET ROLE ALL" if user.admin else f"SET ROLE {user.role}")
        return connection

    def default(self, user: User, setting: str) -> str | None:
        """The value of a setting in the user's profile, or None for the engine's own default."""
        return (_AS_A_SERVER | self._profiles.get(user.profile, {})).get(setting)

    def content_type(self, output_format: str) -> str:
        """Name of a format in HTTP; formats match whatever their case."""
        return self._content_types.get(output_format.lower(), "text/plain; charset=UTF-8")

    def kill(self, tag: str) -> bool:
        """Ask the queries with this tag to stop, without waiting; whether there was one."""
        return bool(self.ask(f"KILL QUERY WHERE Settings['{TAG}'] = {quoted(tag)} ASYNC"))

    def has_room(self) -> bool:
        """Whether the disk has room for a definition to be written whole."""
        return shutil.disk_usage(self._data).free >= LEAST_FREE

    def close(self) -> None:
        with self._lock:
            self._keeper.close()


def _lock(data: Path) -> int:
    """Keep a second server off the folder; the lock ends with the process, however that ends. Raises StartError."""
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
    """The engine's own copy of server.xml: it knows no merging (remove="1") and needs absolute paths."""
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
    """A second guard behind the server's own tokens: the engine would run every statement of a text."""
    if connection.statements(sql) > 1:
        raise QueryError(62, "Syntax error (Multi-statements are not allowed): send one statement in a request")
