"""Output of a verb: a line for each completed step, and the present wait."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape


class Screen:
    """Prints lines with the seconds since the start. A wait is shown by a spinner on a terminal, elsewhere by a line."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._started = time.monotonic()
        self._waiting = ""
        self._said_at = self._started
        self._status = self._console.status("") if self._console.is_terminal else None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def done(self, text: str) -> None:
        self._console.print(f"[dim]{self.seconds:6.1f} s[/dim]  {escape(text)}")

    def warn(self, text: str) -> None:
        """Prints a warning to standard error."""
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"[bold yellow]warning[/bold yellow]  {escape(text)}"
        )

    def plain(self, text: str = "") -> None:
        self._console.print(escape(text))

    def waiting(self, text: str) -> None:
        """Shows the present wait; off a terminal at most every five seconds."""
        now = time.monotonic()
        if self._status is not None:
            self._status.update(escape(text))
        elif now - self._said_at > (5 if text != self._waiting else 15):
            self.done(f"… {text}")
            self._said_at = now
            self._waiting = text

    @contextmanager
    def spinner(self) -> Iterator[None]:
        if self._status is None:
            yield
            return
        with self._status:
            yield


def fail(message: str) -> None:
    """Prints an error to standard error, as one sentence."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error[/bold red]  {escape(message)}")
    sys.stderr.flush()
