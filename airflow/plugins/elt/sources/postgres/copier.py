"""The session that copies. asyncpg takes all rows that have arrived out of their messages at once, in C, where other drivers
call Python for each of them: less than half of their time on the processor (benchmarks/README.md)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine, Generator, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlencode

import asyncpg
from warehouse.errors import TerminalError

CHUNK_BYTES = 1 << 18
"""Bytes read from the socket at once. Larger blocks are given back to it after each use, and cost page faults."""
_WAIT_SECONDS = 1.0
_CLOSE_SECONDS = 10.0

# What comes in small pieces is waited for a little: each piece costs a turn of the loop, however small it is.
_SMALL_BYTES = 1 << 16
_NAP_SECONDS = 0.001

_TLS = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "ssl_min_protocol_version", "ssl_max_protocol_version")
_UNKNOWN_TO_ASYNCPG = ("requirepeer", "require_auth", "sslcertmode")

Result = TypeVar("Result")


class Copier:
    """A session beside a session of psycopg2: same server, role and options. Used by one thread at a time.

    Methods raise asyncpg.PostgresError, asyncpg.InterfaceError or OSError, which `Source` translates.
    """

    def __init__(
        self, parameters: Mapping[str, str], password: str | None, *, application: str, encrypted: bool, timeout: float
    ) -> None:
        """Connects. `parameters` are libpq's, with those that it found by itself; `encrypted` says whether it uses TLS.

        Raises TerminalError for a parameter that this session could not keep.
        """
        self._loop = asyncio.new_event_loop()
        self._copy: asyncio.Task[str] | None = None
        self._stopped = False
        settings = {"application_name": application}
        if options := parameters.get("options"):
            settings["options"] = options
        try:
            self._connection = self._run(
                asyncpg.connect(
                    **_address(parameters, password, encrypted=encrypted),
                    server_settings=settings,
                    statement_cache_size=0,
                    timeout=timeout,
                )
            )
        except BaseException:
            self._loop.close()
            raise

    def execute(self, sql: str) -> None:
        self._run(self._connection.execute(sql))

    def set_locally(self, name: str, value: str) -> None:
        """Sets a setting for this transaction. The value is a parameter, and stands in no query."""
        self._run(self._connection.fetchval("SELECT set_config($1, $2, true) IS NOT NULL", name, value))

    def copy(self, select: str) -> Generator[memoryview, None, int]:
        """The text that `COPY (select) TO STDOUT` sends, in chunks of at most CHUNK_BYTES; returns the rows that Postgres says it sent.

        A chunk is valid until the next one is asked for; an empty one says that nothing has come for a second.
        """
        chunk = _Chunk()
        self._copy = self._loop.create_task(self._connection.copy_from_query(select, output=chunk.put))
        self._copy.add_done_callback(lambda _: chunk.full.set())
        if self._stopped:
            self._copy.cancel()
        while not self._copy.done() or chunk.size:
            self._run(chunk.wait())
            if self._copy.done() and (self._copy.cancelled() or self._copy.exception() is not None):
                break
            yield chunk.view[: chunk.size]
            chunk.clear()
        if self._copy.cancelled():
            raise asyncpg.InterfaceError("the copy was stopped")
        return int(self._copy.result().split()[-1])

    def cancel(self) -> None:
        """Stops the copy that another thread reads, or is about to."""
        self._stopped = True
        copy = self._copy
        if copy is not None:
            # Closed: there is nothing left to stop.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(copy.cancel)

    def close(self) -> None:
        """Ends the session, and the copy with it, whatever it is doing. May be called again."""
        if self._loop.is_closed():
            return
        try:
            self._run(self._end())
        finally:
            self._loop.close()

    async def _end(self) -> None:
        if self._copy is not None and not self._copy.done():
            self._copy.cancel()
        if self._copy is not None:
            await asyncio.wait([self._copy])
            if not self._copy.cancelled():
                # Whoever read the copy has been told.
                self._copy.exception()
        try:
            await self._connection.close(timeout=_CLOSE_SECONDS)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            self._connection.terminate()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._loop.run_until_complete(work)


class _Chunk:
    """One buffer for all that is sent: blocks of their own, each of another size, would leave holes in the heap."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(CHUNK_BYTES))
        self.size = 0
        self.full = asyncio.Event()
        self._room = asyncio.Event()
        self._passed = False

    async def put(self, data: bytearray) -> None:
        """Takes what has arrived, and returns when there is room for all of it."""
        rest = memoryview(data)
        while rest:
            if self.size == CHUNK_BYTES:
                self._room.clear()
                self.full.set()
                await self._room.wait()
            some = rest[: CHUNK_BYTES - self.size]
            self.view[self.size : self.size + len(some)] = some
            self.size += len(some)
            rest = rest[len(some) :]
        if self._passed and len(data) < _SMALL_BYTES:
            await asyncio.sleep(_NAP_SECONDS)
        # The first piece is all there is of most tables.
        self._passed = True

    async def wait(self) -> None:
        """Returns when the chunk is full, the copy has ended, or a second has passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_SECONDS):
                await self.full.wait()

    def clear(self) -> None:
        self.size = 0
        self.full.clear()
        self._room.set()


def _address(parameters: Mapping[str, str], password: str | None, *, encrypted: bool) -> dict[str, Any]:
    """How asyncpg is told where libpq has connected to, and how."""
    mode = parameters.get("sslmode", "prefer")
    given = [name for name in _UNKNOWN_TO_ASYNCPG if parameters.get(name) not in (None, "", "allow")]
    if parameters.get("channel_binding") == "require" and mode != "verify-full":
        given.append("channel_binding=require")
    if given:
        raise TerminalError(
            f"SOURCE_URL asks for {', '.join(given)}, which the session that copies cannot keep; leave it out, and say "
            "sslmode=verify-full&sslrootcert=system, or the file of the server's authority, to know that it is the right server"
        )
    address: dict[str, Any] = {
        "host": parameters["host"],
        "port": int(parameters["port"]),
        "user": parameters["user"],
        "database": parameters["dbname"],
        "password": password,
    }
    if not encrypted:
        return address | {"ssl": False}
    if parameters.get("sslrootcert") == "system":
        return address | {"ssl": ssl.create_default_context()}
    # With `prefer` and `allow`, too: the session beside it is encrypted.
    tls = {"sslmode": mode if mode.startswith("verify") else "require"}
    tls |= {name: parameters[name] for name in _TLS if parameters.get(name)}
    return address | {"dsn": f"postgresql://?{urlencode(tls)}"}
