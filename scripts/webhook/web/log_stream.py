"""A run's log as server-sent events, from where the reader left off to the end of the run.

A `log` event carries one line; its id is the offset after that line. A `progress` event carries the run as GET /runs/<id> shows it, without
nodes. One `end` event carries the final state. A comment every few seconds keeps the connection open and detects a reader that has gone.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from webhook.queue.store import RunStore

_LOOK = 0.2
_KEEPALIVE = 10.0


def follow(store: RunStore, run_id: str, log: Path, *, last_event_id: str = "") -> Iterator[str]:
    """Yields server-sent events until the run ends. `last_event_id` is the offset after the last line that the reader has."""
    offset = (
        int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 16 else 0
    )
    revision, said_at = 0, time.monotonic()
    while True:
        # Read the state before the log: otherwise lines written just before the end would be lost.
        run = store.get(run_id)
        for line, offset in _lines(log, offset):  # noqa: B020 - goes on where the last line ended
            said_at = time.monotonic()
            yield f"id: {offset}\nevent: log\ndata: {line}\n\n"
        if run is None:
            yield "event: end\ndata: {}\n\n"
            return
        if run.revision != revision:
            revision, said_at = run.revision, time.monotonic()
            yield f"event: {'end' if run.is_final else 'progress'}\ndata: {json.dumps(run.as_json())}\n\n"
        if run.is_final:
            return
        if time.monotonic() - said_at > _KEEPALIVE:
            said_at = time.monotonic()
            yield ": still here\n\n"
        time.sleep(_LOOK)


def _lines(log: Path, offset: int) -> Iterator[tuple[str, int]]:
    """Yields whole lines after an offset in the file, each with the offset after it."""
    try:
        file = log.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            # A carriage return would end the field of an event.
            yield line[:-1].decode("utf-8", "replace").replace("\r", " "), offset
