"""Deletes Airflow's old metadata."""

import logging
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from environment.reading import read

from elt_airflow.guard import no_retry_on_terminal_errors
from elt_airflow.settings import MetadataRetention

log = logging.getLogger(__name__)

METADATA_DAYS = 90


def clean_metadata(days: int = METADATA_DAYS) -> None:
    """Removes rows older than `days` by `airflow db clean`.

    Airflow hides the database's address from task processes, but this command needs it. The scheduler passes it in another variable; it never
    appears on a command line.
    """
    with no_retry_on_terminal_errors():
        settings = read(MetadataRetention, os.environ)
    before = datetime.now(UTC) - timedelta(days=days)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("_AIRFLOW")}
    environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = settings.database.get_secret_value()
    environment.pop("AIRFLOW__CORE__SQL_ALCHEMY_CONN", None)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "airflow", "db", "clean", "--yes", "--skip-archive"),
            *("--clean-before-timestamp", before.isoformat()),
        ],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    for line in done.stdout.splitlines():
        log.info(line)
    if done.returncode:
        raise RuntimeError(f"airflow db clean ended with {done.returncode}; its last words are above.")
