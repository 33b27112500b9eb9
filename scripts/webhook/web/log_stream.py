"""A run's log as server-sent events, from where the reader left off to the end of the run.

`log` events carry one line and its place in the file as id, `progress` events the run as GET /runs/<id> has it without its
nodes, and one `end` event the final state; a comment now and then keeps the connection and finds out that a reader has gone.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from webhook.queue.store import RunStore

_LOOK = 0.2
_KEEPALIVE = 10.0


def follow(store: RunStore, run_id: str, log: Path, *, last_event_id: str = "") -> Iterator[str]:
    """Server-sent events to the end of the run. `last_event_id` is the place after the last line that the reader has."""
    offset = (
        int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 16 else 0
    )
    revision, said_at = 0, time.monotonic()
    while True:
        # Asked before the log is read: what was written before the end is told before the end.
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
    """Whole lines after a place in the file, each with the place after it."""
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
