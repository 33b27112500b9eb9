"""Superset's record of who opened what, kept within bounds: it has no end of its own unless Celery runs."""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from superset.utils.log import DBEventLogger

KEPT = timedelta(days=90)
PRUNED_EVERY_SECONDS = 24 * 3600


def prune(older_than: datetime) -> None:
    """Deletes log rows and SQL Lab's finished queries from before an instant (naive UTC, as Superset writes them)."""
    from sqlalchemy import delete
    from superset.models.core import Log
    from superset.models.sql_lab import Query

    from superset import db

    db.session.execute(delete(Log).where(Log.dttm < older_than))
    # Deleted by SQL and not through the ORM: there may be many. Saved queries are another table.
    db.session.execute(delete(Query).where(Query.changed_on < older_than))
    db.session.commit()


class BoundedEventLogger(DBEventLogger):  # type: ignore[misc]
    """Writes to the metadata database as Superset does by default, and once a day deletes what is older than KEPT."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = threading.Lock()
        self._pruned: float | None = None

    def _due(self) -> bool:
        with self._turn:
            now = time.monotonic()
            if self._pruned is not None and now - self._pruned < PRUNED_EVERY_SECONDS:
                return False
            self._pruned = now
            return True

    def log(self, *args: Any, **kwargs: Any) -> None:
        super().log(*args, **kwargs)
        if self._due():
            prune(datetime.now(UTC).replace(tzinfo=None) - KEPT)
