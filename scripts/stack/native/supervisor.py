"""Controls supervisord, which keeps the long-lived services running, over its unix socket.

The configuration holds no secret: each program is `stack.native.launch NAME`, which reads `.env` itself.
"""

import os
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport

from stack.errors import StackError
from stack.native.launch import MARK, of_the_machine
from stack.paths import Paths
from stack.table.services import Service

# sun_path of a unix socket has 108 bytes; supervisord appends its pid while it binds.
LONGEST_SOCKET = 95


def socket_path(paths: Paths) -> Path:
    return paths.run / "supervisor.sock"


def _rpc(paths: Paths) -> Any:
    transport = SupervisorTransport(None, None, f"unix://{socket_path(paths)}")
    return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor


def configuration(paths: Paths, names: Iterable[Service]) -> str:
    """Returns the text of supervisord.conf."""
    user = "user=root\n" if os.geteuid() == 0 else ""
    shared = {"STACK_HOME": str(paths.home)} if paths.env_file.parent == paths.home else {}
    shared |= {"STACK_VENVS": str(paths.venvs), "PYTHONPATH": str(paths.repo / "scripts")}
    environment = ",".join(f'{name}="{_escaped(value)}"' for name, value in shared.items())
    parts = [
        f"""[supervisord]
{user}nodaemon=false
directory={_escaped(str(paths.repo))}
logfile={_escaped(str(paths.logs / "supervisord.log"))}
logfile_maxbytes=5MB
logfile_backups=2
pidfile={_escaped(str(paths.run / "supervisord.pid"))}
childlogdir={_escaped(str(paths.logs))}
environment={environment}

[unix_http_server]
file={_escaped(str(socket_path(paths)))}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
    ]
    for service in names:
        parts.append(
            f"""[program:{service.name}]
command="{_escaped(sys.executable)}" -m stack.native.launch {service.name}
autostart=false
autorestart=true
startsecs=5
startretries=10
stopsignal={service.stop_signal}
stopwaitsecs={service.stop_seconds}
killasgroup=true
redirect_stderr=true
stdout_logfile={_escaped(str(log_path(paths, service.name)))}
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=3
"""
        )
    return "\n".join(parts)


def _escaped(value: str) -> str:
    return value.replace("%", "%%")


def log_path(paths: Paths, name: str) -> Path:
    return paths.logs / f"{name}.log"


def states(paths: Paths) -> dict[str, str] | None:
    """Returns supervisord's state of each program (RUNNING, STOPPED, BACKOFF..); None if no supervisord answers."""
    try:
        return {row["name"]: row["statename"] for row in _rpc(paths).getAllProcessInfo()}
    except (OSError, xmlrpc.client.Error):
        return None


def running(paths: Paths) -> set[str]:
    """Returns the programs that run or start; empty if no supervisord answers."""
    return {name for name, state in (states(paths) or {}).items() if state in ("RUNNING", "STARTING")}


def ensure(paths: Paths, rows: list[Service]) -> None:
    """Starts supervisord if none answers; else reloads its configuration, which stops removed services."""
    config = paths.run / "supervisord.conf"
    config.write_text(configuration(paths, rows))
    if states(paths) is None:
        socket_path(paths).unlink(missing_ok=True)
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
        env = of_the_machine()
        env |= {"PYTHONWARNINGS": "ignore::UserWarning", MARK: str(paths.home)}
        answer = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        deadline = time.monotonic() + 10
        while states(paths) is None:
            if answer.returncode != 0 or time.monotonic() > deadline:
                raise StackError(
                    f"The supervisor did not start ({answer.stderr.strip()}): see {paths.logs / 'supervisord.log'}."
                )
            time.sleep(0.05)
        return
    rpc = _rpc(paths)
    ((added, changed, removed),) = rpc.reloadConfig()
    for name in [*removed, *changed]:
        rpc.stopProcessGroup(name)
        rpc.removeProcessGroup(name)
    for name in [*added, *changed]:
        rpc.addProcessGroup(name)


def start(paths: Paths, name: str) -> None:
    """Starts one program unless it runs."""
    try:
        _rpc(paths).startProcess(name, False)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode != Faults.ALREADY_STARTED:
            raise StackError(f"{name} could not be started ({fault.faultString}): see `scripts/logs {name}`.") from None


def stop(paths: Paths, name: str) -> None:
    """Stops one program, if it runs, and waits for its end."""
    try:
        _rpc(paths).stopProcess(name, True)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode not in (Faults.NOT_RUNNING, Faults.BAD_NAME):
            raise StackError(f"{name} could not be stopped ({fault.faultString}): see `scripts/logs {name}`.") from None


def shutdown(paths: Paths) -> None:
    """Ends supervisord and its programs; returns when it is gone."""
    try:
        process = psutil.Process(_rpc(paths).getPID())
        _rpc(paths).shutdown()
    except (OSError, xmlrpc.client.Error, psutil.NoSuchProcess):
        return
    psutil.wait_procs([process], timeout=90)
