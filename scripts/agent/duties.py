"""Duties: each is done again and again in a thread of its own, so that neither an error nor a wait of one stops the others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from notify.sender import Event
from warehouse.errors import PipelineError

NOTIFIED_AFTER = 600.0
"""Seconds for which a duty must fail before NOTIFY_URL is told."""
BEAT_SECONDS = 5.0
STOP_SECONDS = 10.0
"""How long a stop waits for duties at work. One that is cut is finished by the next process, as after a kill."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Duty:
    """Work that must be safe to repeat, and to cut at any moment."""

    name: str
    """For people, such as `Closing dead runs`."""
    seconds: float
    """Between the end of one round and the next."""
    work: Callable[[], None]


def run(
    duties: Sequence[Duty],
    stop: threading.Event,
    heartbeat: Path,
    notify: Callable[[Event], None],
    *,
    notified_after: float = NOTIFIED_AFTER,
) -> None:
    """Does the duties until `stop` is set, and touches `heartbeat` every few seconds.

    Raises RuntimeError when the thread of a duty has ended, so that the service starts anew.
    """
    heartbeat.parent.mkdir(parents=True, exist_ok=True)
    rounds = [_Rounds(duty, stop, notify, notified_after) for duty in duties]
    threads = [threading.Thread(target=one.repeat, name=one.duty.name, daemon=True) for one in rounds]
    for thread in threads:
        thread.start()
    while True:
        heartbeat.touch()
        if stop.wait(BEAT_SECONDS):
            break
        if ended := [thread.name for thread in threads if not thread.is_alive()]:
            raise RuntimeError(f"{', '.join(ended)}: the thread has ended, see the traceback above")
    deadline = time.monotonic() + STOP_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


class _Rounds:
    """The rounds of one duty, and what is told of its errors: once when they begin, once when they last, once when they end."""

    def __init__(
        self, duty: Duty, stop: threading.Event, notify: Callable[[Event], None], notified_after: float
    ) -> None:
        self.duty = duty
        self._stop = stop
        self._notify = notify
        self._notified_after = notified_after
        self._failing_since: datetime | None = None
        self._is_notified = False

    def repeat(self) -> None:
        while not self._stop.is_set():
            try:
                self.duty.work()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next round may go well
                self._failed(error)
            else:
                self._succeeded()
            self._stop.wait(self.duty.seconds)

    def _failed(self, error: Exception) -> None:
        now = datetime.now(UTC)
        if self._failing_since is None:
            self._failing_since = now
            # The traceback of an error that nobody has foreseen.
            trace = None if isinstance(error, PipelineError) else error
            sentence = "%s fails, and is tried again every %g s: %s"
            logger.warning(sentence, self.duty.name, self.duty.seconds, error, exc_info=trace)
        if not self._is_notified and (now - self._failing_since).total_seconds() >= self._notified_after:
            self._is_notified = True
            self._notify(self._event("agent.duty.failed", self._failing_since, error=str(error)))

    def _succeeded(self) -> None:
        since, self._failing_since = self._failing_since, None
        if since is None:
            return
        seconds = (datetime.now(UTC) - since).total_seconds()
        logger.info("%s works again, after %.0f s", self.duty.name, seconds)
        if self._is_notified:
            self._is_notified = False
            self._notify(self._event("agent.duty.recovered", since))

    def _event(self, kind: str, since: datetime, **more: str) -> Event:
        return Event(kind, {"duty": self.duty.name, "since": since.isoformat(timespec="seconds"), **more})
