"""A warm process: it has imported dbt and parsed the project, and forks for every run.

Started by path, as `python -P host.py WORKER_PID SOCKET_FD PROJECT TARGET_PATH`, so that nothing of this package is on
dbt's import path. It has no threads and no connections, so forking is safe. Each message on the socket is one line of JSON. The worker sends
the first, this process the second:

    {"run": arguments, "parsed": "prod"} and the file to print to: {"started": true} or {"stale": true}, and then
    {"ended": exit code}; a {"kill": true} in between makes it end at once

`parsed` names the target whose parsed project the run may use; null: the run parses by itself. `stale`: a file of the project has changed
since the parse, and the worker starts another host. If the worker dies, even by kill -9, Linux kills this process and its run at once: the
next worker must not find an older dbt that writes the same tables. `python -P host.py parse-and-run HOST_PID` is a run that parses by itself.
It reads its arguments from standard input, because every user of the machine can read a command line.
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

# dbt imports them lazily, which would cost every run a tenth of a second.
_IMPORTED_EARLY = ("dbt.adapters.clickhouse.httpclient", "dbt.task.build", "dbt.task.docs.generate")


def _beside(name: str) -> Any:
    """Loads a module from the file beside this one, without putting the folder on dbt's import path."""
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(f"{name}.py cannot be imported")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


events = _beside("callbacks")


def import_early() -> None:
    """Imports modules that dbt imports lazily; skips those that this version of dbt lacks."""
    for name in _IMPORTED_EARLY:
        with contextlib.suppress(ImportError):
            import_module(name)


def keep_for_forks() -> None:
    """Exempts all objects from garbage collection: a collection in a fork would copy their pages."""
    gc.collect()
    gc.freeze()


def project_hash(project: Path) -> str:
    """Returns a hash of the names and contents of the project's files, without those that dbt writes."""
    digest = hashlib.blake2b()
    for folder, folders, names in os.walk(project):
        folders[:] = sorted(set(folders) - _NOT_SOURCE)
        for name in sorted(names):
            path = Path(folder, name)
            # A file may vanish between listing and reading; then the next hash differs.
            with contextlib.suppress(OSError):
                content = path.read_bytes()
                digest.update(f"{path}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
    return digest.hexdigest()


def die_with(parent: int) -> None:
    """Makes the kernel end this process when `parent` ends. Raises SystemExit if it has ended already."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # The parent may have died before prctl took effect.
    if os.getppid() != parent:
        raise SystemExit("the process that started this one is gone")


class Host:
    """Parses once for each target, forks once for each run."""

    def __init__(self, channel: socket.socket, project: Path, target_path: str) -> None:
        self._channel = channel
        self._project = project
        self._places = ["--project-dir", str(project), "--profiles-dir", str(project), "--target-path", target_path]
        self._places += ["--log-path", target_path]
        # Hash before the first parse: a file that changes during the parse makes the host stale, not wrong.
        self._hash = project_hash(project)
        self._manifests: dict[str, Any] = {}
        self._fds: list[int] = []

    def serve(self) -> None:
        """Serves until the worker closes the socket or a file of the project changes."""
        rest = b""
        while True:
            while not select.select([self._channel], [], [], _LOOK_SECONDS)[0]:
                if project_hash(self._project) != self._hash:
                    # The worker restarts the host before the next run.
                    return
            chunk, fds, _flags, _address = socket.recv_fds(self._channel, 1 << 20, 1)
            if not chunk:
                return
            self._fds += fds
            *lines, rest = (rest + chunk).split(b"\n")
            message = next((word for word in map(json.loads, lines) if "run" in word), None)
            if message is None:
                # An incomplete line, or a kill that arrived after the run's end.
                continue
            output = self._fds.pop()
            if project_hash(self._project) != self._hash:
                self._say(stale=True)
                return
            self._run(message["run"], message["parsed"], output)

    def parse(self, target: str) -> None:
        """Parses the project for a target. If that fails, each run parses by itself and reports why.

        A fork parses and writes dbt's partial parse, which this process then reads. dbt's parser starts a thread pool (dbt_extractor, by rayon).
        Forks do not inherit threads: if this process had the pool, every fork that uses it would hang.
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
        # Only the run holds the write end, so its end of file is the run's end, whatever the cause.
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
                    # Inherited by the new program too: otherwise the run would seem ended at exec, and a kill would be ignored.
                    os.set_inheritable(held, True)
                    _give_as_input(arguments)
                    # A new interpreter: dbt's parser leaves state in a process that a second parse cannot use.
                    os.execv(sys.executable, [sys.executable, "-P", __file__, "parse-and-run", str(host)])
                code = _dbt(arguments, manifest)
                # Releases dbt's semaphores, which os._exit would leave in /dev/shm until this host ends.
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
                # Not yet reaped, so the pid cannot have been reused.
                os.kill(child, signal.SIGKILL)
            if alive in ready:
                break
        os.close(alive)
        _, status = os.waitpid(child, 0)
        self._say(ended=os.waitstatus_to_exitcode(status))

    def _say(self, **message: object) -> None:
        self._channel.sendall(json.dumps(message).encode() + b"\n")


def _give_as_input(arguments: list[str]) -> None:
    """Puts the arguments on standard input, as an anonymous file: a pipe may be too small."""
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
    """Runs dbt, on the parsed project if there is one. Returns the exit code of dbt's command line."""
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
    # The worker handles Ctrl-C at a terminal; in a fork dbt installs its own handlers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    host = Host(socket.socket(fileno=int(channel)), Path(project), target_path)
    import_early()
    host.parse(target)
    host.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
