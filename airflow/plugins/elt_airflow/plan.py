"""The DAG of each source, read from pipeline.yml and the plan file and never from a source."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow.sdk import Param
from elt.pipeline.options import BY_HAND
from elt.planning.plan import PlannedSource, PlannedTable, read_plan

MAIN_DAG = "elt_pipeline"
BY_DAY = "by_day"  # the mode of tables of which a run brings one day
LONGEST_TASK_NAME = 200  # Airflow allows 250, the group's name included


@dataclass(frozen=True)
class PlannedDag:
    """The DAG of one source."""

    dag_id: str
    source: str
    """Name in pipeline.yml."""
    schedule: str | None
    """A cron expression or a preset; None where nobody but a person starts it."""
    tasks: Mapping[str, tuple[str, ...]]
    """Tables of each load task, as names in `raw`, in the plan's order: one table, or several small ones."""
    by_day: bool
    """Whether a run brings one day, which is fetched at first."""
    select: tuple[str, ...]
    """Selectors of dbt; empty for everything."""

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(target for targets in self.tasks.values() for target in targets)


def planned_dags() -> list[PlannedDag]:
    """Returns a DAG for each source of pipeline.yml; that of the main source builds everything, any other one what hangs on its source.

    Raises PipelineError when a file is malformed.
    """
    return [_planned_dag(source) for source in read_plan(Path(os.environ.get("ELT_PLAN", "plan.json")))]


def _planned_dag(source: PlannedSource) -> PlannedDag:
    schedule = source.schedule or os.environ.get("ELT_SCHEDULE", "@daily")
    return PlannedDag(
        dag_id=MAIN_DAG if source.main else f"elt_{source.name}",
        source=source.name,
        schedule=None if schedule in ("", BY_HAND) else schedule,
        tasks=_tasks(source.tables),
        by_day=any(table.mode == BY_DAY for table in source.tables),
        select=() if source.main else (what_hangs_on(source.name),),
    )


def what_hangs_on(source: str) -> str:
    """Returns what selects the models of a source in dbt's syntax: scripts/add_table writes a dbt source of the source's name."""
    return f"source:{source}+"


def _tasks(tables: Sequence[PlannedTable]) -> dict[str, tuple[str, ...]]:
    tasks: dict[str, tuple[str, ...]] = {}
    for table in tables:
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
