"""Ports: finds free ones at the first boot, and names the holder of a taken one."""

import errno
import socket

import psutil

from stack.errors import StackError


def is_free(bind: str, port: int) -> bool:
    """Whether a server could listen on `bind:port` now. Raises StackError if this machine has no such address."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family) as probe:
        # Like every server: a port whose last connections are in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise StackError(
                    f"BIND_ADDRESS={bind} is no address of this machine: write one of `ip address`, or 127.0.0.1."
                ) from None
            return False
    return True


def next_free(bind: str, port: int, taken: set[int]) -> int:
    """Returns the first port from `port` upwards that is free and not in `taken`."""
    candidate = port
    while candidate in taken or not is_free(bind, candidate):
        candidate += 1
        if candidate > 65535:
            candidate = 1024
    return candidate


def holder(port: int) -> str:
    """Returns the listener of `port` as `name (pid N)`; `another program` if that is not visible."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                continue
    return "another program"
