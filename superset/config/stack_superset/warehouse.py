"""Puts the warehouse's address, user and password into a connection when it is opened, and lets the queries of charts share one."""

import threading
import time
from collections.abc import Callable
from typing import Any

from clickhouse_connect.dbapi.connection import Connection
from clickhouse_connect.driver.client import Client
from sqlalchemy.engine.url import URL

from stack_superset.people import warehouse_user
from stack_superset.settings import Settings

# The host in superset/assets/warehouse/databases/*.yaml. It exists nowhere: a connection that was not completed here fails.
PLACEHOLDER = "warehouse"

# What a client knows of the server (version, settings, time zone) is asked again after that time.
KNOWN_SECONDS = 300

Mutator = Callable[[URL, dict[str, Any], str | None, Any, Any], tuple[URL, dict[str, Any]]]


class SharedConnection(Connection):  # type: ignore[misc]
    """A connection of many threads (PEP 249's threadsafety is 2): without a session, so that no question leaves anything to the next."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.timezone = client.server_tz

    def close(self) -> None:
        """The next question takes the client on."""


class Shared:
    """One client for each address, database and set of arguments.

    Superset opens a connection for each question, and a new client first reads the server's version and its thousand settings: more
    work than most questions of a chart.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._known: dict[str, tuple[float, Client]] = {}

    def connect(self, url: URL, arguments: dict[str, Any]) -> SharedConnection:
        """Raises what clickhouse_connect raises when the server does not answer or refuses the user; the next call tries again."""
        key = repr((url.render_as_string(hide_password=False), sorted(arguments.items())))
        with self._turn:
            since, client = self._known.get(key, (0.0, None))
            if client is None or time.monotonic() - since > KNOWN_SECONDS:
                _, told = url.get_dialect()().create_connect_args(url)
                client = Connection(**told, **arguments, autogenerate_session_id=False).client
                self._known[key] = time.monotonic(), client
        return SharedConnection(client)


def connection_mutator(settings: Settings) -> Mutator:
    """A DB_CONNECTION_MUTATOR that completes URLs whose host is the placeholder and leaves every other one alone. Raises ValueError for an
    unknown user.

    So neither files nor the metadata database hold where the warehouse is or what its password is, and a changed address
    in `.env` needs no import.
    """

    shared = Shared()

    def complete(
        url: URL, params: dict[str, Any], username: str | None, security_manager: Any, source: Any
    ) -> tuple[URL, dict[str, Any]]:
        if url.get_backend_name() != "clickhousedb" or url.host != PLACEHOLDER:
            return url, params
        if url.username not in settings.warehouse_passwords:
            users = ", ".join(settings.warehouse_passwords)
            raise ValueError(
                f"The warehouse has no user {url.username!r} for Superset; name one of {users} in the URL."
            )
        user = warehouse_user(url.username, username, security_manager)
        complete_url = url.set(
            username=user,
            password=settings.warehouse_passwords[user],
            host=settings.warehouse_host,
            port=settings.warehouse_port,
            query={
                **url.query,
                "secure": "true" if settings.warehouse_secure else "false",
                # Superset keeps the message of a refused query; the driver leaves the address out of it.
                "show_clickhouse_errors": "scrub",
            },
        )
        # A person in SQL Lab has a connection of their own, where a SET holds for the statements after it.
        if getattr(source, "name", None) == "SQL_LAB":
            return complete_url, params
        arguments = params.get("connect_args", {})
        return complete_url, {**params, "creator": lambda: shared.connect(complete_url, arguments)}

    return complete
