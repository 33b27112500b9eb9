"""The worker: `python -m webhook.worker`. Runs what is queued, one dbt at a time, until it gets SIGTERM or SIGINT."""

import logging
import os
import signal
import sys
import time
from typing import Any

from environment.reading import SettingsError
from warehouse.client import Warehouse
from warehouse.errors import PipelineError, WarehouseError

from webhook.dbt.command import dbt_environment
from webhook.dbt.process import DbtHost
from webhook.dbt.queries import kill_queries
from webhook.publishing import Publisher
from webhook.queue.database import Database
from webhook.queue.runs import Run
from webhook.queue.store import RunStore
from webhook.settings import Settings
from webhook.worker.documentation import Documentation
from webhook.worker.execution import Execution
from webhook.worker.lock import worker_lock
from webhook.worker.notices import notices
from webhook.worker.publish_barrier import PublishBarrier
from webhook.worker.reporter import HEARTBEAT, Reporter
from webhook.worker.stop import Stop

# Short enough that nobody notices the wait; one poll of an idle queue takes 50 microseconds.
_IDLE = 0.01
_BEAT = 1.0
_PRUNE_EVERY = 3600.0

TIMEOUTS: dict[str, Any] = {"connect_timeout": 5, "answer_timeout": 15, "retries": 0}
"""Of the clients (seconds): a warehouse that hangs must not hold up the queue, and whoever asks asks again."""

logger = logging.getLogger(__name__)


class Worker:
    """Executes the queue, one run after the other."""

    def __init__(self, settings: Settings, stop: Stop) -> None:
        self._settings = settings
        self._stop = stop
        self._store = RunStore(Database(settings.database))
        self._reporter = Reporter(self._store, Warehouse(settings.warehouse("webhook"), **TIMEOUTS))
        self._warehouse = Warehouse(settings.warehouse("dbt"), **TIMEOUTS)
        self._barrier = PublishBarrier(self._store, self._reporter, self._warehouse, patience=settings.publish_wait)
        self._publisher = Publisher(settings)
        self._host = DbtHost(settings.project, settings.dbt_target, dbt_environment(os.environ, settings))
        was_built = bool(self._store.latest(limit=1, status="success"))
        self._documentation = Documentation(settings, self._host, was_built=was_built)
        self._notices = notices(self._store, settings)
        # Queries of a dbt that another worker left, or that we ended, may still run.
        self._may_have_leftovers = True
        self._beaten_at = 0.0
        self._pruned_at = 0.0

    def work(self) -> None:
        """Recovers what a killed worker left, then executes runs until told to stop. Call it only while holding the lock."""
        self._prepare()
        self._host.warm_up()
        for cut in self._store.recover():
            logger.warning("run %s was cut by a kill: now %s", cut.id, cut.status)
        self._recover_publish()
        self._reporter.start()
        self._notices.start()
        logger.info("ready")
        while not self._stop.is_asked:
            self._beat()
            run = self._store.next_queued()
            if run is None:
                self._rest()
                continue
            self._do(run)
        self._host.close()
        self._notices.stop()
        self._reporter.stop(5.0)

    def _rest(self) -> None:
        """Idle work; none of it may delay a run."""
        self._host.keep_warm()
        self._prune()
        if self._documentation.is_due:
            self._documentation.write(is_wanted=self._is_idle)
        self._stop.wait(_IDLE)

    def _is_idle(self) -> bool:
        # The catalog of a large project takes minutes.
        self._beat()
        return not self._stop.is_asked and self._store.next_queued() is None

    def _do(self, run: Run) -> None:
        if not self._barrier.wait(run, self._stop, self._beat):
            self._reporter.wake()
            return
        attempt = self._store.count_attempt(run.id)
        logger.info("run %s: attempt %d begins", run.id, attempt)
        heartbeat_at = time.monotonic()

        def look() -> None:
            nonlocal heartbeat_at
            self._beat()
            if time.monotonic() - heartbeat_at >= HEARTBEAT:
                heartbeat_at = time.monotonic()
                self._store.beat(run.id)
                self._reporter.wake()

        execution = Execution(self._store, self._host, self._settings, run, attempt=attempt, stop=self._stop)
        self._end_leftovers()
        outcome = self._publisher.run(run, attempt, lambda: execution.run(look))
        self._may_have_leftovers = outcome.was_forced
        self._end_leftovers()
        if outcome.status == "stopped":
            self._store.requeue(run.id, outcome.error)
        else:
            self._store.finish(run.id, outcome.status, outcome.error)
        self._reporter.wake()
        self._notices.wake()
        if outcome.status == "success" and run.request.command in ("build", "docs"):
            self._documentation.is_due = True
        logger.info("run %s: %s%s", run.id, outcome.status, f": {outcome.error}" if outcome.error else "")

    def _end_leftovers(self) -> None:
        """Kills queries of an earlier dbt, which must not write beside the next one."""
        if not self._may_have_leftovers:
            return
        try:
            kill_queries(self._warehouse)
            self._may_have_leftovers = False
        except WarehouseError as error:
            logger.warning("%s; queries of an ended dbt may still run", error)

    def _recover_publish(self) -> None:
        """Completes an interrupted publish now, so that readers need not wait for the next run."""
        try:
            published = self._publisher.recover().published
        except PipelineError as error:
            logger.warning("%s; a publish that was cut is finished when the next run begins", error)
            return
        if published:
            logger.warning("a publish was cut by a kill: published %s", ", ".join(published))

    def _prepare(self) -> None:
        for folder in (self._settings.home / "logs", self._settings.dbt_target, self._settings.documentation.parent):
            folder.mkdir(parents=True, exist_ok=True)

    def _beat(self) -> None:
        # Without the reporter the loader would see no heartbeat of a running dbt.
        if not self._reporter.is_alive:
            raise RuntimeError("the reporter of ops events has failed, see the traceback above; the worker starts anew")
        if not self._beaten_at or time.monotonic() - self._beaten_at > _BEAT:
            self._beaten_at = time.monotonic()
            os.utime(self._settings.worker_lock)

    def _prune(self) -> None:
        if self._pruned_at and time.monotonic() - self._pruned_at < _PRUNE_EVERY:
            return
        self._pruned_at = time.monotonic()
        for run_id in self._store.prune(keep_days=self._settings.keep_days, keep_runs=self._settings.keep_runs):
            self._settings.run_log(run_id).unlink(missing_ok=True)


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        settings = Settings.from_environ(os.environ)
    except SettingsError as error:
        logger.error("The webhook's worker cannot start: %s", error)
        return 2
    stop = Stop(settings.stop_grace)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.ask())
    with worker_lock(settings.worker_lock, stop) as held:
        if held:
            Worker(settings, stop).work()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
