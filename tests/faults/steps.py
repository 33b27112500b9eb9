"""Steps of a run, each in a process of its own that may be killed and stopped, with a limit that names itself."""

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from elt.runs import run as runs
from elt.settings import Settings
from warehouse.errors import PipelineError, TerminalError

# Forks of a process that has imported the loader already, as Airflow's tasks are forks.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["faults.steps", "elt.runs.whole_run"])


class HungError(AssertionError):
    """A step did not end in time."""


class StepError(Exception):
    """A step failed, or its process died. `may_retry`: as Airflow would."""

    def __init__(self, text: str, *, may_retry: bool) -> None:
        super().__init__(text)
        self.may_retry = may_retry


def begin(settings: Settings, wire: Connection, *, key: str) -> int:
    return runs.begin(settings, run_key=key, tables=None, full_refresh=False)


def hold(settings: Settings, wire: Connection, *, run: int) -> None:
    """Sends the name of the snapshot, and holds it until something is sent back, or who would send it is gone."""
    runs.hold_snapshot(settings, run=run, ready=lambda held: wire.send(("ready", held.snapshot)), finished=wire.poll)


def load(settings: Settings, wire: Connection, *, run: int, targets: list[str], attempt: int) -> None:
    runs.load_tables(settings, run=run, targets=targets, attempt=attempt)


def publish(settings: Settings, wire: Connection, *, run: int) -> None:
    runs.publish(settings, run=run, wait_seconds=120)


def fail(settings: Settings, wire: Connection, *, run: int | None, key: str) -> None:
    """As Airflow's callback for a run that has failed."""
    runs.fail(settings, run=run, run_key=key, error="failed by a fault")


def whole(settings: Settings, wire: Connection) -> None:
    """`python -m elt load`."""
    from elt.cli import main

    os.environ |= {"ELT_PIPELINE": str(settings.elt_pipeline), "ELT_PLAN": str(settings.elt_plan)}
    os.environ |= {"SOURCE_URL": settings.source_url.get_secret_value(), "CLICKHOUSE_HOST": settings.clickhouse_host}
    os.environ["CLICKHOUSE_HTTP_PORT"] = str(settings.clickhouse_http_port)
    os.environ["CLICKHOUSE_LOADER_PASSWORD"] = settings.clickhouse_loader_password.get_secret_value()
    if main.main(["load"]):
        raise TerminalError("python -m elt load failed; its output is in the log")


class Step:
    """A process at work on a step. To be waited for."""

    def __init__(
        self, work: Callable[..., Any], settings: Settings, log: Path, *, seconds: float, **given: Any
    ) -> None:
        self.name = work.__name__
        self.settings = settings
        self._deadline = time.monotonic() + seconds
        self._seconds = seconds
        self._wire, far = _processes.Pipe()
        self._process = _processes.Process(target=_work, args=(work, settings, far, log, given), daemon=True)
        self._process.start()
        far.close()
        self.is_given_up = False
        """Whether nobody waits for it any more, as Airflow gives up a task that shows no sign of life."""

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.exitcode is not None

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self._seconds - (self._deadline - time.monotonic())

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def signal(self, number: signal.Signals) -> None:
        if not self.has_ended:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def ready(self) -> Any:
        """Returns what the step says before it ends. Raises as `result` does when it ends without that."""
        kind, value = self._hear()
        if kind != "ready":
            raise StepError(f"{self.name} ended before it was ready", may_retry=False)
        return value

    def release(self) -> None:
        """Tells a step that holds something that it may end."""
        with suppress(OSError):
            self._wire.send("over")

    def result(self) -> Any:
        """Waits for the end. Raises StepError, HungError."""
        kind, value = self._hear()
        while kind == "ready":
            kind, value = self._hear()
        self._process.join(10)
        return value

    def end(self) -> None:
        """Ends the process, however it is."""
        self.signal(signal.SIGKILL)
        self._process.join(10)
        self._wire.close()

    def _hear(self) -> tuple[str, Any]:
        while not self._wire.poll(0.05):
            if self.is_given_up:
                raise StepError(f"{self.name} shows no sign of life", may_retry=True)
            if self.has_ended and not self._wire.poll(0):
                raise StepError(f"{self.name} died ({self._process.exitcode})", may_retry=True)
            if self.is_late:
                self.signal(signal.SIGABRT)
                raise HungError(f"the step {self.name} did not end within {self._seconds:g} s")
        try:
            kind, value = self._wire.recv()
        except (EOFError, OSError):
            self._process.join(10)
            raise StepError(f"{self.name} died ({self._process.exitcode})", may_retry=True) from None
        if kind in ("transient", "terminal"):
            self._process.join(10)
            raise StepError(f"{self.name}: {value}", may_retry=kind == "transient")
        if kind == "broken":
            raise AssertionError(f"the step {self.name} broke: {value}")
        return kind, value


def _work(work: Callable[..., Any], settings: Settings, wire: Connection, log: Path, given: dict[str, Any]) -> None:
    import faulthandler

    # A session of its own: it is found by it, and so is what it starts.
    with log.open("a", buffering=1) as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
        # A step that hangs is ended by SIGABRT, and says where it was.
        faulthandler.enable()
        print(f"{time.strftime('%H:%M:%S')} {work.__name__} {given}, pid {os.getpid()}")
        try:
            said = ("result", work(settings, wire, **given))
        except TerminalError as error:
            said = ("terminal", str(error))
        except PipelineError as error:
            said = ("transient", str(error))
        except Exception:  # noqa: BLE001 - it is told to who waits
            said = ("broken", traceback.format_exc())
        print(f"{time.strftime('%H:%M:%S')} {work.__name__}: {said}")
        sys.stdout.flush()
        with suppress(OSError):
            wire.send(said)
