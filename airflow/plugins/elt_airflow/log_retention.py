"""Deletes Airflow's old task logs, by age and by size."""

import logging
import os
import time
from pathlib import Path

from environment.reading import read

from elt_airflow.settings import LogRetention

log = logging.getLogger(__name__)

LOGS_DAYS = 30
LOGS_BYTES = 2_000_000_000


def remove_old_logs(
    folder: Path | None = None, *, days: float = LOGS_DAYS, most_bytes: int = LOGS_BYTES, now: float | None = None
) -> int:
    """Removes log files older than `days`, then the oldest until at most `most_bytes` are left, then empty folders.

    Keeps files of the last hour, which a task may still write. Returns the number of removed files.
    """
    folder = folder or read(LogRetention, os.environ).folder
    now = time.time() if now is None else now
    files = sorted((file.stat().st_mtime, file.stat().st_size, file) for file in folder.rglob("*") if _is_file(file))
    total, removed = sum(size for _, size, _ in files), 0
    for modified, size, file in files:
        if modified > now - 3600 or (modified >= now - days * 86400 and total <= most_bytes):
            break
        file.unlink(missing_ok=True)
        total, removed = total - size, removed + 1
    _remove_empty_folders(folder, older_than=now - 86400)
    log.info("Removed %d log files; %.1f MB are left", removed, total / 1e6)
    return removed


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _remove_empty_folders(folder: Path, *, older_than: float) -> None:
    for inner in sorted((path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink()), reverse=True):
        if inner.stat().st_mtime < older_than and not any(inner.iterdir()):
            inner.rmdir()
