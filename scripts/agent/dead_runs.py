"""Closes runs of the loader that stand as `running` although they are dead.

Airflow's callback closes a failed run within seconds, unless the dag-processor, which calls it, is away. Then this does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack

from elt.publishing import recovery
from elt.publishing.leases import run_lease, run_lease_is_free
from notify.sender import Event
from warehouse import ops
from warehouse.client import Warehouse
from warehouse.leases import LeaseTakenError

from agent.airflow import GONE, Airflow

HOLDER = "elt-agent, closing dead runs"
# Shorter than a run waits for the lease of its source, which is held meanwhile.
WAIT_SECONDS = 15.0
ERRORS: Mapping[str, str] = {
    "failed": "The DAG run failed in Airflow, and its callback did not close this run; nothing was published, start a new run",
    "success": "The DAG run is a success in Airflow, but this run has not published; nothing was changed, start a new run",
    GONE: "Airflow has no such DAG run any more; nothing was published, start a new run",
}
"""Errors for ops.runs, by Airflow's verdict: a state after which no task runs unless a person clears it."""

logger = logging.getLogger(__name__)


class DeadRuns:
    """Compares the runs that are `running` in ops.runs with Airflow, and closes those that are dead.

    A run of Airflow is dead when two rounds in a row found the same verdict; one by hand, when nobody holds the lease of its source.
    Left to the next run: runs by hand whose process cannot be seen from here, and runs from before runs had a source's name.
    """

    def __init__(self, warehouse: Warehouse, airflow: Airflow, notify: Callable[[Event], None]) -> None:
        self._warehouse = warehouse
        self._airflow = airflow
        self._notify = notify
        self._ended: dict[int, str] = {}
        """Verdicts of the last round, by run."""

    def look(self) -> None:
        """One round. Raises PipelineError when Airflow or the warehouse does not answer, or a publish cannot be finished now."""
        running = [run for run in ops.running(self._warehouse) if run.source_name]
        for source_name in sorted({run.source_name for run in running if _is_by_hand(run)}):
            # Not by taking the lease over: a process that is only stopped may go on.
            if run_lease_is_free(self._warehouse, source_name):
                self._close(source_name, {})
        of_airflow = [run for run in running if not _is_by_hand(run) and all(_dag_run(run))]
        before, self._ended = self._ended, self._verdicts(of_airflow)
        dead = [run for run in of_airflow if run.run in self._ended and before.get(run.run) == self._ended[run.run]]
        for source_name in sorted({run.source_name for run in dead}):
            self._close(source_name, {run.run: run for run in dead if run.source_name == source_name})

    def _verdicts(self, runs: Iterable[ops.Run]) -> dict[int, str]:
        """Returns the verdicts of Airflow on runs that have one."""
        states = {run.run: self._airflow.state(*_dag_run(run)) for run in runs}
        return {run: state for run, state in states.items() if state in ERRORS}

    def _close(self, source_name: str, dead: Mapping[int, ops.Run]) -> None:
        """Closes `dead`, and runs by hand of the source, as the next run would: journals first, leftovers last."""
        errors = {run: ERRORS[self._ended[run]] for run in dead}
        with ExitStack() as lease:
            try:
                lease.enter_context(run_lease(self._warehouse, source_name, holder=HOLDER, wait_seconds=0))
            except LeaseTakenError as taken:
                self._close_beside(taken.holder, dead, errors)
                return
            recovered = recovery.recover(
                self._warehouse, source_name, holder=HOLDER, dead=errors, wait_seconds=WAIT_SECONDS
            )
        for name in recovered.dropped:
            logger.info("dropped raw.%s, which a run had left", name)
        self._tell(recovered.closed_runs)

    def _close_beside(self, holder: str, dead: Mapping[int, ops.Run], errors: Mapping[int, str]) -> None:
        """Closes `dead` while another run of the source is at work, which drops their tables when it has published."""
        # Airflow has given up a task that still holds the lease: it is waited for.
        others = [run.run for run in dead.values() if not holder.startswith(f"{run.run_key}, ")]
        self._tell([run for run in others if recovery.close_unpublished(self._warehouse, run, errors[run])])

    def _tell(self, closed: Iterable[int]) -> None:
        for run in ops.known_runs(self._warehouse, closed).values():
            logger.warning("closed run %d (%s) as %s: %s", run.run, run.run_key, run.status, run.error or "published")
            if run.status == "failed" and not _is_by_hand(run):
                dag_id, run_id = _dag_run(run)
                self._notify(Event("airflow.run.failed", {"dag": dag_id, "run": run_id, "error": run.error}))


def _is_by_hand(run: ops.Run) -> bool:
    return run.run_key.startswith(recovery.CLI_PREFIX)


def _dag_run(run: ops.Run) -> tuple[str, str]:
    """Returns the ids of a run's DAG and DAG run."""
    dag_id, _, run_id = run.run_key.partition("/")
    return dag_id, run_id
