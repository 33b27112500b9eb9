"""The user of Postgres in a stack that root starts: Postgres refuses to run as root.

It is the system user `ecommerce-postgres`, created at the first boot. If that fails it is `nobody`; then every other program of `nobody` can
read the data.
"""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from stack.errors import StackError

NAME = "ecommerce-postgres"
NOBODY = 65534


@dataclass(frozen=True)
class User:
    uid: int
    gid: int

    def command(self, words: list[str]) -> list[str]:
        """Returns the command to run as this user if this process is root; else the command unchanged."""
        if os.geteuid() != 0:
            return words
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups", *words]

    def own(self, path: Path) -> None:
        """Gives a file or an empty folder to this user if this process is root."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)


def find() -> User:
    """Returns the system user if it exists, else nobody."""
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        return User(NOBODY, NOBODY)
    return User(entry.pw_uid, entry.pw_gid)


def make() -> str:
    """Creates the system user unless it exists; returns "" or the reason of the failure."""
    if find().uid != NOBODY:
        return ""
    program = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        return "useradd is missing"
    words = [
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        "/nonexistent",
        "--shell",
        "/usr/sbin/nologin",
    ]
    answer = subprocess.run([program, *words, NAME], capture_output=True, text=True, check=False)
    if find().uid != NOBODY:
        return ""
    return (answer.stderr.strip().splitlines() or [f"useradd ended with code {answer.returncode}"])[-1].rstrip(".")


def of(data: Path) -> User:
    """Returns the user for the server on `data`: the folder's owner.

    A folder of nobody, or of root after an interrupted move, counts as the system user's as soon as that user exists.
    """
    if not data.exists() or is_unclaimed(data):
        return find()
    status = data.stat()
    return User(status.st_uid, status.st_gid)


def is_unclaimed(data: Path) -> bool:
    """Whether `data` belongs to nobody, or to root in the middle of a move."""
    return data.stat().st_uid in (NOBODY, 0)


def move(data: Path, user: User) -> None:
    """Gives `data`, and its files that belong to nobody, to `user`.

    During the move root owns the folder, so the user nobody cannot interfere. The folder itself is given last, so an interrupted move is detected
    and repeated. Links are given, not followed. Raises StackError if a server runs on `data`, or if a link leads to data that still belongs to
    nobody.
    """
    data = data.resolve()
    if (pid := _server(data)) is not None:
        raise StackError(
            f"A Postgres that this stack did not start (pid {pid}) runs on {data}: stop it, and start again."
        )
    for link in [data / "pg_wal", *(data / "pg_tblspc").glob("*")]:
        if link.is_symlink() and link.exists() and link.stat().st_uid == NOBODY:
            raise StackError(
                f"{link} leads to {link.resolve()}, which belongs to nobody and not to {NAME}: stop the stack, "
                f"`chown -R {user.uid}:{user.gid} {link.resolve()}`, and start it again."
            )
    os.chown(data, 0, 0)
    data.chmod(stat.S_IRWXU)
    for _, folders, files, folder in os.fwalk(data, topdown=False, follow_symlinks=False):
        for name in (*folders, *files):
            if os.stat(name, dir_fd=folder, follow_symlinks=False).st_uid == NOBODY:
                os.chown(name, user.uid, user.gid, dir_fd=folder, follow_symlinks=False)
    os.chown(data, user.uid, user.gid)


def _server(data: Path) -> int | None:
    """Returns the pid of the Postgres that works in `data`; None without one."""
    try:
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        folder = Path(f"/proc/{pid}/cwd").resolve(strict=True)
    except (FileNotFoundError, ProcessLookupError, ValueError, IndexError):
        return None
    return pid if folder == data else None
