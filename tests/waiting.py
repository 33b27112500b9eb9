"""Waits for conditions, and never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, seconds: float = 60, *, said: Callable[[], str] = str) -> T:
    """The first true value of the condition. `seconds` only bound a failure: a busy machine is slow, and no test waits longer than it must.

    Raises AssertionError that names `what`, the last value, and what `said` returns: a log.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s, but {value!r}\n{said()}"
        time.sleep(0.02)
    return value
