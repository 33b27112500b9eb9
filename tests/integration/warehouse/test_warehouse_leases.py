"""A lease has one holder; a dead or silent one is taken over, and a late one learns of it."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from testing.waiting import until
from warehouse import leases
from warehouse.client import Address, Warehouse
from warehouse.errors import TerminalError, TransientError, WarehouseError, WarehouseUnavailableError
from warehouse.leases import LeaseLostError, LeaseTakenError, hold

HOLDER = """
import sys, time
from warehouse.client import Address, Warehouse
from warehouse.leases import hold
host, port, password, name = sys.argv[1:]
with Warehouse(Address(host, int(port), "loader", password)) as warehouse, hold(warehouse, name, holder="other", wait_seconds=0) as lease:
    print(lease.number, flush=True)
    sys.stdin.readline()
    lease.check()
"""


@pytest.fixture
def other(repo: Path, address: Address) -> Any:
    """Starts another process that holds a lease until a line is written to it."""
    with ExitStack() as stack:

        def start(name: str) -> "subprocess.Popen[str]":
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", HOLDER, address.host, str(address.port), address.password, name],
                    env={"PYTHONPATH": str(repo / "scripts"), "PATH": os.environ["PATH"]},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None and process.stdout.readline().strip().isdigit()
            return process

        yield start


def test_one_holds_it_and_the_next_one_after_it_has_a_higher_number(connect: Callable[[], Warehouse]) -> None:
    with hold(connect(), "one", holder="first", wait_seconds=0) as first:
        with (
            pytest.raises(LeaseTakenError, match=re.escape(f"first, process {os.getpid()} on ")),
            hold(connect(), "one", holder="second", wait_seconds=0),
        ):
            pass
        with hold(connect(), "another", holder="third", wait_seconds=0):
            first.check()
    with hold(connect(), "one", holder="second", wait_seconds=0) as second:
        assert second.number > first.number
        with pytest.raises(LeaseLostError):
            first.check()


def test_a_lease_is_free_before_its_first_holder_after_a_release_and_when_its_holder_died(
    connect: Callable[[], Warehouse], other: Any
) -> None:
    assert leases.is_free(connect(), "watched")
    with hold(connect(), "watched", holder="first", wait_seconds=0):
        assert not leases.is_free(connect(), "watched")
    assert leases.is_free(connect(), "watched")
    process = other("watched")
    assert not leases.is_free(connect(), "watched")
    process.kill()
    process.wait()
    assert leases.is_free(connect(), "watched")


def test_of_many_that_try_at_once_one_gets_it(connect: Callable[[], Warehouse]) -> None:
    clients = [connect() for _ in range(8)]
    release = multiprocessing.Event()

    def take(client: Warehouse) -> int:
        try:
            with hold(client, "rush", holder="one of many", wait_seconds=0) as lease:
                release.wait(60)
                return lease.number
        except LeaseTakenError:
            return 0

    with ThreadPoolExecutor(len(clients)) as pool:
        taken = [pool.submit(take, client) for client in clients]
        until(lambda: sum(future.done() for future in taken) == len(clients) - 1, "all but one were refused")
        release.set()
    assert sorted(future.result() > 0 for future in taken) == [False] * 7 + [True]


def test_who_waits_is_told_for_whom_and_gets_it_when_it_is_released(connect: Callable[[], Warehouse]) -> None:
    said: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        with hold(connect(), "wait", holder="cli/desk/7", wait_seconds=0):

            def wait() -> int:
                with hold(connect(), "wait", holder="next", wait_seconds=60, tell=said.append) as lease:
                    return lease.number

            waiting = pool.submit(wait)
            until(lambda: said, "it says that it waits")
        assert waiting.result(60) > 0
    assert len(said) == 1 and "waiting for cli/desk/7, process" in said[0] and "s at most" in said[0]


def test_a_holder_that_was_killed_is_taken_over_at_once(connect: Callable[[], Warehouse], other: Any) -> None:
    process = other("killed")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with hold(connect(), "killed", holder="next", wait_seconds=0):
        pass


def test_a_holder_that_was_stopped_is_taken_over_after_its_time_and_learns_of_it(
    connect: Callable[[], Warehouse], other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = other("stopped")
    process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(leases, "TIME_TO_LIVE", 0.5)
    with hold(connect(), "stopped", holder="next", wait_seconds=60) as lease:
        process.send_signal(signal.SIGCONT)
        _, said = process.communicate("go on\n", timeout=60)
        assert process.returncode == 1 and "The lease stopped was taken over" in said
        lease.check()


def test_a_holder_whose_heartbeats_fail_has_not_lost_it(
    connect: Callable[[], Warehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT_SECONDS", 0.01)
    failed: list[str] = []

    class Away(Warehouse):
        def insert_events(self, table: str, events: Any) -> None:
            if "lease_beats" in table and failed_from:
                failed.append(table)
                raise WarehouseUnavailableError("away")
            super().insert_events(table, events)

    failed_from: list[int] = []
    with Away(connect().address) as warehouse, hold(warehouse, "beats", holder="h", wait_seconds=0) as lease:
        failed_from.append(1)
        until(lambda: len(failed) > 3, "several heartbeats have failed")
        lease.check()
        failed_from.clear()


def test_a_process_that_was_killed_before_its_first_heartbeat_is_taken_over_at_once(
    connect: Callable[[], Warehouse], repo: Path, address: Address
) -> None:
    script = """
import os, signal, sys
from warehouse.client import Address, Warehouse
from warehouse.leases import hold
class Killed(Warehouse):
    def insert_events(self, table, events):
        os.kill(os.getpid(), signal.SIGKILL)
