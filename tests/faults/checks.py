"""Invariants after each fault, when a run is green again."""

import time
from pathlib import Path

from faults.instant import Instant, read_published
from faults.world import World
from faults.writer import TABLES

SETTLED_WITHIN = 20.0
"""Seconds within which sessions and queries of processes that have ended must be gone."""


def check(world: World, instant: Instant, *, marts: bool) -> None:
    """Raises AssertionError, which says everything that does not hold."""
    wrong = list(world.writer.wrong)
    found = read_published(world.rows)
    if found != instant:
        wrong.append(f"raw is not the source at the run's snapshot: {_difference(found, instant)}")
    wrong += _settled(world, marts=marts)
    for reader in world.readers:
        reader.check_journal(world.rows)
        wrong += reader.wrong
    if marts:
        wrong += _marts(world, instant)
    assert not wrong, "\n".join(wrong[:20])


def _difference(found: Instant, wanted: Instant) -> str:
    if found.tick != wanted.tick:
        return f"tick {found.tick} and not {wanted.tick}"
    return "; ".join(
        f"{table} has (rows, checksum) {found.tables[table]} and not {wanted.tables[table]}"
        for table in wanted.tables
        if found.tables[table] != wanted.tables[table]
    )


def _settled(world: World, *, marts: bool) -> list[str]:
    """Leftovers that do not go away by themselves, in sentences."""
    deadline = time.monotonic() + SETTLED_WITHIN
    while left := _leftovers(world, marts=marts):
        if time.monotonic() > deadline:
            return left
        time.sleep(0.1)
    return []


def _leftovers(world: World, *, marts: bool) -> list[str]:
    wrong = [f"a session is left at the source: {session}" for session in world.sessions()]
    if tables := loading_tables(world):
        wrong.append(f"raw has other tables than those that are copied: {tables}")
    for what, sql in (
        ("journals are open", "SELECT count() FROM ops.publishes WHERE status = 'open'"),
        ("runs are running", "SELECT count() FROM ops.runs WHERE status = 'running'"),
        ("queries of the loader are at work", "SELECT count() FROM system.processes WHERE user = 'loader'"),
        ("journals of dbt are open", "SELECT count() FROM ops.dbt_publishes WHERE status = 'open'"),
        ("runs of dbt are running", "SELECT count() FROM ops.dbt_runs WHERE status IN ('queued', 'running')"),
        (
            "built tables are not published",
            "SELECT count() FROM system.tables WHERE database = 'analytics' AND name LIKE '%__next%'",
        ),
    ):
        ((count,),) = world.rows(sql)
        if count and (marts or "dbt" not in what):
            wrong.append(f"{count} {what}")
    if steps := _processes(world.home):
        wrong.append(f"processes of steps are left: {steps}")
    wrong += [f"a process of a worker that died is left: {process}" for process in world.builder.strays()]
    return wrong


def loading_tables(world: World) -> list[str]:
    names = {name for (name,) in world.rows("SELECT name FROM system.tables WHERE database = 'raw'")}
    return sorted(names ^ set(TABLES))


def _processes(home: Path) -> list[int]:
    """Processes of steps, which have the world's log of steps open."""
    log = str(home / "steps.log")
    found = []
    for entry in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            if str(entry.readlink()) == log:
                found.append(int(entry.parts[2]))
        except OSError:
            continue
    return found


def _marts(world: World, instant: Instant) -> list[str]:
    """The marts are of what is published in raw."""
    wrong = []
    found = world.rows("SELECT count(), sum(balance) = sum(entered), min(tick), max(tick) FROM analytics.mart_accounts")
    if found != [(instant.tables["accounts"][0], 1, instant.tick, instant.tick)]:
        wrong.append(f"mart_accounts has (rows, adds up, ticks) {found}, at tick {instant.tick}")
    current = world.rows(
        "SELECT count(), sum(cityHash64(id, balance)) FROM analytics.accounts_history WHERE dbt_valid_to IS NULL"
    )
    if current != world.rows("SELECT count(), sum(cityHash64(id, balance)) FROM raw.accounts"):
        wrong.append(f"the current rows of accounts_history are not raw.accounts, but (rows, checksum) {current}")
    one, other = (
        world.rows(f"SELECT count(), sum(delta), sum(cityHash64(id, delta, tick)) FROM {table}")
        for table in ("analytics.mart_audit", "raw.audit")
    )
    if one != other:
        wrong.append(f"mart_audit has (rows, sum, checksum) {one}, and raw.audit {other}")
    return wrong
