"""The lock that makes a worker the one worker. The kernel frees it when the process dies, however it dies."""

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from webhook.worker.stop import Stop

_PAUSE = 0.5

logger = logging.getLogger(__name__)


@contextmanager
def worker_lock(path: Path, stop: Stop) -> Iterator[bool]:
    """Waits for the lock and holds it; yields False if told to stop before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        tries = 0
        while not stop.is_asked:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tries += 1
                # Not after the first try: `is_held` may have held the lock for an instant.
                if tries == 2:
                    logger.info("another worker holds %s; waiting until it ends", path)
                stop.wait(_PAUSE)
                continue
            yield True
            return
        yield False


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock. Raises FileNotFoundError if none ever has."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
