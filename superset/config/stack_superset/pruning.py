"""Deletes old rows of Superset's tables `logs` and `query` once a day.

Superset's own pruning is a schedule of Celery, which is not part of this stack. `post_worker_init` of gunicorn_conf.py starts the thread: the
serving process is the one part of Superset that runs in both ways of running.
"""

import logging
import threading
import time
from datetime import timedelta
from typing import Any

KEPT = timedelta(days=90)
EVERY = timedelta(days=1)
# After an error, such as a metadata database that restarts.
RETRY = timedelta(minutes=10)

_logger = logging.getLogger(__name__)


def prune(app: Any) -> None:
    """Deletes events and SQL Lab's queries older than KEPT by Superset's own commands. Saved queries are another table. Raises SQLAlchemyError."""
    from superset.commands.logs.prune import LogPruneCommand
    from superset.commands.sql_lab.query import QueryPruneCommand

    with app.app_context():
        LogPruneCommand(KEPT.days).run()
        QueryPruneCommand(KEPT.days).run()


def _prune_daily(app: Any) -> None:
    while True:
        pause = EVERY
        try:
            prune(app)
        except Exception:
            _logger.exception("Old events were not deleted from Superset's database; next try in %s.", RETRY)
            pause = RETRY
        time.sleep(pause.total_seconds())


def start(app: Any) -> None:
    """Starts the thread, which prunes at once and then every day as long as the process lives."""
    threading.Thread(target=_prune_daily, args=(app,), name="prune", daemon=True).start()
