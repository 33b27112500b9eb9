"""The copying session. asyncpg extracts all arrived rows from their messages at once, in C; other drivers call Python for each row. That halves
the CPU time, and more (benchmarks/README.md)."""

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
"""Bytes read from the socket at once. The allocator returns larger blocks to the system after each use, which costs page faults."""
_WAIT_SECONDS = 1.0
_CLOSE_SECONDS = 10.0

# After a small piece wait a little: each piece costs a turn of the event loop, however small it is.
_SMALL_BYTES = 1 << 16
_NAP_SECONDS = 0.001

_TLS = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "ssl_min_protocol_version", "ssl_max_protocol_version")
_UNKNOWN_TO_ASYNCPG = ("requirepeer", "require_auth", "sslcertmode")

Result = TypeVar("Result")


class Copier:
    """A second session, beside one of psycopg2: same server, role and options. For one thread at a time.

    Methods raise asyncpg.PostgresError, asyncpg.InterfaceError or OSError, which `Source` translates.
    """

    def __init__(
        self,
        parameters: Mapping[str, str],
        password: str | None,
        *,
        application: str,
        encrypted: bool,
        timeout: float,
        variable: str = "SOURCE_URL",
    ) -> None:
        """Connects. `parameters` are libpq's, defaults included; `encrypted`: libpq's session uses TLS.

        Raises TerminalError, which names the `variable` of the address, for a parameter that asyncpg does not support.
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
                    **_address(parameters, password, encrypted=encrypted, variable=variable),
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
        """Sets a setting for this transaction. The value is a bound parameter, so it appears in no query text."""
        self._run(self._connection.fetchval("SELECT set_config($1, $2, true) IS NOT NULL", name, value))

    def copy(self, select: str) -> Generator[memoryview, None, int]:
        """Yields the text of `COPY (select) TO STDOUT` in chunks of at most CHUNK_BYTES; returns the number of rows that Postgres reports.

        A chunk is valid until the next one is requested. An empty chunk means that nothing has arrived for a second.
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
            # RuntimeError: the loop is closed, so nothing runs any more.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(copy.cancel)

    def close(self) -> None:
        """Ends the session and its copy, whatever it is doing. Idempotent."""
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
                # Retrieve the exception: the copy's reader has already seen it.
                self._copy.exception()
        try:
            await self._connection.close(timeout=_CLOSE_SECONDS)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            self._connection.terminate()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._loop.run_until_complete(work)


class _Chunk:
    """One reused buffer for all data: blocks of varying sizes would fragment the heap."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(CHUNK_BYTES))
        self.size = 0
        self.full = asyncio.Event()
        self._room = asyncio.Event()
        self._passed = False

    async def put(self, data: bytearray) -> None:
        """Stores arrived data; returns when all of it has found room (backpressure)."""
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
        # Most tables have only one piece, so do not wait after the first.
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


def _address(
    parameters: Mapping[str, str], password: str | None, *, encrypted: bool, variable: str = "SOURCE_URL"
) -> dict[str, Any]:
    """Returns asyncpg's arguments for libpq's connection: same server, same encryption."""
    mode = parameters.get("sslmode", "prefer")
    given = [name for name in _UNKNOWN_TO_ASYNCPG if parameters.get(name) not in (None, "", "allow")]
    if parameters.get("channel_binding") == "require" and mode != "verify-full":
        given.append("channel_binding=require")
    if given:
        raise TerminalError(
            f"{variable} asks for {', '.join(given)}, which the session that copies cannot keep; leave it out, and say "
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
    # Also with `prefer` and `allow`: libpq's session is encrypted, so this one must be too.
    tls = {"sslmode": mode if mode.startswith("verify") else "require"}
    tls |= {name: parameters[name] for name in _TLS if parameters.get(name)}
    return address | {"dsn": f"postgresql://?{urlencode(tls)}"}
