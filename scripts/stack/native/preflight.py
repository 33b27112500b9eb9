"""Checks before the start: each failure is one sentence with the cause and the cure."""

import json
import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from hashlib import scrypt
from pathlib import Path

from stack.env.file import Env
from stack.errors import StackError
from stack.native import database_user, ports, postgres, supervisor
from stack.paths import Paths, shown
from stack.table.services import Service

# A first boot builds about 2 GB of environments and needs room for data; later boots need a little free space.
FIRST_BOOT_BYTES = 4 * 1024**3
LATER_BYTES = 512 * 1024**2

# Secrets on which stored data depends: with another value the data cannot be opened, or masked values change.
BOUND_TO_DATA = (
    "POSTGRES_PASSWORD",
    "POSTGRES_USER",
    "POSTGRES_DB",
    "AIRFLOW_DB_PASSWORD",
    "AIRFLOW_FERNET_KEY",
    "SUPERSET_DB_PASSWORD",
    "SUPERSET_SECRET_KEY",
    "MASK_SALT",
)


def check_room(paths: Paths) -> None:
    """Raises StackError if the disk is too full or the home's path too long for a socket."""
    existing = next(folder for folder in (paths.home, *paths.home.parents) if folder.exists())
    first = not paths.venvs.exists()
    needed = FIRST_BOOT_BYTES if first else LATER_BYTES
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise StackError(
            f"{existing} has {free / 1024**3:.1f} GB free and {needed / 1024**3:.1f} GB are needed: make room, "
            "or set STACK_HOME to a folder on a larger disk."
        )
    if not os.access(existing, os.W_OK):
        raise StackError(f"{existing} cannot be written by this user: set STACK_HOME to a folder that can.")
    longest = len(os.fsencode(supervisor.socket_path(paths)))
    if longest > supervisor.LONGEST_SOCKET:
        raise StackError(
            f"{paths.home} is too long for a unix socket by {longest - supervisor.LONGEST_SOCKET} characters: "
            "set STACK_HOME to a shorter path."
        )


def check_tools(paths: Paths) -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        raise StackError(
            "setpriv is missing, and as root Postgres needs it: install util-linux, or run as another user."
        )


def check_reachable(paths: Paths) -> None:
    """Raises StackError, as root, if the unprivileged user of Postgres cannot enter the folders of its data and programs."""
    if os.geteuid() != 0:
        return
    needed = [paths.data]
    if not postgres.find_system_binaries():
        needed.append(paths.venvs / "postgres")
    for folder in needed:
        for parent in reversed(folder.resolve().parents):
            if parent.exists() and not _may_enter(parent):
                raise StackError(
                    f"Postgres runs as an unprivileged user, who cannot enter {parent}: `chmod o+x {parent}`, "
                    "or set STACK_HOME to a folder that everybody can reach, such as /var/lib/ecommerce-pipeline."
                )


def _may_enter(folder: Path) -> bool:
    status = folder.stat()
    if status.st_uid in (database_user.NOBODY, database_user.find().uid):
        return bool(status.st_mode & stat.S_IXUSR)
    return bool(status.st_mode & stat.S_IXOTH)


@dataclass(frozen=True)
class Data:
    """Data of an earlier boot: its place, and the command that removes it if `.env` is gone."""

    place: str
    removal: str


def native_data(paths: Paths) -> Data | None:
    if not (paths.data / "postgres").exists():
        return None
    return Data(str(paths.data), f"delete {paths.home}")


CONTAINER_DATA = Data(
    "The volumes of ecommerce-pipeline",
    "remove them by `docker volume rm $(docker volume ls -q --filter label=com.docker.compose.project=ecommerce-pipeline)`",
)


def check_data_has_its_env(paths: Paths, data: Data | None) -> None:
    """Raises StackError for data without its `.env`: new secrets could not open it."""
    if data is not None and not os.path.lexists(paths.env_file):
        raise StackError(
            f"There is data ({data.place}), but {shown(paths.env_file)} with its secrets is gone: put that file back, or "
            f"{data.removal} to start anew."
        )


def _digest(value: str, salt: str) -> str:
    return scrypt(value.encode(), salt=salt.encode(), n=2**12, r=8, p=1, dklen=16).hex()


def check_secrets(paths: Paths, env: Env) -> None:
    """Refuses a changed secret on which data depends. At the first boot it stores salted digests of them beside the data."""
    note = paths.data / "secrets.json"
    if not note.exists():
        salt = secrets.token_hex(16)
        digests = {name: _digest(env.text(name), salt) for name in BOUND_TO_DATA}
        staging = note.with_suffix(".new")
        staging.touch(mode=0o600)
        staging.write_text(json.dumps({"salt": salt, "digests": digests}))
        staging.replace(note)
        return
    raw = json.loads(note.read_text())
    for name, digest in raw["digests"].items():
        if name in BOUND_TO_DATA and _digest(env.text(name), raw["salt"]) != digest:
            raise StackError(
                f"{name} in {shown(paths.env_file)} is not the one that the data in {paths.data} was made with: "
                "put the old value back, or `./stop.sh --wipe` to start with empty data."
            )


def check_ports(env: Env, rows: list[Service], running: set[str]) -> None:
    """Raises StackError if a port of a service that does not run yet is taken."""
    for row in rows:
        for name in row.ports(env) if row.name not in running else ():
            port = int(env.text(name))
            if not ports.is_free(env.BIND_ADDRESS, port):
                raise StackError(
                    f"{name}={port} is taken by {ports.holder(port)}: stop that program, or change {name} in .env."
                )
