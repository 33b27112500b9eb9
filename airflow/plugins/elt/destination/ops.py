"""The loader's events in database `ops` (columns: clickhouse/init/02-ops.sql). A change of state is a new row."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, TypeVar, get_type_hints
from uuid import UUID

from elt.destination.warehouse import Warehouse
from elt.errors import TerminalError

NO_UUID = UUID(int=0)
_HIGHEST_VERSION = 2**64 - 1
_CLOCKS_APART = 3_600_000_000
"""Microseconds by which the clock of another host may be ahead."""

_clock = threading.Lock()
_last = 0


def now() -> datetime:
    return datetime.now(UTC)


def microseconds() -> int:
    """Microseconds since 1970, never twice the same in one process: versions of rows, and ids of runs."""
    global _last
    with _clock:
        _last = max(_last + 1, time.time_ns() // 1000)
        return _last


@dataclass(frozen=True)
class Run:
    run: int
    run_key: str
    status: str
    tables: tuple[str, ...]
    full_refresh: bool
    snapshot: str
    started_at: datetime
    ended_at: datetime | None = None
    error: str = ""
    horizon: datetime | None = None
    source: str = ""
    note: str = ""


@dataclass(frozen=True)
class Load:
    run: int
    target: str
    try_: int
    source: str
    loading_table: str
    mode: str
    status: str
    snapshot: str
    started_at: datetime
    rows_sent: int = 0
    rows_written: int = 0
    rows_present: int = 0
    bytes: int = 0
    seconds: float = 0.0
    watermark: str = ""
    shape: str = ""
    origin: str = ""
    note: str = ""
    verified_at: datetime | None = None
    verified_columns: tuple[str, ...] = ()
    not_verified: tuple[str, ...] = ()
    ended_at: datetime | None = None
    error: str = ""


@dataclass(frozen=True)
class Publish:
    run: int
    target: str
    status: str
    loading_table: str
    old_uuid: UUID
    new_uuid: UUID
    rows: int
    snapshot: str
    opened_at: datetime
    heartbeat_at: datetime
    closed_at: datetime | None = None
    error: str = ""
    version: int = 0
    """Of the row that was read: what is written next takes a higher one."""


@dataclass(frozen=True)
class Absence:
    """A table that is not copied: one that is gone at the source, or that `tables: all` leaves out."""

    source: str
    target: str
    status: str
    """gone (its copy stays in raw), left out (it never had one), dropped (its copy is gone, too), or over."""
    reason: str
    since: datetime
    run: int
    seen_at: datetime


Event = TypeVar("Event", Run, Load, Publish, Absence)
_TABLES: dict[type, str] = {
    Run: "ops.runs",
    Load: "ops.loads",
    Publish: "ops.publishes",
    Absence: "ops.absences",
}


def write(warehouse: Warehouse, events: Sequence[Run] | Sequence[Load] | Sequence[Publish] | Sequence[Absence]) -> None:
    """Appends the events in one insert, all or none."""
    if events:
        warehouse.insert_events(_TABLES[type(events[0])], [_as_json(event) for event in events])


def check_tables(warehouse: Warehouse) -> None:
    """Raises TerminalError when the init SQL has not been applied to the warehouse."""
    there = {
        f"{database}.{table}"
        for database, table in warehouse.rows("SELECT database, name FROM system.tables WHERE database = 'ops'")
    }
    missing = sorted({*_TABLES.values(), "ops.dbt_runs"} - there)
    if missing:
        raise TerminalError(
            f"The warehouse has no {', '.join(missing)}; apply clickhouse/init to it (./run.sh does, at each start)"
        )


def find_run(warehouse: Warehouse, run: int) -> Run:
    """Raises TerminalError when ops knows no such run."""
    found = _read(warehouse, Run, "run = {run:UInt64}", {"run": run})
    if not found:
        raise TerminalError(f"ops.runs has no run {run}; begin a run first")
    return found[0]


def known_runs(warehouse: Warehouse, runs: Iterable[int]) -> dict[int, Run]:
    """Those of the runs that ops knows."""
    found = _read(warehouse, Run, "run IN {runs:Array(UInt64)}", {"runs": sorted(set(runs))})
    return {run.run: run for run in found}


def latest_run(warehouse: Warehouse, run_key: str) -> Run | None:
    found = _read(warehouse, Run, "run_key = {key:String} ORDER BY run DESC LIMIT 1", {"key": run_key})
    return found[0] if found else None


def running(warehouse: Warehouse) -> list[Run]:
    return _read(warehouse, Run, "status = 'running' ORDER BY run", {})


def recent_runs(warehouse: Warehouse, limit: int) -> list[Run]:
    """The newest first."""
    return _read(warehouse, Run, "true ORDER BY run DESC LIMIT {limit:UInt32}", {"limit": limit})


def last_sign(warehouse: Warehouse, run: int) -> datetime:
    """When the run last wrote an event: loads do every few seconds, publishers too."""
    # A version of another day is no clock's.
    since = "WHERE run = {run:UInt64} AND version <= {latest:UInt64}"
    sign = warehouse.rows(
        f"SELECT max(v) FROM (SELECT max(version) AS v FROM ops.runs {since}"
        f" UNION ALL SELECT max(version) FROM ops.loads {since}"
        f" UNION ALL SELECT max(version) FROM ops.publishes {since})",
        {"run": run, "latest": microseconds() + _CLOCKS_APART},
    )[0][0]
    return datetime.fromtimestamp(int(sign) / 1_000_000, UTC)


def loads(warehouse: Warehouse, run: int) -> list[Load]:
    """Every attempt of the run, the latest attempt of a target last."""
    return _read(warehouse, Load, "run = {run:UInt64} ORDER BY target, try", {"run": run})


def last_verified(warehouse: Warehouse, target: str) -> datetime | None:
    """When what was published as `target` was last compared with the source, column by column."""
    found = _read(
        warehouse,
        Load,
        "target = {target:String} AND status = 'published' AND verified_at IS NOT NULL ORDER BY verified_at DESC LIMIT 1",
        {"target": target},
    )
    return found[0].verified_at if found else None


def publishes(warehouse: Warehouse, run: int) -> list[Publish]:
    return _read(warehouse, Publish, "run = {run:UInt64} ORDER BY target", {"run": run})


def open_uuids(warehouse: Warehouse, run: int) -> set[UUID]:
    """The new UUIDs of the run's open journal, read by themselves, since each column takes its time."""
    found = warehouse.rows(
        "SELECT toString(new_uuid) FROM ops.publishes FINAL WHERE run = {run:UInt64} AND status = 'open'", {"run": run}
    )
    return {UUID(uuid) for (uuid,) in found}


