"""Starting dbt as an operating-system process of its own, reading what it prints, and ending it."""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from webhook.runs import RunRequest
from webhook.settings import Settings

TARGET = "prod"
# Documents what is published; prod names what is built beside it.
DOCS_TARGET = "docs"

_CHILD = Path(__file__).with_name("dbt_child.py")
_VERBS = {"build": ["build"], "test": ["test"], "docs": ["docs", "generate"]}
# What dbt and the project read; above all not WEBHOOK_TOKEN.
_NAMES = {"PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SAMPLE_SHOP"}
_PREFIXES = ("CLICKHOUSE_", "SHOP_", "DBT_ENV_")


def dbt_arguments(request: RunRequest, settings: Settings) -> list[str]:
    """dbt's arguments for a request. Selectors were validated: none begins with a hyphen."""
    arguments = [
        *("--log-format", "json", "--log-level", "debug", "--log-level-file", "none", "--no-use-colors"),
        *("--no-send-anonymous-usage-stats", "--no-version-check"),
        *_VERBS[request.command],
        *("--target", DOCS_TARGET if request.command == "docs" else TARGET),
        *("--project-dir", str(settings.project), "--profiles-dir", str(settings.project)),
        *("--target-path", str(settings.dbt_target), "--log-path", str(settings.home / "dbt-logs")),
    ]
    if request.full_refresh:
        arguments.append("--full-refresh")
    if request.command == "build":
        # Unit tests check the logic, not the data: they are for those who change it.
        # Exposures are descriptions, with nothing to build.
        arguments += ["--exclude-resource-type", "unit_test", "--exclude-resource-type", "exposure"]
    for option, items in (("--select", request.select), ("--exclude", request.exclude)):
        if items:
            arguments += [option, *items]
    return arguments


def dbt_environment(environ: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The part of the worker's environment that dbt gets."""
    kept = {name: value for name, value in environ.items() if name in _NAMES or name.startswith(_PREFIXES)}
    return kept | {"HOME": str(settings.home), "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}


class DbtProcess:
    """A running dbt. Use as a context manager: leaving it ends the process if it still runs."""

    def __init__(self, arguments: list[str], *, environment: Mapping[str, str], folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_CHILD), str(os.getpid()), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            # A group of its own: Ctrl-C at the worker's terminal is the worker's business, and a kill reaches children.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._stdout = self._process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)

    def __enter__(self) -> "DbtProcess":
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()
        self._selector.close()
        self._stdout.close()

    def lines(self, *, pause: float) -> Iterator[str | None]:
        """Lines that dbt prints, to its end, and None every `pause` seconds, however much or little it prints."""
        rest = b""
        pause_at = time.monotonic() + pause
        while True:
            ready = self._selector.select(max(0.0, pause_at - time.monotonic()))
            if time.monotonic() >= pause_at:
                yield None
                pause_at = time.monotonic() + pause
            if not ready:
                continue
            chunk = os.read(self._stdout.fileno(), 1 << 16)
            if not chunk:
                break
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "replace")
        if rest:
            yield rest.decode("utf-8", "replace")
        # Silent is not ended: whoever reads must be able to end a dbt that hangs on its way out.
        while self._process.poll() is None:
            time.sleep(min(pause, 0.02))
            if time.monotonic() >= pause_at:
                yield None
                pause_at = time.monotonic() + pause

    def exit_code(self) -> int:
        """Wait for the end. Negative: the number of the signal that ended it."""
        return self._process.wait()

    def kill(self) -> None:
        """End the process and whatever it started, now."""
        # Only while it is ours to signal: after poll() has seen the end the id may belong to somebody else.
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
