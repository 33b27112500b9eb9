"""The tables of the DAG, read from the plan file and never from the source."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from airflow.sdk import Param
from elt.planning.plan import read_plan

LONGEST_TASK_NAME = 200  # Airflow allows 250, the group's name included


def planned_tasks() -> dict[str, tuple[str, ...]]:
    """Returns the tables of each load task, as names in `raw`, in the plan's order: one table, or several small ones.

    Raises PipelineError when there is neither plan nor list.
    """
    tasks: dict[str, tuple[str, ...]] = {}
    main = next(source for source in read_plan(Path(os.environ.get("ELT_PLAN", "plan.json"))) if source.main)
    for table in main.tables:
        # Tasks of single tables are named load_.., so no name clashes with a shared task's.
        name = table.task.replace(" ", "_") if table.task else task_name(table.target)
        tasks[name] = (*tasks.get(name, ()), table.target)
    return tasks


def table_param(targets: Sequence[str]) -> Param:
    """Returns the DAG parameter `tables`: empty for all, else a choice. Airflow refuses unknown names when the run is triggered."""
    items = {"type": "string", "enum": list(targets)} if targets else {"type": "string"}
    return Param(
        [],
        type="array",
        items=items,
        uniqueItems=True,
        examples=list(targets),
        title="Tables",
        description="Only these tables; none chosen means all.",
    )


def task_name(target: str) -> str:
    """Returns `load_<target>`; characters that Airflow does not allow in a task's name become their code points."""
    safe = re.sub(r"[^\w.-]", lambda match: f"-{ord(match.group()):x}-", target)
    if len(safe) > LONGEST_TASK_NAME:
        safe = f"{safe[: LONGEST_TASK_NAME - 17]}-{hashlib.sha256(target.encode()).hexdigest()[:16]}"
    return f"load_{safe}"