def open_publishes(warehouse: Warehouse) -> list[Publish]:
    return _read(warehouse, Publish, "status = 'open' ORDER BY run, target", {})


def set_aside_publishes(warehouse: Warehouse, since: datetime) -> list[Publish]:
    """Rows of the journal that were set aside, the newest first."""
    where = (
        "status = 'set_aside' AND closed_at >= fromUnixTimestamp64Micro({since:Int64}) ORDER BY closed_at DESC LIMIT 20"
    )
    return _read(warehouse, Publish, where, {"since": int(since.timestamp() * 1_000_000)})


def latest_publishes(warehouse: Warehouse) -> list[Publish]:
    """For each target the newest publish that is done."""
    return _read(warehouse, Publish, "status = 'done' ORDER BY target, run DESC LIMIT 1 BY target", {})


def published_runs(warehouse: Warehouse) -> dict[str, int]:
    """For each target that stands in `raw` the newest run that has published it."""
    # Nothing comes after `done`, so that it does not matter which of a swap's events are merged.
    found = warehouse.rows(
        "SELECT target, max(run) FROM ops.publishes WHERE status = 'done'"
        " AND target IN (SELECT name FROM system.tables WHERE database = 'raw') GROUP BY target ORDER BY target"
    )
    return {str(target): int(run) for target, run in found}


def published_sources(warehouse: Warehouse, targets: Sequence[str]) -> dict[str, str]:
    """For each of `targets` the source table (schema.table) of its newest publish."""
    found = warehouse.rows(
        "SELECT target, argMax(source, (run, try)) FROM ops.loads WHERE status = 'published'"
        " AND has({targets:Array(String)}, target) GROUP BY target",
        {"targets": list(targets)},
    )
    return {str(target): str(source) for target, source in found}


def absences(warehouse: Warehouse) -> list[Absence]:
    """Every table that is absent, or was, by its name in `raw`."""
    return _read(warehouse, Absence, "true ORDER BY target, source", {})


def successes_since(warehouse: Warehouse, since: datetime) -> int:
    """How many runs have begun at or after `since` and published."""
    found = warehouse.rows(
        "SELECT count() FROM ops.runs FINAL WHERE status = 'success'"
        " AND started_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')",
        {"since": int(since.timestamp() * 1_000_000)},
    )
    return int(found[0][0])


def latest_publish(warehouse: Warehouse, target: str) -> Publish | None:
    found = _read(
        warehouse, Publish, "status = 'done' AND target = {target:String} ORDER BY run DESC LIMIT 1", {"target": target}
    )
    return found[0] if found else None


def _read(warehouse: Warehouse, kind: type[Event], where: str, parameters: dict[str, Any]) -> list[Event]:
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    select = ", ".join(
        # Microseconds, so that no driver's rounding or zone comes between two writers of the same instant.
        f"toUnixTimestamp64Micro({name})" if "datetime" in str(hints[name]) else f"`{name.rstrip('_')}`"
        for name in names
    )
    found = warehouse.rows(f"SELECT {select} FROM {_TABLES[kind]} FINAL WHERE {where}", parameters)
    return [
        kind(**{name: _from_wire(value, hints[name]) for name, value in zip(names, row, strict=True)}) for row in found
    ]


def _from_wire(value: Any, hint: Any) -> Any:
    if value is None:
        return None
    if "datetime" in str(hint):
        seconds, micros = divmod(int(value), 1_000_000)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)
    if hint is UUID:
        return UUID(str(value))
    if isinstance(value, list | tuple):
        return tuple(value)
    return value


def _as_json(event: Run | Load | Publish | Absence) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in asdict(event).items():
        if isinstance(value, datetime):
            value = value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
        elif isinstance(value, UUID):
            value = str(value)
        row[name.rstrip("_")] = value
    # ClickHouse keeps the row of the highest version, and of equal ones the last.
    row["version"] = max(microseconds(), min(row.get("version", 0) + 1, _HIGHEST_VERSION))
    return row
