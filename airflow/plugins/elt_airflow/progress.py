"""Progress of a load in the task's log, rate-limited."""

import logging
import time
from typing import Any

EVERY_SECONDS = 10.0


class ProgressLog:
    """A progress callback of the loader. Writes at most one line in ten seconds, however often it is called."""

    def __init__(self, log: logging.Logger, *, every: float = EVERY_SECONDS) -> None:
        self._log, self._every = log, every
        self._next = time.monotonic() + every

    def __call__(self, progress: Any) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._every
            self._log.info("%s", progress)
