"""Sends the events of an outbox until they are taken.

The outbox is a table of its owner's, so that a kill loses no event; the same event may arrive twice, with the same `webhook-id`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import Literal, Protocol

from notify.sender import Event, Sender

RETRIES = (5, 30, 120, 600, 1800, 7200, 14400, 18000)
"""Seconds after which an event that was not taken is sent again; after the last it is given up.

As the specification proposes, and ended after half a day: older news of a pipeline is no news.
"""
_IDLE = 5.0

Ending = Literal["sent", "refused", "unwanted"]
logger = logging.getLogger(__name__)


class Outbox(Protocol):
    """Events that are due."""

    def due(self) -> Iterable[tuple[str, Event | None]]:
        """Key and event, the oldest first; None where nobody wants to know."""

    def close(self, key: str, ending: Ending) -> None:
        """The event is not due any more."""


class Postman:
    """Sends what is due from a thread of its own; a receiver that is slow or away holds up nothing else."""

    def __init__(self, outbox: Outbox, sender: Sender, *, retries: tuple[float, ...] = RETRIES) -> None:
        self._outbox = outbox
        self._sender = sender
        self._retries = retries
        # By key: how often it was tried, and when (monotonic) to try again.
        self._tried: dict[str, tuple[int, float]] = {}
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="postman", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        """Ends soon; what is still due is sent by the next process."""
        self._ending = True
        self._wake.set()
        self._thread.join(1.0)

    def _work(self) -> None:
        while not self._ending:
            for key, event in self._outbox.due():
                if self._ending:
                    return
                self._send(key, event)
            self._wake.wait(min(_IDLE, *self._retries))
            self._wake.clear()

    def _send(self, key: str, event: Event | None) -> None:
        if event is None:
            self._outbox.close(key, "unwanted")
            return
        tries, again_at = self._tried.get(key, (0, 0.0))
        if time.monotonic() < again_at:
            return
        problem = self._sender.send(event)
        if problem is None:
            self._outbox.close(key, "sent")
        elif tries < len(self._retries):
            self._tried[key] = tries + 1, time.monotonic() + self._retries[tries]
            return
        else:
            logger.warning("the address in NOTIFY_URL did not take the notice of %s: %s", key, problem.reason)
            self._outbox.close(key, "refused")
        self._tried.pop(key, None)
