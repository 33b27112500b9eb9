"""Runs dbt and publishes its build: cleans up before, swaps after."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from warehouse import records
from warehouse.client import Warehouse
from warehouse.errors import PipelineError
from warehouse.swap import NO_UUID

from webhook.publishing import journal
from webhook.publishing.failing_rows import FailingRows, failing_rows, failing_tables
from webhook.publishing.journal import Entry, JournalError, roll_forward
from webhook.publishing.misfits import NOT_PUBLISHABLE, describe, sort_out
from webhook.publishing.names import FAILED, MARK, published_name
from webhook.publishing.relations import Relation, drop, drop_unpublished, relations
from webhook.publishing.views import ViewError, point_to_published
from webhook.queue.runs import Run, RunRequest
from webhook.settings import Settings
from webhook.worker.execution import Outcome
from webhook.worker.run_log import RunLog

# Dropping a large table may take longer than an answer to a question.
_TIMEOUTS: dict[str, Any] = {"connect_timeout": 5, "answer_timeout": 300, "retries": 0}
_ROWS_IN_ERROR = 600

logger = logging.getLogger(__name__)


class PublishError(Exception):
    """The build cannot be published; the message says what and why."""


@dataclass(frozen=True)
class Recovered:
    """Tables that recovery published, and a sentence for each journal entry that was set aside."""

    published: tuple[str, ...] = ()
    set_aside: tuple[str, ...] = ()


class Publisher:
    """Publishes for the active worker; two must never publish at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._warehouse = Warehouse(settings.warehouse("dbt"), **_TIMEOUTS)
        self._writer = Warehouse(settings.warehouse("webhook"), **_TIMEOUTS)

    def recover(self) -> Recovered:
        """Completes interrupted publishes, and sets aside entries that do not fit. Raises WarehouseError or TransientError."""
        entries = journal.open_entries(self._writer)
        if not entries:
            return Recovered()
        found = sort_out(self._warehouse, entries)
        for entry in found.set_aside:
            logger.error("%s", describe(entry))
        records.append(self._writer, found.set_aside)
        closed = [entry for one in found.publishes for entry in roll_forward(self._warehouse, self._writer, one)]
        published = tuple(entry.target for entry in closed if entry.status == "done")
        return Recovered(published, tuple(map(describe, found.set_aside)))

    def run(self, run: Run, attempt: int, execute: Callable[[], Outcome]) -> Outcome:
        """Runs dbt by `execute` and publishes its build if everything succeeded.

        After any failure the published tables stay as they were, and the next build starts from them.
        """
        if run.request.command not in ("build", "test"):
            return execute()
        try:
            recovered = self.recover()
            failed_before = self._clear(run.request)
        except PipelineError as error:
            return Outcome("error", f"dbt was not started: {error}. Nothing was changed; start the run again.")
        if recovered.set_aside:
            with RunLog(self._settings.run_log(run.id), limit=self._settings.log_bytes) as log:
                for told in recovered.set_aside:
                    log.write_always(told)
        outcome = execute()
        with RunLog(self._settings.run_log(run.id), limit=self._settings.log_bytes) as log:
            try:
                outcome = self._end(run, attempt, outcome, failing_rows(self._warehouse, before=failed_before), log)
            except (PipelineError, PublishError, ViewError, JournalError) as error:
                outcome = self._not_published(outcome, str(error))
            if outcome.status == "error":
                log.write_always(f"Ended: {outcome.error}")
        return outcome

    def _clear(self, request: RunRequest) -> dict[str, UUID]:
        """Drops the rest of an earlier build. Returns the tables of failing rows that stay.

        A full build repeats all tests, so none of them stays then.
        """
        existing = relations(self._warehouse)
        stays = failing_tables(existing)
        if request.command == "build" and not request.select and not request.exclude:
            stays = {}
        old = [name for name in existing if MARK in name or (name.startswith(FAILED) and name not in stays)]
        drop(self._warehouse, sorted(old))
        return stays

    def _end(self, run: Run, attempt: int, outcome: Outcome, failed: list[FailingRows], log: RunLog) -> Outcome:
        for rows in failed:
            log.write(f"Failing rows: {rows}")
        if outcome.status == "success":
            published = self._publish(run.id, attempt)
            if published:
                log.write_always(f"Published: {', '.join(published)}")
            return outcome
        if not outcome.was_forced:
            # After a kill a query may still write; the next run drops the rest.
            drop_unpublished(self._warehouse)
        if outcome.status == "error" and failed:
            told = "; ".join(map(str, failed))[:_ROWS_IN_ERROR]
            return replace(outcome, error=f"{outcome.error.rstrip('.')}. Failing rows: {told}")
        return outcome

    def _not_published(self, outcome: Outcome, why: str) -> Outcome:
        if outcome.status != "success":
            logger.warning("after a run that failed: %s", why)
            return outcome
        return Outcome(
            "error",
            f"dbt succeeded, but its result is not published: {why.rstrip('.')}. What is published stays whole, or"
            " becomes so when the next run begins; start the run again.",
        )

    def _publish(self, run_id: str, attempt: int) -> list[str]:
        """Swaps the whole build in. Returns the published names."""
        existing = relations(self._warehouse)
        built = {name for name in existing if name.endswith(MARK)}
        if point_to_published(self._warehouse, built):
            existing = relations(self._warehouse)
        entries = [
            _entry(run_id, attempt, existing[name], existing.get(published_name(name))) for name in sorted(built)
        ]
        if not entries:
            return []
        journal.open_journal(self._writer, entries)
        closed = roll_forward(self._warehouse, self._writer, entries)
        given_up = [entry.target for entry in closed if entry.status != "done"]
        if given_up:
            raise PublishError(f"{', '.join(given_up)} was replaced by somebody else meanwhile")
        drop_unpublished(self._warehouse)
        return [entry.target for entry in closed]


def _entry(run_id: str, attempt: int, new: Relation, old: Relation | None) -> Entry:
    target = published_name(new.name)
    if new.engine in NOT_PUBLISHABLE:
        raise PublishError(
            f"{target} is a {new.engine}, which would go on reading the tables of this build:"
            " materialize it as table, incremental or view"
        )
    uuid = old.uuid if old is not None else NO_UUID
    return Entry(run_id, attempt, target, "open", uuid, new.uuid, new.rows, records.now())