host, port, password = sys.argv[1:]
with Killed(Address(host, int(port), "loader", password)) as warehouse, hold(warehouse, "unborn", holder="h", wait_seconds=0):
    pass
"""
    command = [sys.executable, "-c", script, address.host, str(address.port), address.password]
    env = {"PYTHONPATH": str(repo / "scripts"), "PATH": os.environ["PATH"]}
    assert subprocess.run(command, env=env, check=False).returncode == -signal.SIGKILL
    said: list[str] = []
    with hold(connect(), "unborn", holder="next", wait_seconds=0, tell=said.append) as lease:
        assert lease.number == 2 and not said


def test_a_generation_that_nobody_fills_is_taken_over_after_its_time(
    connect: Callable[[], Warehouse], clickhouse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert leases._create(connect(), "empty", 1, "h")
    with clickhouse.client() as admin:
        admin.command("ALTER TABLE ops.lease_empty_1 MODIFY COMMENT 'by a process of another host'")
    monkeypatch.setattr(leases, "TIME_TO_LIVE", 2)
    said: list[str] = []
    # It shows no sign of life, so that it is waited for longer than its time to live.
    with hold(connect(), "empty", holder="next", wait_seconds=0, tell=said.append) as lease:
        assert lease.number == 2 and "begins at this moment" in said[0]


def test_old_generations_go_and_the_newest_stays(connect: Callable[[], Warehouse]) -> None:
    for _ in range(3):
        with hold(connect(), "kept", holder="h", wait_seconds=0) as lease:
            pass
    assert leases._numbers(connect(), "kept") == [lease.number]


def test_the_loader_makes_leases_and_nothing_else_in_ops(connect: Callable[[], Warehouse]) -> None:
    for sql in (
        "CREATE TABLE ops.leases (a UInt8) ENGINE = MergeTree ORDER BY a",
        "DROP TABLE ops.runs",
        "RENAME TABLE ops.runs TO ops.lease_runs_1",
    ):
        with pytest.raises(WarehouseError) as refused:
            connect().command(sql)
        assert refused.value.code == 497, sql


@pytest.mark.parametrize("engine", ["Ordinary", "Lazy"])
def test_a_database_without_atomic_creation_is_refused(connect: Callable[[], Warehouse], engine: str) -> None:
    class Elsewhere(Warehouse):
        def rows(self, sql: str, *args: Any, **kwargs: Any) -> list[tuple[Any, ...]]:
            return [(engine,)] if "system.databases" in sql else super().rows(sql, *args, **kwargs)

    with (
        Elsewhere(connect().address) as warehouse,
        pytest.raises(TerminalError, match=f"ops has the engine {engine}"),
        hold(warehouse, "refused", holder="h", wait_seconds=0),
    ):
        pass


@pytest.mark.parametrize("name", ["", "A", "a b", "a`b", "x" * 61])
def test_a_name_that_is_none_is_refused(connect: Callable[[], Warehouse], name: str) -> None:
    with pytest.raises(ValueError, match="no name of a lease"), hold(connect(), name, holder="h", wait_seconds=0):
        pass


def test_taken_and_lost_may_be_tried_again() -> None:
    assert issubclass(LeaseTakenError, TransientError) and issubclass(LeaseLostError, TransientError)


def test_a_number_is_never_given_twice(connect: Callable[[], Warehouse], monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a slow process's look and its CREATE others may take its number and the next one, and drop the first."""
    with hold(connect(), "slow", holder="first", wait_seconds=0):
        pass
    check, later = leases._check_engine, ExitStack()

    def slow(warehouse: Warehouse) -> None:
        monkeypatch.setattr(leases, "_check_engine", check)
        with hold(connect(), "slow", holder="second", wait_seconds=0):
            pass
        later.enter_context(hold(connect(), "slow", holder="third", wait_seconds=0))

    monkeypatch.setattr(leases, "_check_engine", slow)
    with (
        later,
        pytest.raises(LeaseTakenError, match="third"),
        hold(connect(), "slow", holder="slow one", wait_seconds=0),
    ):
        pass


def test_a_first_heartbeat_that_fails_is_told_as_it_is(address: Address) -> None:
    class Full(Warehouse):
        def insert_events(self, table: str, events: Any) -> None:
            raise WarehouseUnavailableError("no memory")

    with (
        Full(address) as warehouse,
        pytest.raises(WarehouseUnavailableError, match="no memory"),
        hold(warehouse, "full", holder="h", wait_seconds=0),
    ):
        pass


def test_an_old_heartbeat_alone_frees_nothing(connect: Callable[[], Warehouse], clickhouse: Any, other: Any) -> None:
    """The warehouse was away, or its clock jumped: the holder has the time to write again."""
    process = other("jumped")
    ((table,),) = connect().rows("SELECT name FROM system.tables WHERE database = 'ops' AND name LIKE 'lease_jumped%'")
    with clickhouse.client() as admin:
        admin.command(f"CREATE TABLE ops.old AS ops.{table}")
        admin.command(f"INSERT INTO ops.old SELECT * REPLACE (beat_at - INTERVAL 1 DAY AS beat_at) FROM ops.{table}")
        admin.command(f"EXCHANGE TABLES ops.old AND ops.{table}")
        admin.command("DROP TABLE ops.old")
    process.send_signal(signal.SIGSTOP)
    assert leases._newest(connect(), "jumped").silent_seconds > leases.TIME_TO_LIVE
    process.send_signal(signal.SIGCONT)
    with pytest.raises(LeaseTakenError, match="other"), hold(connect(), "jumped", holder="n", wait_seconds=0):
        pass
    process.communicate("go on\n", timeout=60)
    assert process.returncode == 0
