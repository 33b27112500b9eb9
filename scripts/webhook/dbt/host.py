"""A process that has dbt imported and the project parsed, and forks once for every run.

Started by path, as `python -P host.py WORKER_PID SOCKET_FD PROJECT TARGET_PATH`, so that nothing of this package is on
dbt's import path. It holds neither threads nor connections, which is what makes forking it safe. The worker asks over the
socket, one line of JSON for each word:

    {"run": arguments, "parsed": "prod"} and the file to print to: {"started": true} or {"stale": true}, and then
    {"ended": exit code}; a {"kill": true} in between makes it end at once

`parsed` names the target whose parsed project the run may use, null where it must parse by itself. `stale`: a file of the
project is not what was parsed, so that the worker starts another host. If the worker dies, even by kill -9, Linux kills
this process and its run at once: the next worker must not find an older dbt writing the same tables. `python -P host.py
parse-and-run HOST_PID` is a run that parses by itself; its arguments come on its standard input, since anybody on the
machine can read a command line and they may hold what is nobody's business.
"""

import atexit
import contextlib
import ctypes
import gc
import hashlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
import traceback
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1  # linux/prctl.h; see prctl(2)
_QUIET = [
    "--log-level",
    "none",
    "--log-level-file",
    "none",
    "--no-send-anonymous-usage-stats",
    "--no-version-check",
]
_LOOK_SECONDS = 2.0
_NOT_SOURCE = {"target", "logs", "__pycache__", ".git"}

# dbt imports them only when it runs: a tenth of a second that every run would pay again.
_IMPORTED_EARLY = ("dbt.adapters.clickhouse.httpclient", "dbt.task.build", "dbt.task.docs.generate")


def _beside(name: str) -> Any:
    """A module from the file beside this one, without putting the folder on dbt's import path."""
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(f"{name}.py cannot be imported")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


events = _beside("callbacks")


def import_early() -> None:
    """Import what dbt imports late. A version of dbt that lacks a module runs without it."""
    for name in _IMPORTED_EARLY:
        with contextlib.suppress(ImportError):
            import_module(name)


def keep_for_forks() -> None:
    """Exempt everything in memory from garbage collection: a collection in a fork would copy its pages."""
    gc.collect()
    gc.freeze()


