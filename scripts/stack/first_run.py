"""The wait for the first green run of the DAG."""

import time

from stack.airflow_api import FINAL, AirflowApi
from stack.errors import StackError
from stack.screen import Screen
from stack.services import Context

ENDS_WITHIN = 1800.0


def await_first_green_run(context: Context, screen: Screen) -> None:
    """Wait until the DAG has had one green run. Raises StackError when its first runs have failed."""
    api = AirflowApi(context.env)
    if api.dag() is not None and api.green_runs():
        return
    began = time.monotonic()
    while time.monotonic() - began < ENDS_WITHIN:
        if errors := api.import_errors():
            raise StackError(f"The DAG cannot be imported ({errors[0]}): mend it; Airflow reads it again by itself.")
        runs = api.runs(1) if api.dag() is not None else []
        if not runs:
            screen.waiting("waiting for the scheduler to begin the first DAG run")
        elif runs[0]["state"] not in FINAL:
            screen.waiting(api.progress(runs[0]))
        elif runs[0]["state"] == "success":
            screen.done(f"The first DAG run is green ({time.monotonic() - began:.0f} s)")
            return
        else:
            raise StackError(
                f"The first DAG run failed ({api.progress(runs[0])}): its tasks' logs are on "
                f"{context.env.page('airflow-webserver')}; mend the cause and clear the run there."
            )
        time.sleep(1)
    raise StackError(
        "The first DAG run did not end in half an hour: look at it in Airflow, or skip the wait by --no-wait."
    )
