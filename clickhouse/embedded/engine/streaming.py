"""Streams results of any size in constant memory: the engine writes into a pipe, and this side sends what it reads."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import IO, Any

from embedded.engine.engine import Connection
from embedded.errors import ClientGoneError
from embedded.figures import Figures
from embedded.http.response import Response

_PIPE = 1 << 18
# A result up to this size is sent in one piece, so that an error is still a status; a client may request more.
LEAST_BUFFER = 1 << 20
_IN_MEMORY = 1 << 24
_LOOK_SECONDS = 0.5


def pipe() -> tuple[int, int]:
    """Returns the reading and writing end of a pipe with the largest buffer that the machine allows."""
    reader, writer = os.pipe()
    with suppress(OSError):  # a user with very many pipes gets small buffers
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE)
    return reader, writer


class Progress:
    """The latest figures of a running query, for progress headers every `every` seconds (None: no headers)."""

    def __init__(self, every: float | None) -> None:
        self.every = every
        self.figures = self._sent = Figures()
        self._due = time.monotonic() + (every or 0)

    def __call__(self, told: Mapping[str, Any]) -> None:
        self.figures = Figures(
            told["read_rows"],
            told["read_bytes"],
            told["written_rows"],
            told["written_bytes"],
            told["result_rows"],
            told["result_bytes"],
            told["total_rows_to_read"],
        )

    def tell(self, response: Response) -> None:
        """Sends the figures when due and changed: a query that hangs stays silent."""
        if self.every is not None and self.figures != self._sent and time.monotonic() >= self._due:
            self._sent, self._due = self.figures, time.monotonic() + self.every
            response.progress(self._sent)


class Runner:
    """Runs statements in its own threads, so that the connection's thread can send, and detect that the client has gone."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=512, thread_name_prefix="query")

    def submit(self, work: Callable[[], Figures]) -> Future[Figures]:
        return self._pool.submit(work)

    def stream(
        self,
        connection: Connection,
        statement: Callable[[int], str],
        parameters: Mapping[str, str],
        response: Response,
        client: socket.socket,
        cancel: Callable[[], object],
        *,
        buffer: int | None,
        progress: float | None,
    ) -> None:
        """Sends the result of `statement(descriptor)`, which writes to that descriptor.

        `buffer`: bytes to collect before the first send; None: the whole result. `progress`: seconds between progress headers. `cancel` stops the query.
        Raises QueryError, or ClientGoneError after the query was stopped.
        """
        reader, writer = pipe()
        told = Progress(progress)
        connection.watch(told)

        def work() -> Figures:
            try:
                return connection.run(statement(writer), parameters=parameters)[1]
            finally:
                os.close(writer)
                connection.watch(None)

        try:
            future = self._pool.submit(work)
        except BaseException:
            os.close(reader)
            os.close(writer)
            raise
        try:
            _Pump(reader, client, response, told, future).run(buffer)
        except BaseException:
            cancel()
            _drain(reader, future, cancel)
            raise
        finally:
            os.close(reader)

    def wait(
        self,
        connection: Connection,
        work: Callable[[], tuple[bytes, Figures]],
        response: Response,
        client: socket.socket,
        cancel: Callable[[], object],
        *,
        progress: float | None,
    ) -> tuple[bytes, Figures]:
        """Runs a statement with a small result; stops it when the client leaves. `progress` as in `stream`."""
        told = Progress(progress)
        connection.watch(told)
        future = self._pool.submit(work)
        seconds, longest = 0.01, min(progress or _LOOK_SECONDS, _LOOK_SECONDS)
        try:
            while not wait([future], seconds).done:
                if not _is_there(client):
                    raise ClientGoneError
                told.tell(response)
                seconds = min(seconds * 2, longest)
        except ClientGoneError:
            while not future.done():  # repeat: the first cancel may arrive before the engine knows the query
                cancel()
                wait([future], timeout=1)
            raise
        finally:
            connection.watch(None)
        return future.result()


def _is_there(client: socket.socket) -> bool:
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    return not poll.poll(0)


def _drain(reader: int, future: Future[Figures], cancel: Callable[[], object]) -> None:
    """Empties the pipe until a stopped query ends: a query that waits for room in the pipe does not notice the stop."""
    asked = time.monotonic()
    while not future.done():
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        if poll.poll(100) and not os.read(reader, _PIPE):
            break
        if time.monotonic() - asked > 1:
            cancel()  # the first call may have arrived before the engine knew the query
            asked = time.monotonic()
    future.exception()


class _Pump:
    def __init__(
        self, reader: int, client: socket.socket, response: Response, told: Progress, future: Future[Figures]
    ) -> None:
        self._reader = reader
        self._response = response
        self._told = told
        self._future = future
        self._poll = select.poll()
        self._poll.register(reader, select.POLLIN)
        self._poll.register(client, select.POLLRDHUP)

    def run(self, buffer: int | None) -> None:
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as held:
            size, sending = 0, False
            while data := self._next():
                if sending:
                    self._response.chunk(data)
                    continue
                held.write(data)
                size += len(data)
                if buffer is not None and size >= buffer:
                    sending = True
                    self._response.begin(self._told.figures)
                    self._send(held)
            figures = self._future.result()
            if not sending and size < LEAST_BUFFER:
                held.seek(0)
                self._response.whole(held.read(), figures)
                return
            if not sending:
                self._response.begin(figures)
                self._send(held)
            self._response.end()

    def _send(self, held: IO[bytes]) -> None:
        held.seek(0)
        while data := held.read(LEAST_BUFFER):
            self._response.chunk(data)

    def _next(self) -> bytes:
        """Returns the next bytes of the engine; empty at the end."""
        while True:
            every = None if self._response.begun else self._told.every
            ready = dict(self._poll.poll(None if every is None else every * 1000))
            if self._reader in ready:
                return os.read(self._reader, _PIPE)
            if ready:
                raise ClientGoneError
            self._told.tell(self._response)
