"""The request that the worker stops."""

import time


class Stop:
    """Set by SIGTERM; a running run may continue for `grace` seconds.

    It uses no lock and no threading.Event: a signal handler that takes a lock of its own thread deadlocks.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._asked_at: float | None = None

    def ask(self) -> None:
        if self._asked_at is None:
            self._asked_at = time.monotonic()

    @property
    def is_asked(self) -> bool:
        return self._asked_at is not None

    @property
    def grace_is_over(self) -> bool:
        return self._asked_at is not None and time.monotonic() - self._asked_at >= self._grace

    def wait(self, seconds: float) -> None:
        """Waits for the seconds, or until shortly after a stop is asked for."""
        deadline = time.monotonic() + seconds
        while not self.is_asked and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
