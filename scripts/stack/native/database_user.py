"""The user that Postgres runs as where the stack is started by root, which Postgres refuses.

It is the system user `ecommerce-postgres`, made at the first boot. Where it cannot be made it is `nobody`, whose files every
other program that runs as `nobody` can read.
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
        """The same command as this user when we are root; itself otherwise."""
        if os.geteuid() != 0:
            return words
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups", *words]

    def own(self, path: Path) -> None:
        """Make a file or an empty folder belong to this user when we are root."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)


def find() -> User:
    """The system user where it exists, else nobody."""
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        return User(NOBODY, NOBODY)
    return User(entry.pw_uid, entry.pw_gid)


def make() -> str:
    """Make the system user unless it exists; returns "" or why it could not be made."""
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
    """The user for the server on `data`: the folder's owner.

    A folder of nobody, or of root where a move was cut, is the system user's as soon as there is one.
    """
    if not data.exists() or is_unclaimed(data):
        return find()
    status = data.stat()
    return User(status.st_uid, status.st_gid)


def is_unclaimed(data: Path) -> bool:
    """Whether `data` is nobody's, or root's in the middle of a move."""
    return data.stat().st_uid in (NOBODY, 0)


def move(data: Path, user: User) -> None:
    """Give `data`, and what nobody owns in it, to `user`.

    The folder is root's while its contents move, so that nobody can put anything in the way; it is given last, so that a cut move
    is seen and done again. Links are given and not followed. Raises StackError where a server runs on `data`, or a link leads to
    data that is still nobody's.
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
    """The pid of the Postgres that works in `data`."""
    try:
        pid = int((data / "postmaster.pid").read_text().splitlines()[0])
        folder = Path(f"/proc/{pid}/cwd").resolve(strict=True)
    except (FileNotFoundError, ProcessLookupError, ValueError, IndexError):
        return None
    return pid if folder == data else None
