"""Starting dbt for a run, as a fork of a process that is warm already; reading what it prints, and ending it."""

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from webhook.dbt.command import TARGET

_HOST = Path(__file__).with_name("host.py")
_KILL_SECONDS = 5.0

logger = logging.getLogger(__name__)


class DbtHost:
    """The warm process (`host.py`) of one dbt project, as the worker sees it. `python` has dbt."""

    def __init__(
        self, project: Path, target_path: Path, environment: Mapping[str, str], *, python: str = sys.executable
    ) -> None:
        self._python = python
        self._project = project
        self._target_path = target_path
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._heard = b""

    def warm_up(self) -> None:
        """Start the process unless it lives. Returns at once; a run that comes before it is warm waits for it."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._channel, theirs = socket.socketpair()
        with theirs:
            words = [str(os.getpid()), str(theirs.fileno()), str(self._project), str(self._target_path), TARGET]
            self._process = subprocess.Popen(
                [self._python, "-P", str(_HOST), *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=self._environment,
                cwd=self._project,
                pass_fds=[theirs.fileno()],
                # A group of its own: Ctrl-C at the worker's terminal is the worker's business, and a kill reaches runs.
                start_new_session=True,
            )

    def keep_warm(self) -> None:
        """For idle moments: start anew a process that has ended because the project changed.

        One that failed stays away until a run asks for it: what made it fail would most likely do so again.
        """
        if self._process is None or self._process.poll() == 0:
            self.warm_up()

    def start(self, arguments: Sequence[str], *, parsed: str | None = TARGET) -> "DbtProcess":
        """A dbt with these arguments, in a fork; `parsed` as host.py has it."""
        return DbtProcess(self, arguments, parsed)

    def ask(self, arguments: Sequence[str], parsed: str | None, output: int) -> None:
        """Ask for a run that prints to `output`. If the process has gone, `hear` says so."""
        self.warm_up()
        if self._channel is None:
            raise RuntimeError("The process that keeps dbt warm has no channel")
        message = json.dumps({"run": list(arguments), "parsed": parsed}).encode() + b"\n"
        with contextlib.suppress(OSError):
            sent = socket.send_fds(self._channel, [message], [output])
            self._channel.sendall(message[sent:])

    def hear(self, seconds: float) -> dict[str, Any] | None:
        """The next word of the process, {} if it has ended, None if it said nothing for that long."""
        deadline = time.monotonic() + seconds
        while self._channel is not None and b"\n" not in self._heard:
            self._channel.settimeout(max(deadline - time.monotonic(), 0.000001))
            try:
                chunk = self._channel.recv(1 << 16)
            except TimeoutError:
                return None
            except OSError:
                chunk = b""
            if not chunk:
                return {}
            self._heard += chunk
        word, _, self._heard = self._heard.partition(b"\n")
        return dict(json.loads(word)) if word else {}

    def say_kill(self) -> None:
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.sendall(b'{"kill": true}\n')

    def exit_code(self) -> int:
        """How the process ended, after it has said {}."""
        if self._process is None:
            raise RuntimeError("The process that keeps dbt warm was never started")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        return self._process.returncode or -signal.SIGKILL

    def close(self) -> None:
        """End the process and its run, now."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._heard = b""
        if self._process is not None:
            # Only while it is ours to signal: after poll() has seen the end the id may belong to somebody else.
            if self._process.poll() is None:
                if sys.platform == "linux":
                    # By prctl its run ends with it, and Python's tracker lives on to give back their semaphores.
                    self._process.kill()
                else:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class DbtProcess:
    """A running dbt. Use as a context manager: leaving it ends the dbt if it still runs."""

    def __init__(self, host: DbtHost, arguments: Sequence[str], parsed: str | None) -> None:
        self._host = host
        self._arguments = arguments
        self._parsed = parsed
        self._inlet, self._outlet = os.pipe()
        self._has_started = False
        self._exit_code: int | None = None
        host.ask(arguments, parsed, self._outlet)

    def __enter__(self) -> "DbtProcess":
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()
        os.close(self._inlet)

    def lines(self, *, pause: float) -> Iterator[str | None]:
        """Lines that dbt prints, to its end, and None every `pause` seconds, however much or little it prints."""
        while not self._has_started and self._exit_code is None:
            if not self._take(self._host.hear(pause)):
                yield None
        yield from self._lines(pause)
        # Silent is not ended: whoever reads must be able to end a dbt that hangs on its way out.
        while self._exit_code is None:
            if not self._take(self._host.hear(pause)):
                yield None

    def _lines(self, pause: float) -> Iterator[str | None]:
        rest = b""
        pause_at = time.monotonic() + pause
        with selectors.DefaultSelector() as selector:
            selector.register(self._inlet, selectors.EVENT_READ)
            while True:
                ready = selector.select(max(0.0, pause_at - time.monotonic()))
                if time.monotonic() >= pause_at:
                    yield None
                    pause_at = time.monotonic() + pause
                if not ready:
                    continue
                chunk = os.read(self._inlet, 1 << 16)
                if not chunk:
                    break
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line.decode("utf-8", "replace")
        if rest:
            yield rest.decode("utf-8", "replace")

    def exit_code(self) -> int:
        """Wait for the end. Negative: the number of the signal that ended it."""
        while self._exit_code is None:
            self._take(self._host.hear(1.0))
        return self._exit_code

    def kill(self) -> None:
        """End this dbt now. The warm process stays, also if it has yet to start the run, unless it does not answer."""
        deadline = time.monotonic() + _KILL_SECONDS
        while self._exit_code is None and time.monotonic() < deadline:
            if self._has_started:
                self._host.say_kill()
            word = self._host.hear(1.0)
            if word is not None and "stale" in word:
                # It has ended and started nothing.
                break
            self._take(word)
        if self._exit_code is None:
            self._host.close()
            self._end(-signal.SIGKILL)

    def _take(self, word: dict[str, Any] | None) -> bool:
        """Act on what the host said; False if it said nothing."""
        if word is None:
            return False
        if "started" in word:
            self._has_started = True
            self._close_outlet()
        elif "stale" in word:
            logger.info("a file of the dbt project has changed: the project is parsed anew")
            self._host.close()
            self._host.ask(self._arguments, self._parsed, self._outlet)
        elif "ended" in word:
            self._end(int(word["ended"]))
        else:
            # By prctl its run has ended with it.
            logger.warning("the process that keeps dbt warm has ended, and with it its run")
            code = self._host.exit_code()
            self._host.close()
            self._end(code)
        return True

    def _end(self, exit_code: int) -> None:
        self._exit_code = exit_code
        self._close_outlet()

    def _close_outlet(self) -> None:
        # Without it the pipe ends when dbt does.
        if self._outlet >= 0:
            os.close(self._outlet)
            self._outlet = -1
