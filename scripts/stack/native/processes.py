"""Find the processes of this stack, whoever their parent is now, and end them."""

import os
import time
from collections.abc import Callable

import psutil

from stack.native.launch import MARK
from stack.paths import Paths


def of_stack(paths: Paths) -> list[psutil.Process]:
    """Every process that carries this stack's mark, or is a Postgres on its data. Our own ancestors are not listed."""
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    data = str(paths.data / "postgres")
    found = []
    for process in psutil.process_iter():
        if process.pid in mine:
            continue
        try:
            # Postgres clears its environment from /proc, but works in its data directory.
            ours = process.environ().get(MARK) == str(paths.home)
            if ours or process.cwd() == data:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def end(processes: list[psutil.Process], *, seconds: float) -> None:
    """Ask each to end, and kill those that have not done so in time."""
    _each(processes, psutil.Process.terminate)
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    _each(alive, psutil.Process.kill)
    psutil.wait_procs(alive, timeout=5)


def _each(processes: list[psutil.Process], action: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        try:
            action(process)
        except psutil.NoSuchProcess:
            continue


def end_all(paths: Paths, *, seconds: float = 20) -> int:
    """End every process of this stack; returns how many there were."""
    total = 0
    deadline = time.monotonic() + seconds + 10
    while (left := of_stack(paths)) and time.monotonic() < deadline:
        total += len(left)
        end(left, seconds=seconds)
    return total
