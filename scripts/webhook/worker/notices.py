"""Notices of how runs ended, for NOTIFY_URL; the record of runs is their outbox."""

from collections.abc import Iterator
from datetime import UTC, datetime

from notify.outbox import RETRIES, Ending, Postman
from notify.sender import Event, Sender

from webhook.queue.runs import Run
from webhook.queue.store import RunStore
from webhook.settings import Settings


class _Runs:
    """The outbox."""

    def __init__(self, store: RunStore, *, is_read: bool, success: bool) -> None:
        self._store = store
        self._statuses = {"error", "interrupted", *(("success",) if success else ())} if is_read else set()

    def due(self) -> Iterator[tuple[str, Event | None]]:
        for run in self._store.pending_notices():
            yield run.id, event(run) if run.status in self._statuses else None

    def close(self, key: str, ending: Ending) -> None:
        self._store.close_notice(key, ending)


def notices(store: RunStore, settings: Settings, *, retries: tuple[float, ...] = RETRIES) -> Postman:
    """The sender of notices, not yet started."""
    url = settings.notify_url.get_secret_value() if settings.notify_url else ""
    secrets = settings.notify_secrets or settings.signing_secrets
    sender = Sender(url, [secret.get_secret_value() for secret in secrets])
    return Postman(_Runs(store, is_read=bool(url), success=settings.notify_success), sender, retries=retries)


def event(run: Run) -> Event:
    """The event of a run that has ended."""
    kind = "dbt.run.succeeded" if run.status == "success" else "dbt.run.failed"
    return Event(kind, run.as_json(), run.ended_at or datetime.now(UTC), f"msg_{run.id}")
