"""Streams COPY of the source into the body of an insert, in constant memory."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence

from elt.sources.base import Sent, Tick
from elt.sources.postgres.sessions.session import CopySession

_TICK_SECONDS = 1.0
_SAMPLE_EVERY = 16
"""Rows are counted in one of this many chunks: enough for a progress estimate, at almost no cost."""


class CopyStream:
    """Reads the rows of a SELECT as chunks of COPY's text.

    The chunks end only when Postgres has reported the copy as complete. A failing copy raises inside the chunks, which aborts the insert, so a partial
    copy never looks complete.
    """

    format = "TabSeparated"

    def __init__(self, session: CopySession, select: str, columns: Sequence[str], tick: Tick) -> None:
        self.columns = tuple(columns)
        self.sent = Sent()
        self.error: Exception | None = None
        """The error of the copy itself, if it failed."""
        self._session = session
        self._select = select
        self._tick = tick

    def chunks(self) -> Generator[memoryview, None, None]:
        """Yields the text of COPY; a chunk is valid until the next one is requested. Raises the copy's error."""
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
