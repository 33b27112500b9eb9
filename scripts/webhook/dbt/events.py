"""Parses dbt's structured log (`--log-format json`): one JSON event a line."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from webhook.queue.runs import Node

# Other adapters report `rows_affected`; dbt-clickhouse's summary has written_rows.
_ROW_KEYS = ("rows_affected", "written_rows")
_MESSAGE_LENGTH = 2000


@dataclass(frozen=True)
class Event:
    """One line of dbt's output."""

    name: str
    level: str
    text: str
    node: Node | None = None
    total: int | None = None

    @property
    def is_for_people(self) -> bool:
        """Whether the line belongs in the log for people; debug lines, which carry nodes, do not."""
        return self.level != "debug"


def read_event(line: str, redact: Callable[[str], str]) -> Event:
    """Parses a line and redacts its texts: a model can print what it finds in dbt's environment.

    Never raises: a line that is not dbt's event (a traceback, a warning of Python) becomes an event of level `raw`.
    """
    try:
        record = json.loads(line)
        info, data = record["info"], record["data"]
        name, level, text = str(info["name"]), str(info["level"]), redact(str(info["msg"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return Event(name="", level="raw", text=redact(line))
    if not isinstance(data, dict):
        return Event(name, level, text)
    total = data.get("total") if name == "LogStartLine" else None
    return Event(
        name,
        level,
        text,
        node=_node(name, data, _instant(info.get("ts")), redact),
        total=total if isinstance(total, int) else None,
    )


def _node(name: str, data: dict[str, Any], at: datetime, redact: Callable[[str], str]) -> Node | None:
    if name not in {"NodeStart", "NodeFinished"}:
        return None
    info = data.get("node_info")
    if not isinstance(info, dict) or not info.get("unique_id"):
        return None
    result = data.get("run_result") if name == "NodeFinished" else None
    if not isinstance(result, dict):
        result = {}
    ended = name == "NodeFinished"
    return Node(
        node=str(info["unique_id"]),
        name=str(info.get("node_name", "")),
        resource_type=str(info.get("resource_type", "")),
        status=str(result.get("status") or info.get("node_status") or "") if ended else "running",
        seconds=_number(result.get("execution_time")) or 0.0,
        rows=_rows(str(info.get("resource_type", "")), result),
        message=redact(str(result.get("message") or ""))[:_MESSAGE_LENGTH],
        ended_at=at if ended else None,
        started_at=at,
    )


def _instant(text: object) -> datetime:
    """Returns the event's timestamp; now if it has no valid one."""
    try:
        instant = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.now(UTC)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _rows(resource_type: str, result: dict[str, Any]) -> int | None:
    """Returns the rows that a model wrote or that failed a test, if dbt reports them."""
    if resource_type in {"test", "unit_test"}:
        return int(_number(result.get("num_failures")) or 0)
    response = result.get("adapter_response")
    if isinstance(response, dict):
        for key in _ROW_KEYS:
            rows = _number(response.get(key))
            if rows is not None:
                return int(rows)
    return None


def _number(value: object) -> float | None:
    """Returns a number, also from text, that fits the column; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 2**62 else None
