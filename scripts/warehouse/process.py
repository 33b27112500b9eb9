"""Tells a living process of this host from one that has died, and from another one that got its pid."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process, so that another one that got its pid later is told from it."""

    host: str
    pid: int
    started: str
    """Boot of the machine and start of the process; empty where this system does not tell."""

    @classmethod
    def of(cls, pid: int) -> Process:
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            # Field 22 (starttime): https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            # A process that has ended and is not yet reaped (Z, X) is no living one.
            started = "ended" if fields[0] in "ZX" else fields[19]
        except (OSError, IndexError):
            return cls(socket.gethostname(), pid, "")
        # Containers share boot and host name at times, and never their own view of the processes.
        namespace = ""
        with suppress(OSError):
            namespace = str(Path("/proc/self/ns/pid").readlink())
        return cls(socket.gethostname(), pid, f"{boot} {namespace} {started}")

    @property
    def is_dead(self) -> bool:
        """Whether it was a process of this host and is none any more. False where this process may not see it."""
        if not self._is_of_this_host:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        now = Process.of(self.pid).started
        return bool(now) and now != self.started

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this host now."""
        return self._is_of_this_host and not self.is_dead

    @property
    def _is_of_this_host(self) -> bool:
        here = Process.of(os.getpid())
        return bool(self.started) and (self.host, self._machine) == (here.host, here._machine)

    @property
    def _machine(self) -> str:
        return self.started.rpartition(" ")[0]
