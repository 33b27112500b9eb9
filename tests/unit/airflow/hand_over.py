"""Run by Airflow's python: what loads and holder make of the states that Airflow tells. Prints one JSON object."""

import json
from types import SimpleNamespace
from typing import Any

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse
from elt_airflow import snapshot

snapshot.POLL_SECONDS = 0.01
HELD = {"snapshot": "new", "run": 7, "expires_at": "2026-01-01T00:00:00+00:00"}


class Airflow:
    """Answers with each of `states` in turn, and with the last one from then on; an exception is raised."""

    def __init__(self, states: list[Any], held: Any = HELD) -> None:
        self.states, self.held = states, held

    def get_task_states(self, **_: Any) -> dict[str, Any]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, Exception):
            raise state
        return {"run": state if isinstance(state, dict) else {snapshot.HOLD: state}}

    def xcom_pull(self, **_: Any) -> Any:
        return self.held

    def task(self) -> Any:
        return SimpleNamespace(dag_id="d", run_id="run", get_task_states=self.get_task_states, xcom_pull=self.xcom_pull)


def told(action: Any) -> str:
    try:
        return str(action())
    except Exception as error:  # noqa: BLE001 - the test judges which
        return type(error).__name__


def load(states: list[Any], held: Any = HELD, **options: Any) -> str:
    return told(lambda: snapshot.handed_over(Airflow(states, held).task(), 7, **{"seconds": 0.2, **options}))


def ended(*states: dict[str, Any]) -> list[str]:
    loads = snapshot.Loads(Airflow(list(states)).task())
    return [told(loads.ended) for _ in states]


away = AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR))
A, B = f"{snapshot.GROUP}.load_a", f"{snapshot.GROUP}.load_b"
answers = {
    "waits": load([None, "scheduled", "queued", "running"]),
    "failed": load(["running", "failed"], None),
    "ended": load(["success"]),
    "of another run": load(["running"], {**HELD, "run": 6}),
    "the same again": load(["running"], other_than="new"),
    "never begins": load(["queued"]),
    "server away": load([away, away, "running"]),
    "loads": ended(
        {snapshot.HOLD: "running", A: "running", B: None},
        {snapshot.HOLD: "running", A: "success", B: "up_for_retry"},
        {snapshot.HOLD: "running", A: "success", B: "skipped"},
    ),
    "no load": ended({snapshot.HOLD: "running"}),
}
snapshot.PLACE_SECONDS = 0.0
answers["no place"] = ended({snapshot.HOLD: "running", A: "queued", B: None})
print(json.dumps(answers))
