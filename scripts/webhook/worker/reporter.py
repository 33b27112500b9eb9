"""Copies the record of runs to ClickHouse's `ops`. ClickHouse may be down; the record may not."""

import logging
import threading

from warehouse.client import Warehouse
from warehouse.errors import WarehouseError

from webhook.queue.database import now
from webhook.queue.store import RunStore
from webhook.worker.run_records import write_nodes, write_runs

HEARTBEAT = 5.0
_BATCH = 500

logger = logging.getLogger(__name__)


class Reporter:
    """Copies every change of runs and nodes to `ops`, in the order of the record, from its own thread and on demand.

    It repeats a change until ClickHouse has accepted it. Duplicates do no harm: the tables keep the row of the highest version.
    """

    def __init__(self, store: RunStore, warehouse: Warehouse) -> None:
        self._store = store
        self._warehouse = warehouse
        self._turn = threading.Lock()
        self._wake = threading.Event()
        self._ending = False
        self._is_away = False
        self._version = 0
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def wake(self) -> None:
        """Makes the thread report soon; does not wait."""
        self._wake.set()

    def stop(self, seconds: float) -> None:
        """Reports what is left and ends, within `seconds`; the next worker reports the rest."""
        self._ending = True
        self._wake.set()
        self._thread.join(seconds)

    def report(self) -> None:
        """Reports all unreported changes now. Raises WarehouseError."""
        with self._turn:
            while True:
                runs = self._store.unreported_runs(_BATCH)
                nodes = self._store.unreported_nodes(_BATCH)
                if not runs and not nodes:
                    return
                self._version = max(self._version + 1, now())
                write_nodes(self._warehouse, nodes, version=self._version)
                write_runs(self._warehouse, runs, version=self._version)
                self._store.mark_reported(runs, nodes)

    def _run(self) -> None:
        while True:
            ending = self._ending
            try:
                self.report()
                if self._is_away:
                    logger.info("ClickHouse takes ops events again")
                self._is_away = False
            except WarehouseError as error:
                if not self._is_away:
                    logger.warning("%s; ops events are kept and sent later", error)
                self._is_away = True
            if ending:
                return
            self._wake.wait(HEARTBEAT)
            self._wake.clear()
