"""A TCP proxy between two parts. It stalls, resets, cuts after so many bytes, and acts at the moment a statement passes."""

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

T = TypeVar("T")

When = Literal["unsent", "sent", "answered"]
"""unsent: the server never gets the statement; sent: it has just got it; answered: its answer has not reached the client yet."""

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)
# A statement may arrive in two pieces.
_KEPT_BYTES = 300


@dataclass(eq=False)
class _Connection:
    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    tail: bytes = b""
    is_watched: bool = False

    def reset(self) -> None:
        for writer in (self.near, self.far):
            # It may be closed already.
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
            writer.transport.abort()


@dataclass
class _Watch:
    pattern: re.Pattern[bytes]
    number: int
    when: When
    act: Callable[[], None]


@dataclass
class _Cut:
    left: int
    act: Callable[[], None]


@dataclass
class Proxy:
    """Listens on a free port of 127.0.0.1. Its methods may be called from any thread, `act` runs in the proxy's own."""

    to: tuple[str, int]
    port: int = 0
    _connections: set[_Connection] = field(default_factory=set)
    _watch: _Watch | None = None
    _cut: _Cut | None = None

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name=f"proxy to {self.to[1]}")
        self._thread.start()
        self._call(self._listen())

    def watch(self, pattern: str, number: int, when: When, act: Callable[[], None]) -> None:
        """Calls `act` once, when the statement that matches passes for the `number`th time from now on."""
        self._watch = _Watch(re.compile(pattern.encode()), number, when, act)

    def cut_after(self, size: int, act: Callable[[], None]) -> None:
        """Resets the connection on which the `size`th byte from now on passes, in either direction. Calls `act` before."""
        self._cut = _Cut(size, act)

    def stop_watching(self) -> None:
        self._watch = self._cut = None

    def stall(self) -> None:
        """Lets nothing pass, and keeps all connections open, until `resume`."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def resume(self) -> None:
        self._loop.call_soon_threadsafe(self._flows.set)

    def reset(self) -> None:
        """Resets every connection that is open; new ones are let in."""
        self._loop.call_soon_threadsafe(self._reset)

    def close(self) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _reset(self) -> None:
        for connection in list(self._connections):
            connection.reset()

    async def _listen(self) -> None:
        self._flows = asyncio.Event()
        self._flows.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        self._flows.set()
        self._reset()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            far_reader, far = await asyncio.open_connection(*self.to)
        except OSError:
            near.transport.abort()
            return
        connection = _Connection(near, far)
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._pump(near_reader, far, connection, is_asking=True),
                self._pump(far_reader, near, connection, is_asking=False),
            )
        except asyncio.CancelledError:
            # By `close`. asyncio 3.11 would log it.
            pass
        finally:
            self._connections.discard(connection)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection, *, is_asking: bool
    ) -> None:
        try:
            while data := await reader.read(1 << 16):
                watch = self._matched(connection, data) if is_asking else None
                if watch is not None and watch.when == "unsent":
                    watch.act()
                    connection.reset()
                    return
                if not is_asking and connection.is_watched and self._watch is not None:
                    watch, self._watch, connection.is_watched = self._watch, None, False
                    watch.act()
                if self._is_cut(len(data)):
                    connection.reset()
                    return
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
                if watch is not None and watch.when == "sent":
                    watch.act()
        except OSError:
            pass
        finally:
            # Whoever has gone away is missed at the other end, unless nothing passes at the moment.
            await self._flows.wait()
            connection.near.close()
            connection.far.close()

    def _matched(self, connection: _Connection, data: bytes) -> _Watch | None:
        """The watch, when `data` completes what it waits for. One that waits for the answer stays until that comes."""
        watch = self._watch
        if watch is None or connection.is_watched:
            return None
        seen = connection.tail + data[: 1 << 16]
        found = sum(match.end() > len(connection.tail) for match in watch.pattern.finditer(seen))
        connection.tail = seen[-_KEPT_BYTES:]
        watch.number -= found
        if not found or watch.number > 0:
            return None
        if watch.when == "answered":
            connection.is_watched = True
            return None
        self._watch = None
        return watch

    def _is_cut(self, size: int) -> bool:
        if (cut := self._cut) is None:
            return False
        cut.left -= size
        if cut.left > 0:
            return False
        self._cut = None
        cut.act()
        return True
