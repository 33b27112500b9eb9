"""The records of dbt's runs and nodes in `ops.dbt_runs` and `ops.dbt_nodes`; user `webhook` writes them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from warehouse.client import Warehouse

from webhook.dbt.command import TARGET
from webhook.queue.runs import Node, Run


def write_runs(warehouse: Warehouse, runs: Iterable[Run], *, version: int) -> None:
    warehouse.insert_events("ops.dbt_runs", [_run_event(run, version) for run in runs])


def write_nodes(warehouse: Warehouse, nodes: Iterable[tuple[str, int, Node]], *, version: int) -> None:
    """Each node with its run's id and the attempt."""
    warehouse.insert_events(
        "ops.dbt_nodes", [_node_event(run_id, attempt, node, version) for run_id, attempt, node in nodes]
    )


def _run_event(run: Run, version: int) -> dict[str, Any]:
    return {
        "id": run.id,
        "idempotency_key": run.idempotency_key,
        "command": run.request.command,
        "target": TARGET,
        "select": list(run.request.select),
        "exclude": list(run.request.exclude),
        "full_refresh": run.request.full_refresh,
        "requested_by": run.requested_by,
        "status": run.status,
        "attempts": run.attempts,
        "queued_at": _instant(run.queued_at),
        "started_at": _instant(run.started_at),
        "heartbeat_at": _instant(run.heartbeat_at),
        "ended_at": _instant(run.ended_at),
        "nodes": run.nodes_done,
        "failed": run.nodes_failed,
        "error": run.error,
        "version": version,
    }


def _node_event(run_id: str, attempt: int, node: Node, version: int) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "node": node.node,
        "attempt": attempt,
        "resource_type": node.resource_type,
        "name": node.name,
        "status": node.status,
        "seconds": node.seconds,
        "rows": node.rows,
        "message": node.message,
        "ended_at": _instant(node.ended_at),
        "version": version,
    }


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else instant.strftime("%Y-%m-%d %H:%M:%S.%f")
