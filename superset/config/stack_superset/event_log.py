"""Superset's record of who opened what: written behind the requests, and kept within bounds.

Superset's own logger writes a row three times in each request for a chart and commits each time, and each commit makes the session forget
the user and the dataset, so that both are read again: a third of what such a request asks of the metadata database. Nothing is left out
here; the same rows are written some seconds later, many in one statement.
"""

import atexit
import logging
import threading
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask, current_app
from sqlalchemy import delete, insert
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from superset.utils import json
from superset.utils.log import DBEventLogger

KEPT = timedelta(days=90)
PRUNED_EVERY_SECONDS = 24 * 3600
WRITTEN_EVERY_SECONDS = 5
# Events that wait while the metadata database is away; beyond that the oldest go.
WAITING = 10_000

_logger = logging.getLogger(__name__)


def prune(older_than: datetime) -> None:
    """Deletes log rows and SQL Lab's finished queries from before an instant (naive UTC, as Superset writes them)."""
    from superset.models.core import Log
    from superset.models.sql_lab import Query

    from superset import db

    db.session.execute(delete(Log).where(Log.dttm < older_than))
    # Deleted by SQL and not through the ORM: there may be many. Saved queries are another table.
    db.session.execute(delete(Query).where(Query.changed_on < older_than))
    db.session.commit()


def _dumped(record: Any) -> str | None:
    try:
        return str(json.dumps(record))
    except (TypeError, ValueError, RecursionError):  # Superset logs such an event without it, too.
        return None


class BoundedEventLogger(DBEventLogger):  # type: ignore[misc]
    """Writes Superset's events to its metadata database from a thread of its own, and once a day deletes what is older than KEPT.

    An event stands there WRITTEN_EVERY_SECONDS later, or when the process ends; only a killed process loses what waited.
    """

    def __init__(self) -> None:
        super().__init__()
        self._turn = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: deque[dict[str, Any]] = deque(maxlen=WAITING)
        self._writer: threading.Thread | None = None
        self._pruned: float | None = None

    def log(
        self,
        user_id: int | None,
        action: str,
        dashboard_id: int | None,
        duration_ms: int | None,
        slice_id: int | None,
        referrer: str | None,
        *_args: Any,
        **kwargs: Any,
    ) -> None:
        curated = kwargs.get("curated_payload")
        for record in kwargs.get("records") or ([curated] if curated else []):
            self._waiting.append(
                {
                    "action": action,
                    "json": _dumped(record),
                    "dashboard_id": dashboard_id or record.get("dashboard_id"),
                    "slice_id": slice_id or record.get("slice_id"),
                    "duration_ms": duration_ms,
                    "referrer": referrer,
                    "user_id": user_id,
                    "dttm": datetime.now(UTC).replace(tzinfo=None),
                }
            )
        # The context's own proxy would end with the request.
        self._write_behind(current_app._get_current_object())  # type: ignore[attr-defined]

    def _write_behind(self, app: Flask) -> None:
        with self._turn:
            # A fork takes the logger along, but not its thread.
            if self._writer is None or not self._writer.is_alive():
                self._writer = threading.Thread(target=self._write_on, args=(app,), name="event-log", daemon=True)
                self._writer.start()
                atexit.register(self.write, app)

    def _write_on(self, app: Flask) -> None:
        while True:
            time.sleep(WRITTEN_EVERY_SECONDS)
            self.write(app)

    def write(self, app: Flask) -> None:
        """All that waits, in one statement. While the database is away it goes on waiting."""
        # The end of the context gives the connection back.
        with self._writing, app.app_context():
            rows = [self._waiting.popleft() for _ in range(len(self._waiting))]
            try:
                self._insert(rows)
            except OperationalError:
                _logger.exception("Superset's database took no events; %d wait for it.", len(rows))
                self._waiting.extendleft(reversed(rows))
                return
            try:
                self._prune()
            except SQLAlchemyError:
                _logger.exception(
                    "Old events could not be deleted from Superset's database; the next write tries again."
                )

    def _insert(self, rows: list[dict[str, Any]]) -> None:
        from superset.models.core import Log

        from superset import db

        if not rows:
            return
        try:
            db.session.execute(insert(Log), rows)
            db.session.commit()
        except OperationalError:
            db.session.rollback()
            raise
        except (SQLAlchemyError, ValueError):
            # One of them: its user was deleted meanwhile, or it holds what Postgres has no type for.
            db.session.rollback()
            if len(rows) == 1:
                _logger.exception("An event was refused: %s.", rows[0]["action"])
                return
            for row in rows:
                self._insert([row])

    def _prune(self) -> None:
        now = time.monotonic()
        if self._pruned is None or now - self._pruned > PRUNED_EVERY_SECONDS:
            prune(datetime.now(UTC).replace(tzinfo=None) - KEPT)
            self._pruned = now
