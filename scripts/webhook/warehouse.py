"""The webhook's clients of ClickHouse: user `dbt` builds and publishes, user `webhook` writes `ops.dbt_*`."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import clickhouse_connect
from clickhouse_connect.driver.exceptions import Error as DriverError

from webhook.dbt.command import TARGET
from webhook.queue.runs import Node, Run
from webhook.settings import Settings

User = Literal["dbt", "webhook"]
_REFUSED = 516
_LET_IN = "; {name} in .env must be the user's; where SQL manages users, run clickhouse/grants.sql"

# Both tell of every refused connection at length; a WarehouseError tells it in a sentence.
for _name in ("urllib3", "clickhouse_connect"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class WarehouseError(Exception):
    """ClickHouse did not answer, or refused. The message names the address and carries no secret.

    `code` is ClickHouse's error code, None where it did not answer.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class OpenPublish:
    """A publish of raw tables that has not been closed."""

    run: int
    tables: tuple[str, ...]
    seconds_since_heartbeat: float


class Warehouse:
    """A client of one user. Not for use by several threads at once: each thread has its own. Connects when first needed,
    and again after an error."""

    def __init__(
        self, settings: Settings, user: User, *, connect_timeout: float = 5.0, answer_timeout: float = 15.0
    ) -> None:
        self._settings = settings
        self._user = user
        self._timeouts = {"connect_timeout": connect_timeout, "send_receive_timeout": answer_timeout}
        self._client: Any = None

    def ping(self) -> None:
        """Raises WarehouseError unless the user is let in."""
        self._do(lambda client: client.command("SELECT 1"))

    def rows(self, sql: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The answer to a query, whole. `parameters` are bound by ClickHouse: `{name:Type}`."""
        found = self._do(lambda client: client.query(sql, parameters).result_rows)
        return [tuple(row) for row in found]

    def command(self, sql: str) -> None:
        self._do(lambda client: client.command(sql))

    def write(self, table: str, events: list[dict[str, Any]]) -> None:
        """Adds rows, in one insert."""
        self._insert(table, events)

    def open_publishes(self) -> list[OpenPublish]:
        rows = self._do(
            lambda client: (
                client.query(
                    "SELECT run, groupArray(target), dateDiff('second', max(heartbeat_at), now64(6)) FROM ops.publishes FINAL"
                    " WHERE status = 'open' GROUP BY run ORDER BY run"
                ).result_rows
            )
        )
        return [OpenPublish(int(run), tuple(targets), float(seconds)) for run, targets, seconds in rows]

    def write_runs(self, runs: Iterable[Run], *, version: int) -> None:
        self._insert("ops.dbt_runs", [_run_event(run, version) for run in runs])

    def write_nodes(self, nodes: Iterable[tuple[str, int, Node]], *, version: int) -> None:
        self._insert("ops.dbt_nodes", [_node_event(run_id, attempt, node, version) for run_id, attempt, node in nodes])

    def kill_dbt_queries(self) -> None:
        """Kills the queries of a dead dbt: ClickHouse goes on with a write whose client has died.

        Only the worker runs dbt against this target, so a query that begins with dbt's comment naming it is the worker's.
        """
        self._do(
            lambda client: client.command(
                "KILL QUERY WHERE user = 'dbt' AND startsWith(query, '/* {\"app\": \"dbt\"')"
                f' AND position(query, \'"target_name": "{TARGET}"\') > 0 SYNC'
            )
        )

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _insert(self, table: str, events: list[dict[str, Any]]) -> None:
        if not events:
            return
        body = "\n".join(json.dumps(event) for event in events)
        self._do(lambda client: client.raw_insert(table, insert_block=body.encode(), fmt="JSONEachRow"))

    def _do(self, action: Any) -> Any:
        settings = self._settings
        try:
            if self._client is None:
                self._client = clickhouse_connect.get_client(
                    host=settings.clickhouse_host,
                    port=settings.clickhouse_port,
                    interface="https" if settings.clickhouse_secure else "http",
                    username=self._user,
                    password=settings.warehouse_password(self._user).get_secret_value(),
                    autogenerate_session_id=False,
                    query_retries=0,
                    **self._timeouts,
                )
            return action(self._client)
        except (DriverError, OSError) as error:
            self.close()
            where = f"{settings.clickhouse_host}:{settings.clickhouse_port}"
            code = getattr(error, "code", None)
            cure = _LET_IN.format(name=f"CLICKHOUSE_{self._user.upper()}_PASSWORD") if code == _REFUSED else ""
            raise WarehouseError(
                f"ClickHouse at {where} did not do what user {self._user} asked: {_cause(error)}{cure}", code
            ) from error


def _cause(error: BaseException) -> str:
    """The server's own words, or what the operating system said where there was no server."""
    words = str(error)
    if "DB::Exception" in words:
        return words[words.index("Code:") if "Code:" in words else 0 :].splitlines()[0][:300].rstrip(". ")
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no answer'}"[:300].rstrip(". ")


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
