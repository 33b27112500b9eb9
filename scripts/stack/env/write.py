"""Writes `.env` atomically, readable by its owner only, and keeps a copy of the old file."""

import os
from pathlib import Path

from stack.errors import StackError
from stack.paths import shown


def write_new(file: Path, lines: list[str]) -> None:
    """Writes `file` atomically with mode 600; keeps the old file beside it as `.bak`.

    A link stays a link: its target is written. Raises StackError if the folder is not writable.
    """
    target = file.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            _replace(target.with_name(target.name + ".bak"), target.read_bytes(), like=target)
        _replace(target, ("\n".join(lines).strip("\n") + "\n").encode(), like=target)
    except OSError as error:
        raise StackError(
            f"{shown(file)} could not be written ({error.strerror}), and is as it was: make room, or let this user "
            "write its folder."
        ) from None


def _replace(file: Path, content: bytes, *, like: Path) -> None:
    staging = file.with_name(file.name + ".new")
    staging.unlink(missing_ok=True)
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as sink:
            # Root may write the file of another user, who must still be able to read it.
            if os.geteuid() == 0 and like.exists():
                os.fchown(descriptor, like.stat().st_uid, like.stat().st_gid)
            sink.write(content)
            sink.flush()
            os.fsync(descriptor)
        staging.replace(file)
    except OSError:
        staging.unlink(missing_ok=True)
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
