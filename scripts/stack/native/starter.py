"""Starts services in parallel, each as soon as its dependencies are healthy."""

import subprocess
import threading
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime

from stack.errors import StackError
from stack.native import launch, supervisor
from stack.screen import Screen
from stack.table import services
from stack.table.services import Context, Service

# Same limit as in Compose. Only a hanging service takes this long: the end of a process is noticed at once.
HEALTHY_WITHIN = 600.0
# A service that ends this often during its start will not come up by itself.
STARTS = 3


class Starter:
    """Starts rows in parallel, each as soon as its dependencies are healthy; stops at the first failure."""

    def __init__(self, context: Context, screen: Screen, rows: list[Service]) -> None:
        self._context = context
        self._screen = screen
        self._rows = rows
        self._gave_up = threading.Event()

    def run(self) -> None:
        waiting = list(self._rows)
        names = {row.name for row in waiting}
        finished: set[str] = set()
        futures: dict[Future[float], str] = {}
        with ThreadPoolExecutor(max_workers=len(waiting)) as pool:
            try:
                while waiting or futures:
                    for row in [row for row in waiting if all(n in finished or n not in names for n in row.after)]:
                        waiting.remove(row)
                        futures[pool.submit(self._start, row)] = row.name
                    done, _ = wait(futures, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in done:
                        name = futures.pop(future)
                        word = "done" if services.by_name(name).one_shot else "healthy"
                        self._screen.done(f"{name} {word} ({future.result():.1f} s)")
                        finished.add(name)
                    self._screen.waiting(f"waiting for {_listed(futures.values())}")
            except BaseException:
                self._gave_up.set()
                raise

    def _start(self, row: Service) -> float:
        began = time.monotonic()
        if row.one_shot:
            self._run_once(row)
        else:
            self._run_on(row)
        return time.monotonic() - began

    def _run_once(self, row: Service) -> None:
        context = self._context
        env = launch.environment(context, row)
        log = supervisor.log_path(context.paths, row.name)
        with log.open("ab") as sink:
            for command in row.commands(context):
                begin = sink.tell()
                answer = subprocess.run(command, env=env, stdout=sink, stderr=sink, cwd=context.paths.repo, check=False)
                if answer.returncode != 0:
                    last = log.read_bytes()[begin:].decode(errors="replace").strip().splitlines()
                    said = last[-1] if last else f"exit code {answer.returncode}"
                    raise StackError(f"{row.name} failed ({said}): see `scripts/logs {row.name}`.")
        launch.write_note(context.paths, row.name, launch.fingerprint(context, row))

    def _run_on(self, row: Service) -> None:
        paths = self._context.paths
        asked = datetime.now(UTC)
        supervisor.start(paths, row.name)
        deadline = time.monotonic() + HEALTHY_WITHIN
        pids: set[int] = set()
        while not self._gave_up.is_set():
            missing = row.missing(self._context, asked)
            if not missing:
                return
            if (note := launch.read_note(paths, row.name)) and note.at >= asked:
                pids.add(note.pid)
            if len(pids) > STARTS or time.monotonic() > deadline:
                why = f"ended {STARTS} times" if len(pids) > STARTS else f"is not healthy ({missing})"
                raise StackError(
                    f"{row.name} {why}; its last words: {self._last_words(row)}. See `scripts/logs {row.name}`."
                )
            time.sleep(0.2)

    def _last_words(self, row: Service) -> str:
        lines = supervisor.log_path(self._context.paths, row.name).read_text(errors="replace").strip().splitlines()
        return lines[-1].rstrip(".") if lines else "none"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "the last services"
