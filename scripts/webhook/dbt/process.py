"""Starts dbt as a fork of a warm process, reads its output, and kills it."""

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
    """The worker's handle of the warm process (`host.py`) of one dbt project. `python` is an interpreter that has dbt."""

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
        """Starts the process unless it is alive. Returns at once; a run that comes early waits until the process is warm."""
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
                # Its own process group: Ctrl-C at the terminal reaches the worker only, and a kill of the group reaches runs.
                start_new_session=True,
            )

    def keep_warm(self) -> None:
        """Restarts, in idle moments, a process that ended because the project changed.

        It does not restart one that failed: it would most likely fail again. The next run starts it.
        """
        if self._process is None or self._process.poll() == 0:
            self.warm_up()

    def start(self, arguments: Sequence[str], *, parsed: str | None = TARGET) -> "DbtProcess":
        """Starts dbt with these arguments in a fork; host.py explains `parsed`."""
        return DbtProcess(self, arguments, parsed)

    def ask(self, arguments: Sequence[str], parsed: str | None, output: int) -> None:
        """Requests a run that prints to `output`. If the process is gone, `hear` says so."""
        self.warm_up()
        if self._channel is None:
            raise RuntimeError("The process that keeps dbt warm has no channel")
        message = json.dumps({"run": list(arguments), "parsed": parsed}).encode() + b"\n"
        with contextlib.suppress(OSError):
            sent = socket.send_fds(self._channel, [message], [output])
            self._channel.sendall(message[sent:])

    def hear(self, seconds: float) -> dict[str, Any] | None:
        """Returns the process' next message; {} if it has ended, None after `seconds` without one."""
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
        """Returns the exit code of the process, after `hear` has returned {}."""
        if self._process is None:
            raise RuntimeError("The process that keeps dbt warm was never started")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        return self._process.returncode or -signal.SIGKILL

    def close(self) -> None:
        """Kills the process and its run."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._heard = b""
        if self._process is not None:
            # Signal only before poll() has reaped the process: afterwards the pid may be reused.
            if self._process.poll() is None:
                if sys.platform == "linux":
                    # prctl ends the run with it; Python's resource tracker survives and releases their semaphores.
                    self._process.kill()
                else:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class DbtProcess:
    """A running dbt. A context manager: its exit kills dbt if it still runs."""

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
        """Yields the lines that dbt prints until it ends, and None every `pause` seconds, however much or little it prints."""
        while not self._has_started and self._exit_code is None:
            if not self._take(self._host.hear(pause)):
                yield None
        yield from self._lines(pause)
        # The end of its output is not the end of dbt: the reader must be able to kill a dbt that hangs during exit.
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
        """Waits for the end; returns the exit code, negative for a signal."""
        while self._exit_code is None:
            self._take(self._host.hear(1.0))
        return self._exit_code

    def kill(self) -> None:
        """Kills this dbt. The warm process survives, even if it has not started the run yet, unless it does not answer."""
        deadline = time.monotonic() + _KILL_SECONDS
        while self._exit_code is None and time.monotonic() < deadline:
            if self._has_started:
                self._host.say_kill()
            word = self._host.hear(1.0)
            if word is not None and "stale" in word:
                # The host has ended before it started anything.
                break
            self._take(word)
        if self._exit_code is None:
            self._host.close()
            self._end(-signal.SIGKILL)

    def _take(self, word: dict[str, Any] | None) -> bool:
        """Handles a message of the host; returns False if there was none."""
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
            # prctl has ended its run with it.
            logger.warning("the process that keeps dbt warm has ended, and with it its run")
            code = self._host.exit_code()
            self._host.close()
            self._end(code)
        return True

    def _end(self, exit_code: int) -> None:
        self._exit_code = exit_code
        self._close_outlet()

    def _close_outlet(self) -> None:
        # Without our copy the pipe ends when dbt does.
        if self._outlet >= 0:
            os.close(self._outlet)
            self._outlet = -1
