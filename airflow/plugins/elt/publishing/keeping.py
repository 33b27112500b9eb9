"""`on_error: keep`: if a table's load fails, its published version stays, and the run publishes the other tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from warehouse import ops, records
from warehouse.client import Warehouse
from warehouse.errors import PipelineError

from elt.errors import SnapshotGoneError
from elt.pipeline.options import OnError, SourceEntry, TableEntry
from elt.settings import Settings

KEPT = "kept"


def on_error(source: SourceEntry, target: str) -> OnError:
    """Returns the `on_error` of pipeline.yml for a table, by its name in `raw`. Does not connect to the source."""
    entry = next((one for one in source.entries if one.target_name == target), None)
    return (entry.on_error if entry is not None else None) or source.on_error


def keep_published(
    settings: Settings, warehouse: Warehouse, run: ops.Run, entry: TableEntry, error: PipelineError, attempt: int
) -> ops.Load:
    """Records the failed load as `kept` and returns it.

    Raises `error` if the table cannot be kept: it was never published, has no `on_error: keep`, or the run's snapshot is gone, without which no
    table can be loaded.
    """
    target = entry.target_name
    if entry.on_error != "keep" or isinstance(error, SnapshotGoneError) or target not in ops.published_runs(warehouse):
        raise error
    attempts = [load for load in ops.loads(warehouse, run.run) if load.target == target]
    now = records.now()
    last = ops.Load(run.run, target, attempt, str(entry.name), "", entry.mode, KEPT, run.snapshot, now)
    if attempts and attempts[-1].status in ("failed", KEPT):
        last = attempts[-1]
    elif attempts:
        last = replace(last, try_=attempts[-1].try_ + 1)
    kept = replace(last, status=KEPT, snapshot=run.snapshot, ended_at=now, error=settings.redact(str(error)))
    records.append(warehouse, [kept])
    return kept


def kept(attempts: Iterable[ops.Load]) -> list[ops.Load]:
    """Returns the attempts of a run that kept the published table; `attempts` has the latest of each target last."""
    return [load for load in {load.target: load for load in attempts}.values() if load.status == KEPT]


def describe(loads: Iterable[ops.Load]) -> str:
    """Returns the sentence for ops.runs on the kept tables; empty without any."""
    return "; ".join(f"raw.{load.target} keeps what was published before: {load.error}" for load in loads)
