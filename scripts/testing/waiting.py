"""Waits for conditions, and never for a time."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psycopg2

T = TypeVar("T")


def until(
    condition: Callable[[], T], what: str, seconds: float = 60, *, every: float = 0, said: Callable[[], str] = str
) -> T:
    """The first true value of the condition, asked for every 0.01 s at first and every 0.25 s later, or every `every` seconds.

    `seconds` only bound a failure: a busy machine is slow, and no test waits longer than it must. Raises AssertionError that names `what`,
    the last value, and what `said` returns: a log.
    """
    deadline = time.monotonic() + seconds
    pause = 0.01
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s, but {value!r}\n{said()}"
        time.sleep(every or pause)
        pause = min(1.5 * pause, 0.25)
    return value


def until_up(process: "subprocess.Popen[bytes]", ready: Callable[[], bool], log: Path, seconds: float = 60) -> None:
    """Waits for a server. Raises RuntimeError with the end of its log when it has ended, or is not ready in time; then it is killed."""
    try:
        until(lambda: process.poll() is not None or ready(), "ready", seconds)
        assert process.poll() is None, f"ended with {process.returncode}"
    except AssertionError as error:
        process.kill()
        process.wait()
        raise RuntimeError(f"server did not come up: {error}\n{log.read_text()[-3000:]}") from None


def takes_connections(dsn: str) -> bool:
    """Whether a Postgres, or a pooler in front of it, accepts this login now."""
    try:
        psycopg2.connect(dsn).close()
    except psycopg2.OperationalError:
        return False
    return True
