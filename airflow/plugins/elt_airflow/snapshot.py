"""Passes the run's one snapshot from the task that holds it to the load tasks."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError, AirflowSkipException

from elt_airflow.guard import no_retry_on_terminal_errors
from elt_airflow.runs import run_number

log = logging.getLogger(__name__)

GROUP = "load_data"
HOLD = f"{GROUP}.hold_snapshot"
KEY = "snapshot"
FINAL = ("success", "failed", "skipped", "upstream_failed", "removed")
BEGUN = (*FINAL, "running", "up_for_retry", "deferred", "restarting")

PLACE_SECONDS = 600.0
"""How long the holder waits for a first load, and a load for the holder, before it frees its slot."""
POLL_SECONDS = 1.0
API_AWAY_SECONDS = 300.0


class NoPlaceError(Exception):
    """The holder has not begun: the load frees its slot and retries later."""


# Highest priority: every load waits for it. No retries: a second snapshot would be another instant.
@task(  # type: ignore[untyped-decorator]
    retries=0, priority_weight=1000, weight_rule="absolute", execution_timeout=timedelta(hours=7)
)
def hold_snapshot(ti: Any = None) -> None:
    """Locks the tables of the run, exports one snapshot of the source, and holds both until every load has ended."""
    with no_retry_on_terminal_errors():
        from elt.runs.run import hold_snapshot as hold
        from elt.runs.snapshot import HeldSnapshot
        from elt.settings import read_settings

        def ready(held: HeldSnapshot) -> None:
            expires = held.expires_at.isoformat(timespec="seconds")
            hand_over = {"snapshot": held.snapshot, "run": held.run, "expires_at": expires}
            _patiently(lambda: ti.xcom_push(KEY, hand_over))
            log.info("Snapshot %s is held for the loads of run %s, until %s at most", held.snapshot, held.run, expires)

        hold(read_settings(), run=run_number(ti), ready=ready, finished=Loads(ti).ended, tell=log.info)


class Loads:
    """States of the run's load tasks in Airflow."""

    def __init__(self, ti: Any) -> None:
        self._ti = ti
        self._begun = False
        self._deadline = time.monotonic() + PLACE_SECONDS

    def ended(self) -> bool:
        """Whether every load is in a final state. Raises AirflowFailException if none could begin beside the holder in time."""
        states = {name: state for name, state in _states(self._ti, task_group_id=GROUP).items() if name != HOLD}
        self._begun = self._begun or any(state in BEGUN for state in states.values())
        if states and not self._begun and time.monotonic() > self._deadline:
            raise AirflowFailException(
                f"No load could begin within {PLACE_SECONDS / 60:.0f} minutes beside the task that holds the snapshot; "
                "Airflow needs places for two tasks at least (AIRFLOW__CORE__PARALLELISM), then start a new run"
            )
        return all(state in FINAL for state in states.values())


def handed_over(ti: Any, run: int, *, other_than: str = "", seconds: float = PLACE_SECONDS) -> str:
    """Waits for the run's snapshot and returns its name.

    Raises AirflowSkipException if the holder has failed (its own failure is reported already), AirflowFailException if it has ended without
    failure, NoPlaceError if it does not begin in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        state = _states(ti, task_ids=[HOLD]).get(HOLD)
        if state in ("failed", "upstream_failed"):
            raise AirflowSkipException(f"{HOLD} has failed, and its log says why; nothing can be read at its instant.")
        if state in FINAL:
            raise AirflowFailException(
                f"The task {HOLD} has ended ({state}), and with it the snapshot that all loads of a run share; "
                "nothing was published, start a new run"
            )
        held = _patiently(lambda: ti.xcom_pull(task_ids=HOLD, key=KEY)) if state == "running" else None
        if held and held["run"] == run and held["snapshot"] != other_than:
            return str(held["snapshot"])
        if time.monotonic() > deadline:
            raise NoPlaceError(f"{HOLD} did not hand over a snapshot within {seconds:.0f} s; this load tries again")
        time.sleep(POLL_SECONDS)


def _states(ti: Any, **which: Any) -> dict[str, Any]:
    states = _patiently(lambda: ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id], **which))
    return dict(states.get(ti.run_id, {}))


def _patiently(ask: Callable[[], Any]) -> Any:
    """Returns Airflow's response; retries while the api-server restarts, which must not end the snapshot of all loads."""
    deadline = time.monotonic() + API_AWAY_SECONDS
    while True:
        try:
            return ask()
        except AirflowRuntimeError as error:
            if time.monotonic() > deadline:
                raise
            log.warning("Airflow's api-server does not answer, asking again: %s", error)
            time.sleep(POLL_SECONDS)
