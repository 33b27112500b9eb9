"""Keeps dbt from reading raw while the loader swaps its tables.

Each side first writes its own row to `ops`, then reads the other's. Of two that start together, at least one sees the other. dbt yields: its
run is requeued, which lets a waiting publish go on, and is tried again.
"""

import time
from collections.abc import Callable

from warehouse.client import Warehouse
from warehouse.errors import WarehouseError
from warehouse.turns import OpenPublish, open_publishes

from webhook.queue.runs import Run
from webhook.queue.store import RunStore
from webhook.worker.reporter import Reporter
from webhook.worker.stop import Stop

RECOVER = "scripts/exec airflow-scheduler python -m elt recover"
_PAUSE = 1.0


class PublishBarrier:
    """Delays a dbt run until no publish is open."""

    def __init__(self, store: RunStore, reporter: Reporter, warehouse: Warehouse, *, patience: float) -> None:
        self._store = store
        self._reporter = reporter
        self._warehouse = warehouse
        self._patience = patience

    def wait(self, run: Run, stop: Stop, beat: Callable[[], None]) -> bool:
        """Waits until dbt may start. Returns True when the run is `running` and no publish is open.

        Returns False if the run was cancelled, if the worker is stopping (the run keeps its place in the queue), or if the loader or ClickHouse was
        not ready within `patience` seconds; then the run has ended as an error.
        """
        deadline = time.monotonic() + self._patience
        while self._store.begin(run.id):
            obstacle = self._obstacle(report=True)
            if obstacle is None:
                return True
            self._store.requeue(run.id, obstacle)
            self._reporter.wake()
            while obstacle is not None:
                if time.monotonic() >= deadline:
                    self._store.finish(run.id, "error", obstacle)
                    return False
                stop.wait(_PAUSE)
                beat()
                if stop.is_asked:
                    return False
                current = self._store.get(run.id)
                if current is None or current.status != "queued":
                    return False
                obstacle = self._obstacle(report=False)
        return False

    def _obstacle(self, *, report: bool) -> str | None:
        """Returns why dbt must not start yet, as a sentence with the cure; None if it may."""
        try:
            if report:
                self._reporter.report()
            publishes = open_publishes(self._warehouse)
        except WarehouseError as error:
            return f"{error}. Start ClickHouse or mend its address and passwords in .env, then start the run again."
        return _obstacle_message(publishes[0]) if publishes else None


def _obstacle_message(publish: OpenPublish) -> str:
    tables = ", ".join(f"raw.{table}" for table in publish.tables)
    return (
        f"The loader's run {publish.run} has not finished publishing {tables} (last sign of life"
        f" {publish.seconds_since_heartbeat:.0f} s ago), so raw may be half new: run `{RECOVER}`, then start dbt again."
    )
