"""Progress of a load in the task's log: a line now and then, not one a chunk."""

import logging
import time
from typing import Any

EVERY_SECONDS = 10.0


class ProgressLog:
    """Called by the loader with its Progress as often as it likes; writes at most one line in ten seconds."""

    def __init__(self, log: logging.Logger, *, every: float = EVERY_SECONDS) -> None:
        self._log, self._every = log, every
        self._next = time.monotonic() + every

    def __call__(self, progress: Any) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._every
            self._log.info("%s", progress)
