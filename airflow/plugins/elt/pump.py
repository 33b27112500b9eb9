"""The stream: COPY of one side becomes the body of an insert on the other, through a pipe, in constant memory."""

from __future__ import annotations

import fcntl
import os
import select
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass

from elt.errors import EltError
from elt.source import Source

_CHUNK_BYTES = 1 << 20
_TICK_SECONDS = 1.0
_SAMPLE_EVERY = 16
"""Rows are counted in one chunk of so many: enough for a progress line, and next to free."""

Tick = Callable[[int, int], None]
"""Called about once a second with the estimated rows and the bytes so far."""


@dataclass
class Sent:
    """What the source sent, once the stream has ended well."""

    rows: int = 0
    bytes: int = 0


class CopyStream:
    """Reads `COPY .. TO STDOUT` of a session as chunks of bytes.

    The chunks end only when Postgres has said that the copy is complete. A copy that fails raises inside the chunks,
    so that the insert they feed is broken off and never looks like a short but whole one.
    """

    def __init__(self, source: Source, copy_sql: str, tick: Tick) -> None:
        self.sent = Sent()
        self._source = source
        self._sql = copy_sql
        self._tick = tick
        self._error: BaseException | None = None
        self._reader, self._writer = os.pipe()
        with suppress(PermissionError):
            # As large as an unprivileged process may ask for; smaller pipes only cost speed.
            fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, _CHUNK_BYTES)
        self._thread = threading.Thread(target=self._copy, name="copy", daemon=True)

    def chunks(self) -> Generator[memoryview, None, None]:
        """The text of COPY; each chunk is valid until the next one is asked for. Raises what the copy raised."""
        self._thread.start()
        # One buffer for all chunks: blocks of their own, each of another size, leave holes in the heap that add up to
        # as much as is sent.
        buffer = bytearray(_CHUNK_BYTES)
        view = memoryview(buffer)
        sampled_rows = sampled_bytes = chunks = 0
        last = time.monotonic()
        while True:
            ready, _, _ = select.select([self._reader], [], [], _TICK_SECONDS)
            if ready:
                size = os.readv(self._reader, [view])
                if not size:
                    break
                if chunks % _SAMPLE_EVERY == 0:
                    # A newline within a value is escaped, so that each one ends a row.
                    sampled_rows += buffer.count(b"\n", 0, size)
                    sampled_bytes += size
                chunks += 1
                self.sent.bytes += size
                yield view[:size]
            if time.monotonic() - last >= _TICK_SECONDS:
                last = time.monotonic()
                self._tick(self.sent.bytes * sampled_rows // max(sampled_bytes, 1), self.sent.bytes)
        self._thread.join()
        if self._error is not None:
            raise self._error

    @property
    def error(self) -> BaseException | None:
        """What the copy itself raised, if it did."""
        return self._error

    def close(self) -> None:
        """Ends the copy, whatever it is doing. To be called always."""
        os.close(self._reader)
        if self._thread.ident is None:
            # The insert failed before it asked for the first row.
            os.close(self._writer)
        elif self._thread.is_alive():
            with suppress(EltError):
                self._source.cancel()
            self._thread.join(timeout=30)

    def _copy(self) -> None:
        try:
            with os.fdopen(self._writer, "wb", buffering=_CHUNK_BYTES) as file:
                self.sent.rows = self._source.copy_out(self._sql, file)
        except (EltError, OSError, ValueError) as error:
            self._error = error
