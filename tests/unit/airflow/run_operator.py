"""Run by Airflow's python: attempts of run_dbt_transformations against the webhook in WEBHOOK_URL.

    run_operator.py STATE LOAD_RUN[,LOAD_RUN..] [full] [select=WHAT]

One attempt for each LOAD_RUN. What Airflow keeps between attempts of a task is kept in the file STATE, so that a test can
kill this process with -9 and start the next attempt. Prints a line of JSON for each: the result, or the error's classes
and text.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk.execution_time.context import OutletEventAccessors
from elt_airflow.dbt import DbtBuildOperator


class StateFile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def _all(self) -> dict[str, Any]:
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def get(self, key: str, default: Any = None) -> Any:
        return self._all().get(key, default)

    def set(self, key: str, value: Any) -> None:
        half = self.path.with_suffix(".half")
        half.write_text(json.dumps({**self._all(), key: value}))
        half.replace(self.path)


state = StateFile(Path(sys.argv[1]))
ti = SimpleNamespace(dag_id="elt_pipeline", run_id="manual__1", task_id="run_dbt_transformations", stats_tags={})
select = [word.removeprefix("select=") for word in sys.argv if word.startswith("select=")]
for load_run in sys.argv[2].split(","):
    operator = DbtBuildOperator(
        task_id=ti.task_id, load_run=load_run, select=select, full_refresh=str("full" in sys.argv)
    )
    outlets = OutletEventAccessors()
    context: Any = {"ti": ti, "task_state_store": state, "dag": ti, "outlet_events": outlets}
    try:
        answer: dict[str, Any] = {"result": operator.execute(context)}
        events = [event for accessor in outlets.values() for event in accessor.asset_alias_events]
        answer["assets"] = {event.dest_asset_key.uri: event.extra for event in events}
    except Exception as error:  # noqa: BLE001 - the test judges which
        answer = {"raised": [kind.__name__ for kind in type(error).__mro__], "text": str(error)}
    print(json.dumps(answer))