def project_hash(project: Path) -> str:
    """Of every file's name and content in the project, but for what dbt itself writes there."""
    digest = hashlib.blake2b()
    for folder, folders, names in os.walk(project):
        folders[:] = sorted(set(folders) - _NOT_SOURCE)
        for name in sorted(names):
            path = Path(folder, name)
            # A file may vanish between the listing and the reading; then the next look differs.
            with contextlib.suppress(OSError):
                content = path.read_bytes()
                digest.update(f"{path}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
    return digest.hexdigest()


def die_with(parent: int) -> None:
    """End this process when `parent` does. Raises SystemExit if it has ended already."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # It may have died before prctl took effect.
    if os.getppid() != parent:
        raise SystemExit("the process that started this one is gone")


class Host:
    """Parses once for each target, forks once for each run."""

    def __init__(self, channel: socket.socket, project: Path, target_path: str) -> None:
        self._channel = channel
        self._project = project
        self._places = ["--project-dir", str(project), "--profiles-dir", str(project), "--target-path", target_path]
        self._places += ["--log-path", target_path]
        # Before the first parse: a file that changes while dbt reads makes the host stale, not wrong.
        self._hash = project_hash(project)
        self._manifests: dict[str, Any] = {}
        self._fds: list[int] = []

    def serve(self) -> None:
        """Answer until the worker closes the socket, or a file of the project has changed."""
        rest = b""
        while True:
            while not select.select([self._channel], [], [], _LOOK_SECONDS)[0]:
                if project_hash(self._project) != self._hash:
                    # The worker starts another host before anybody asks for a run.
                    return
            chunk, fds, _flags, _address = socket.recv_fds(self._channel, 1 << 20, 1)
            if not chunk:
                return
            self._fds += fds
            *lines, rest = (rest + chunk).split(b"\n")
            asked = next((word for word in map(json.loads, lines) if "run" in word), None)
            if asked is None:
                # Half a line, or a kill that came when its run had just ended.
                continue
            output = self._fds.pop()
            if project_hash(self._project) != self._hash:
                self._say(stale=True)
                return
            self._run(asked["run"], asked["parsed"], output)

    def parse(self, target: str) -> None:
        """Parse the project for a target. If that fails there is nothing to share, and each run says for itself why.

        A fork parses and leaves the result in dbt's partial parse, which this process then reads: dbt's parser starts a pool
        of threads (dbt_extractor, by rayon) that every later fork would lack, and wait for when it asks it for something.
        """
        from dbt.cli.main import dbtRunner

        words = [*_QUIET, "parse", "--target", target, *self._places]
        host = os.getpid()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                die_with(host)
                code = 0 if dbtRunner().invoke(words).success else 1
                atexit._run_exitfuncs()
            finally:
                os._exit(code)
        self._manifests[target] = None
        if os.waitpid(child, 0)[1] == 0:
            result = dbtRunner().invoke(words)
            self._manifests[target] = result.result if result.success else None
        keep_for_forks()

    def _run(self, arguments: list[str], target: str | None, output: int) -> None:
        if target is not None and target not in self._manifests:
            self.parse(target)
        manifest = None if target is None else self._manifests[target]
        # Held by the run alone: it reads as ended when the run does, however that happens.
        alive, held = os.pipe()
        host = os.getpid()
        child = os.fork()
        if child == 0:
            code = 70
            try:
                os.close(alive)
                self._channel.close()
                os.dup2(output, 1)
                os.dup2(output, 2)
                os.close(output)
                die_with(host)
                if manifest is None:
                    # Held by the new program too: or its end would be seen when it begins, and no kill be heard after that.
                    os.set_inheritable(held, True)
                    _give_as_input(arguments)
                    # It starts from nothing: what a parser has left in this process is not made for a second one.
                    os.execv(sys.executable, [sys.executable, "-P", __file__, "parse-and-run", str(host)])
                code = _dbt(arguments, manifest)
                # Gives back dbt's semaphores, which os._exit would leave in /dev/shm until this host ends.
                atexit._run_exitfuncs()
            finally:
                os._exit(code)
        os.close(held)
        os.close(output)
        self._say(started=True)
        while True:
            ready, _, _ = select.select([self._channel.fileno(), alive], [], [])
            if self._channel.fileno() in ready:
                if not self._channel.recv(1 << 20):
                    # The worker died; the run must not outlive it.
                    os.kill(child, signal.SIGKILL)
                    raise SystemExit(0)
                # It has not been waited for, so the number is still its own.
                os.kill(child, signal.SIGKILL)
            if alive in ready:
                break
        os.close(alive)
        _, status = os.waitpid(child, 0)
        self._say(ended=os.waitstatus_to_exitcode(status))

    def _say(self, **message: object) -> None:
        self._channel.sendall(json.dumps(message).encode() + b"\n")


def _give_as_input(arguments: list[str]) -> None:
    """Have them on standard input, from a file without a name: a pipe may be too small for them."""
    with tempfile.TemporaryFile() as file:
        file.write(json.dumps(arguments).encode())
        file.seek(0)
        os.dup2(file.fileno(), 0)


def _take_from_input() -> list[str]:
    arguments = json.loads(sys.stdin.buffer.read())
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return list(arguments)


def _dbt(arguments: list[str], manifest: Any) -> int:
    """Run dbt, on the parsed project if there is one. Returns the exit code that dbt's command line would have."""
    from dbt.cli.main import dbtRunner

    printer = events.EventPrinter()
    result = dbtRunner(manifest=manifest, callbacks=[printer]).invoke(arguments)
    # https://docs.getdbt.com/reference/programmatic-invocations and /exit-codes
    code = 0 if result.success else 1 if result.exception is None else 2
    if result.exception is not None and not printer.has_told_error:
        traceback.print_exception(result.exception)
    if printer.failures:
        print(f"{len(printer.failures)} events of dbt are not in this log, the first by {printer.failures[0]}")
        code = code or 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def main(arguments: list[str]) -> None:
    if arguments[0] == "parse-and-run":
        die_with(int(arguments[1]))
        raise SystemExit(_dbt(_take_from_input(), None))
    worker, channel, project, target_path, target = arguments
    die_with(int(worker))
    # Ctrl-C at a terminal is the worker's business; in a fork dbt brings its own handlers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    host = Host(socket.socket(fileno=int(channel)), Path(project), target_path)
    import_early()
    host.parse(target)
    host.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
