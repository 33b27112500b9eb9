"""Finds the processes of this stack, orphans included, and ends them."""

import os
import time
from collections.abc import Callable

import psutil

from stack.native.launch import MARK
from stack.paths import Paths


def of_stack(paths: Paths) -> list[psutil.Process]:
    """Returns all processes with this stack's mark, and every Postgres on its data; without our own ancestors."""
    mine = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    data = str(paths.data / "postgres")
    processes = []
    for process in psutil.process_iter():
        if process.pid in mine:
            continue
        try:
            # Postgres erases its environment in /proc, but its working directory is the data directory.
            ours = process.environ().get(MARK) == str(paths.home)
            if ours or process.cwd() == data:
                processes.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return processes


def end(processes: list[psutil.Process], *, seconds: float) -> None:
    """Terminates each process; kills those that have not ended in time."""
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
    """Ends all processes of this stack; returns their number."""
    total = 0
    deadline = time.monotonic() + seconds + 10
    while (remaining := of_stack(paths)) and time.monotonic() < deadline:
        total += len(remaining)
        end(remaining, seconds=seconds)
    return total
