"""The wish that the worker ends."""

import time


class Stop:
    """Asked for by SIGTERM; what runs may go on for `grace` seconds.

    No lock and no threading.Event inside: a signal handler that takes the lock its own thread holds waits for ever.
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
        """Wait, but not much longer than until a stop is asked for."""
        deadline = time.monotonic() + seconds
        while not self.is_asked and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
