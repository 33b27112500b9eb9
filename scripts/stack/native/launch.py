"""`python -m stack.native.launch SERVICE`: becomes the service (exec), with the variables of its table row and no others."""

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stack.env import file as env_file
from stack.errors import StackError
from stack.native import postgres
from stack.paths import Paths, content_hash, find_paths
from stack.table import services

# Variables of the machine that programs need. All others of the caller's environment are dropped.
OF_THE_MACHINE = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "POSTGRES_BIN",
)  # fmt: skip
# Marks the processes of this stack, so that orphans of a killed supervisor can be found.
MARK = "STACK_PROCESS_OF"


def of_the_machine() -> dict[str, str]:
    """Returns the part of the caller's environment that the stack's programs inherit; it holds no secret of the caller."""
    return {name: os.environ[name] for name in OF_THE_MACHINE if name in os.environ}


def environment(context: services.Context, service: services.Service) -> dict[str, str]:
    """Returns the exact environment of the service's process, except the mark."""
    machine = of_the_machine()
    return {
        **machine,
        "LANG": machine.get("LANG", "C.UTF-8"),
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1" if not os.access(context.paths.repo, os.W_OK) else "",
        # Otherwise programs that rename themselves in `ps` would overwrite the mark in /proc/PID/environ.
        "SPT_NOENV": "1",
        **service.names(context),
    }


def fingerprint(context: services.Context, service: services.Service) -> str:
    """Returns a hash of the service's command, environment and files; the service must restart when it changes."""
    parts = {
        "commands": service.commands(context),
        "environment": sorted(environment(context, service).items()),
        "files": content_hash(context.paths.repo, service.watches),
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Started:
    """The note that `launch` wrote when it became the service."""

    pid: int
    fingerprint: str
    at: datetime


def _note(paths: Paths, name: str) -> Path:
    return paths.run / f"{name}.json"


def read_note(paths: Paths, name: str) -> Started | None:
    """Returns the note of the service's last start; None without one."""
    try:
        raw = json.loads(_note(paths, name).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return Started(raw["pid"], raw["fingerprint"], datetime.fromisoformat(raw["at"]))


def write_note(paths: Paths, name: str, fingerprint_now: str) -> None:
    """Writes the note that this process becomes (or has just run) the service `name`."""
    note = {"pid": os.getpid(), "fingerprint": fingerprint_now, "at": datetime.now(UTC).isoformat()}
    staging = _note(paths, name).with_suffix(".new")
    staging.write_text(json.dumps(note))
    staging.replace(_note(paths, name))


def main() -> None:
    name = sys.argv[1]
    paths = find_paths()
    try:
        context = services.context_of(paths, env_file.load(paths.env_file))
    except StackError as error:
        sys.exit(f"{name} cannot start: {error}")
    service = services.by_name(name)
    if name == "postgres-source":
        postgres.clear_foreign_lock(paths.data / "postgres")
    write_note(paths, name, fingerprint(context, service))
    (command,) = service.commands(context)
    env = {**environment(context, service), MARK: str(paths.home)}
    # Postgres runs as another user, who may not be able to enter the repository.
    os.chdir("/" if name == "postgres-source" else paths.repo)
    os.execvpe(command[0], command, env)


if __name__ == "__main__":
    main()
