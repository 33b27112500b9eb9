"""Lets one verb at a time work on a stack."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from stack.errors import StackError
from stack.paths import Paths


@contextmanager
def only_one(paths: Paths, verb: str) -> Iterator[None]:
    """Holds the stack's lock. Raises StackError at once, naming the holder. The kernel frees the lock of a killed holder."""
    paths.run.mkdir(parents=True, exist_ok=True)
    with (paths.run / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StackError(
                f"{file.read().strip() or 'Another command'} is at work on this stack: wait for its end."
            ) from None
        file.truncate(0)
        file.write(f"{verb} (pid {os.getpid()})")
        file.flush()
        yield
