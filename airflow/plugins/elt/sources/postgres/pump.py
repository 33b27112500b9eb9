"""The stream: COPY of one side becomes the body of an insert on the other, in constant memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

from elt.sources.postgres.session import CopySession

_TICK_SECONDS = 1.0
_SAMPLE_EVERY = 16
"""Rows are counted in one chunk of so many: enough for a progress line, and next to free."""

Tick = Callable[[int, int], None]
"""Called about once a second with the estimated rows and the bytes so far."""


@dataclass
class Sent:
    """Rows and bytes that the source sent, once the stream has ended well."""

    rows: int = 0
    bytes: int = 0


class CopyStream:
    """Reads the rows of a SELECT as chunks of COPY's text.

    The chunks end only when Postgres has said that the copy is complete. A copy that fails raises inside the chunks,
    so that the insert they feed is broken off and never looks like a short but whole one.
    """

    def __init__(self, session: CopySession, select: str, tick: Tick) -> None:
        self.sent = Sent()
        self.error: Exception | None = None
        """The error that the copy itself raised, if it did."""
        self._session = session
        self._select = select
        self._tick = tick

    def chunks(self) -> Generator[memoryview, None, None]:
        """The text of COPY; each chunk is valid until the next one is asked for. Raises what the copy raised."""
        try:
            self.sent.rows = yield from self._counted(self._session.copy(self._select))
        except Exception as error:
            self.error = error
            raise

    def _counted(self, chunks: Generator[memoryview, None, int]) -> Generator[memoryview, None, int]:
        sampled_rows = sampled_bytes = number = 0
        last = time.monotonic()
        while True:
            try:
                chunk = next(chunks)
            except StopIteration as end:
                return int(end.value)
            if chunk:
                if number % _SAMPLE_EVERY == 0:
                    # A newline within a value is escaped, so that each one ends a row.
                    sampled_rows += chunk.tobytes().count(b"\n")
                    sampled_bytes += len(chunk)
                number += 1
                self.sent.bytes += len(chunk)
                yield chunk
            if time.monotonic() - last >= _TICK_SECONDS:
                last = time.monotonic()
                self._tick(self.sent.bytes * sampled_rows // max(sampled_bytes, 1), self.sent.bytes)
