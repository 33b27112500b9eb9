"""The loader's records: runs, loads, publishes and absent tables (columns: clickhouse/init/02-ops.sql)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar
from uuid import UUID

from warehouse.client import Warehouse
from warehouse.errors import TerminalError
from warehouse.records import microseconds, read

_NO_UUID = UUID(int=0)
_CLOCKS_APART = 3_600_000_000
"""Microseconds by which the clock of another host may be ahead."""


@dataclass(frozen=True)
class Run:
    TABLE: ClassVar[str] = "ops.runs"

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
    source_name: str = ""
    day: str = ""


@dataclass(frozen=True)
class Load:
    TABLE: ClassVar[str] = "ops.loads"

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
    base_uuid: UUID = _NO_UUID
    ended_at: datetime | None = None
    error: str = ""


@dataclass(frozen=True)
class Publish:
    TABLE: ClassVar[str] = "ops.publishes"

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
    source_name: str = ""
    version: int = 0
    """Of the row that was read: what is written next takes a higher one."""


@dataclass(frozen=True)
class Absence:
    """A table that is not copied: one that is gone at the source, or that `tables: all` leaves out."""

    TABLE: ClassVar[str] = "ops.absences"

    source: str
    target: str
    status: str
    """gone (its copy stays in raw), left out (it never had one), dropped (its copy is gone, too), or over."""
    reason: str
    since: datetime
    run: int
    seen_at: datetime
    source_name: str = ""


def check_tables(warehouse: Warehouse) -> None:
    """Raises TerminalError when the init SQL has not been applied to the warehouse."""
    there = {
        f"{database}.{table}"
        for database, table in warehouse.rows("SELECT database, name FROM system.tables WHERE database = 'ops'")
    }
    missing = sorted({*(kind.TABLE for kind in (Run, Load, Publish, Absence)), "ops.dbt_runs"} - there)
    if missing:
        raise TerminalError(
            f"The warehouse has no {', '.join(missing)}; apply clickhouse/init to it (./run.sh does, at each start)"
        )


def find_run(warehouse: Warehouse, run: int) -> Run:
    """Raises TerminalError when ops knows no such run."""
    found = read(warehouse, Run, "run = {run:UInt64}", {"run": run})
    if not found:
        raise TerminalError(f"ops.runs has no run {run}; begin a run first")
    return found[0]


def known_runs(warehouse: Warehouse, runs: Iterable[int]) -> dict[int, Run]:
    """Those of the runs that ops knows."""
    found = read(warehouse, Run, "run IN {runs:Array(UInt64)}", {"runs": sorted(set(runs))})
    return {run.run: run for run in found}


def latest_run(warehouse: Warehouse, run_key: str) -> Run | None:
    found = read(warehouse, Run, "run_key = {key:String} ORDER BY run DESC LIMIT 1", {"key": run_key})
    return found[0] if found else None


def running(warehouse: Warehouse) -> list[Run]:
    return read(warehouse, Run, "status = 'running' ORDER BY run")


def recent_runs(warehouse: Warehouse, limit: int) -> list[Run]:
    """The newest first."""
    return read(warehouse, Run, "true ORDER BY run DESC LIMIT {limit:UInt32}", {"limit": limit})


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
    return read(warehouse, Load, "run = {run:UInt64} ORDER BY target, try", {"run": run})


def last_verified(warehouse: Warehouse, target: str) -> datetime | None:
    """When what was published as `target` was last compared with the source, column by column."""
    found = read(
        warehouse,
        Load,
        "target = {target:String} AND status = 'published' AND verified_at IS NOT NULL ORDER BY verified_at DESC LIMIT 1",
        {"target": target},
    )
    return found[0].verified_at if found else None


def publishes(warehouse: Warehouse, run: int) -> list[Publish]:
    return read(warehouse, Publish, "run = {run:UInt64} ORDER BY target", {"run": run})


def open_uuids(warehouse: Warehouse, run: int) -> set[UUID]:
    """The new UUIDs of the run's open journal, read by themselves, since each column takes its time."""
    found = warehouse.rows(
        "SELECT toString(new_uuid) FROM ops.publishes FINAL WHERE run = {run:UInt64} AND status = 'open'", {"run": run}
    )
    return {UUID(uuid) for (uuid,) in found}


def open_publishes(warehouse: Warehouse) -> list[Publish]:
    return read(warehouse, Publish, "status = 'open' ORDER BY run, target")


def set_aside_publishes(warehouse: Warehouse, since: datetime) -> list[Publish]:
    """Rows of the journal that were set aside, the newest first."""
    where = (
        "status = 'set_aside' AND closed_at >= fromUnixTimestamp64Micro({since:Int64}) ORDER BY closed_at DESC LIMIT 20"
    )
    return read(warehouse, Publish, where, {"since": int(since.timestamp() * 1_000_000)})


def latest_publishes(warehouse: Warehouse) -> list[Publish]:
    """For each target the newest publish that is done."""
    return read(warehouse, Publish, "status = 'done' ORDER BY target, run DESC LIMIT 1 BY target")


def published_by(warehouse: Warehouse) -> dict[str, str]:
    """For each target that was ever published the source of its newest publish; empty from before there were several."""
    found = warehouse.rows(
        "SELECT target, argMax(source_name, run) FROM ops.publishes WHERE status = 'done' GROUP BY target"
    )
    return {str(target): str(source) for target, source in found}


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
    return read(warehouse, Absence, "true ORDER BY target, source")


def successes_since(warehouse: Warehouse, source_name: str, since: datetime) -> int:
    """How many runs of the source have begun at or after `since` and published."""
    found = warehouse.rows(
        "SELECT count() FROM ops.runs FINAL WHERE status = 'success' AND source_name IN ('', {source:String})"
        " AND started_at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')",
        {"source": source_name, "since": int(since.timestamp() * 1_000_000)},
    )
    return int(found[0][0])


def latest_publish(warehouse: Warehouse, target: str) -> Publish | None:
    found = read(
        warehouse, Publish, "status = 'done' AND target = {target:String} ORDER BY run DESC LIMIT 1", {"target": target}
    )
    return found[0] if found else None
