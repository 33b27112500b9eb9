"""Run by Airflow's python: prints what the DAG files say, as JSON. No database, no scheduler."""

import json
import sys
from typing import Any

from airflow.dag_processing.dagbag import DagBag


def describe(task: Any) -> dict[str, Any]:
    return {
        "upstream": sorted(task.upstream_task_ids),
        "retries": task.retries,
        "retry_delay": task.retry_delay.total_seconds(),
        "timeout": task.execution_timeout and task.execution_timeout.total_seconds(),
        "callbacks": len(task.on_failure_callback or []),
        "trigger_rule": str(task.trigger_rule),
        "docs": bool(task.doc_md),
        "outlets": [outlet.name for outlet in task.outlets],
        "select": getattr(task, "select", None),
        "arguments": [str(value) for value in getattr(task, "op_args", ())],
    }


bag = DagBag(dag_folder=sys.argv[1])
dags = {
    dag.dag_id: {
        "schedule": dag.timetable.summary if hasattr(dag.timetable, "summary") else str(dag.timetable),
        "start": dag.start_date.isoformat() if dag.start_date else None,
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "max_active_tasks": dag.max_active_tasks,
        "callbacks": bool(dag.on_failure_callback),
        "docs": dag.doc_md or "",
        "params": {name: {"schema": dag.params.get_param(name).schema} for name in dag.params},
        "tasks": {task.task_id: describe(task) for task in dag.tasks},
    }
    for dag in bag.dags.values()
}
print(json.dumps({"errors": bag.import_errors, "dags": dags}))
