"""Publishing: all or nothing, never twice, never backwards, in turns with dbt."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from elt.errors import NotInRunError
from elt.pipeline.names import raw
from elt.planning.plan import write_plan
from elt.publishing import publish as publishing
from elt.publishing.leases import publishing_lease, run_lease
from elt.runs.place import place_of
from elt.runs.run import begin, fail, load_table, publish, recover
from elt.runs.snapshot import HeldSnapshot, held_snapshot, hold
from elt.settings import Settings
from testing.waiting import until
from warehouse import leases, ops, records
from warehouse.client import Warehouse
from warehouse.errors import TerminalError, TransientError
from warehouse.leases import LeaseTakenError


def counts(shop: Any) -> list[int]:
    return [shop.warehouse(f"SELECT count() FROM raw.{name}")[0][0] for name in ("a", "b")]


def loading_tables(shop: Any) -> list[str]:
    return [
        row[0]
        for row in shop.warehouse("SELECT name FROM system.tables WHERE database='raw' AND name LIKE '%__loading_%'")
    ]


def loaded_run(shop: Any, key: str = "dag/run") -> int:
    run = begin(shop.settings, run_key=key, tables=None, full_refresh=False)
    with shop.held(run):
        for target in ("a", "b"):
            load_table(shop.settings, run=run, target=target, attempt=1)
    return run


def test_the_steps_of_the_dag(two: Any) -> None:
    run = begin(two.settings, run_key="dag/one", tables=None, full_refresh=False)
    assert begin(two.settings, run_key="dag/one", tables=None, full_refresh=False) == run
    with two.held(run):
        for target in ("a", "b"):
            assert load_table(two.settings, run=run, target=target, attempt=1).rows == 2
    assert counts(two) == [1, 1]
    first = publish(two.settings, run=run)
    assert [(table.target, table.rows) for table in first.tables] == [("a", 2), ("b", 2)]
    assert publish(two.settings, run=run) == first
    assert counts(two) == [2, 2] and loading_tables(two) == []
    with pytest.raises(TerminalError, match="published already"):
        load_table(two.settings, run=run, target="a", attempt=2)
    assert begin(two.settings, run_key="dag/one", tables=None, full_refresh=False) != run


def test_the_table_of_an_attempt_that_was_killed_is_gone_when_its_run_is_published(two: Any) -> None:
    run = begin(two.settings, run_key="dag/killed attempt", tables=None, full_refresh=False)
    with two.held(run):
        for target, attempt in (("a", 1), ("a", 2), ("b", 1)):
            load_table(two.settings, run=run, target=target, attempt=attempt)
    assert len(loading_tables(two)) == 3
    publish(two.settings, run=run)
    assert counts(two) == [2, 2] and loading_tables(two) == []


def test_what_is_published_is_merged_as_any_other_table(two: Any) -> None:
    """Settings that keep merges waiting while a table is loaded is gone when readers see it."""
    two.load()
    assert two.warehouse("SELECT count() FROM system.tables WHERE create_table_query LIKE '%_to_merge_%'") == [(0,)]


def test_a_run_of_some_tables_leaves_the_others(two: Any) -> None:
    run = begin(two.settings, run_key="dag/some", tables=["public.a"], full_refresh=False)
    with pytest.raises(NotInRunError, match="does not copy b"):
        load_table(two.settings, run=run, target="b", attempt=1)
    load_table(two.settings, run=run, target="a", attempt=1)
    publish(two.settings, run=run)
    assert counts(two) == [2, 1]
    with pytest.raises(TerminalError, match="no table c"):
        begin(two.settings, run_key="dag/other", tables=["c"], full_refresh=False)


def test_a_scheduled_run_copies_what_was_planned_and_is_still_wanted(two: Any) -> None:
    write_plan(two.settings)
    two.sql("CREATE TABLE c (id int)")
    two.tables("public.b", "public.c")
    run = begin(two.settings, run_key="dag/planned", tables=None, full_refresh=False)
    with Warehouse(two.settings.warehouse) as warehouse:
        assert ops.find_run(warehouse, run).tables == ("b",)
    for target in ("a", "c"):
        with pytest.raises(NotInRunError):
            load_table(two.settings, run=run, target=target, attempt=1)
    load_table(two.settings, run=run, target="b", attempt=1)
    publish(two.settings, run=run)
    assert counts(two) == [1, 2]
    with pytest.raises(NotInRunError):
        load_table(two.settings, run=run, target="c", attempt=1)


def test_a_repeated_attempt_gets_a_table_of_its_own_and_the_last_counts(two: Any) -> None:
    run = begin(two.settings, run_key="dag/again", tables=None, full_refresh=False)
    with two.held(run):
        first = load_table(two.settings, run=run, target="a", attempt=1)
        two.sql("INSERT INTO a VALUES (3)")
        # However late it is repeated, it reads the instant of the run.
        second = load_table(two.settings, run=run, target="a", attempt=1)
        assert (first.attempt, second.attempt) == (1, 2) and first.loading_table != second.loading_table
        load_table(two.settings, run=run, target="b", attempt=1)
    publish(two.settings, run=run)
    assert counts(two) == [2, 2]


def test_tables_that_were_read_at_different_instants_are_not_published(two: Any) -> None:
    run = begin(two.settings, run_key="dag/mixed", tables=None, full_refresh=False)
    for target in ("a", "b"):
        load_table(two.settings, run=run, target=target, attempt=1)
    with pytest.raises(TerminalError, match="was not read from the snapshot of run"):
        publish(two.settings, run=run)
    with two.held(run):
        load_table(two.settings, run=run, target="a", attempt=2)
    with pytest.raises(TerminalError, match="b was not read from the snapshot of run"):
        publish(two.settings, run=run)
    assert counts(two) == [1, 1]


def test_a_run_that_begins_again_takes_an_instant_of_its_own(two: Any) -> None:
    run = begin(two.settings, run_key="dag/cleared", tables=None, full_refresh=False)
    with two.held(run):
        load_table(two.settings, run=run, target="a", attempt=1)
    assert begin(two.settings, run_key="dag/cleared", tables=None, full_refresh=False) == run
    two.sql("INSERT INTO a VALUES (3)")
    with two.held(run):
        load_table(two.settings, run=run, target="b", attempt=1)
        with (
            pytest.raises(TerminalError, match="a was not read from the snapshot"),
            Warehouse(two.settings.warehouse) as warehouse,
        ):
            publishing.open_journal(warehouse, ops.find_run(warehouse, run))
        load_table(two.settings, run=run, target="a", attempt=2)
    publish(two.settings, run=run)
    assert counts(two) == [3, 2]


def test_while_a_run_loads_no_other_run_begins_and_a_dead_holder_keeps_nobody_out(two: Any) -> None:
    run = begin(two.settings, run_key="dag/locked", tables=None, full_refresh=False)
    with (
        pytest.raises(TerminalError, match="ended the session that held the snapshot"),
        two.held(run) as holder,
    ):
        with pytest.raises(LeaseTakenError, match="dag/locked, loading"):
            two.load()
        two.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'elt snapshot dag/locked%'"
        )
        assert holder.exception(20)
    with pytest.raises(TerminalError, match="this run is gone"):
        load_table(two.settings, run=run, target="a", attempt=1)
    two.load()
    assert counts(two) == [2, 2]


def test_a_table_that_lost_rows_after_it_was_counted_is_not_published(two: Any) -> None:
    run = loaded_run(two)
    two.admin_client.command(f"TRUNCATE TABLE raw.`b__loading_{run}_1`")
    with pytest.raises(TerminalError, match="has 0 rows and was loaded with 2"):
        publish(two.settings, run=run)
    assert counts(two) == [1, 1]


def test_a_run_with_a_table_missing_publishes_none(two: Any) -> None:
    run = begin(two.settings, run_key="dag/half", tables=None, full_refresh=False)
    with two.held(run):
        load_table(two.settings, run=run, target="a", attempt=1)
    with pytest.raises(TerminalError, match="has not loaded b"):
        publish(two.settings, run=run)
    assert counts(two) == [1, 1]


def test_a_run_that_was_overtaken_does_not_bring_back_the_past(two: Any) -> None:
    old = loaded_run(two)
    two.sql("INSERT INTO a VALUES (3)")
    two.load()
    with pytest.raises(TerminalError, match="was overtaken"):
        publish(two.settings, run=old)
    assert counts(two) == [3, 2]


def test_a_cut_publish_is_rolled_forward_once_and_never_back(two: Any) -> None:
    run = loaded_run(two)
    with Warehouse(two.settings.warehouse) as warehouse:
        publishing.open_journal(warehouse, ops.find_run(warehouse, run))
    two.admin_client.command(f"EXCHANGE TABLES raw.a AND raw.`a__loading_{run}_1`")
    assert counts(two) == [2, 1]
    code, out, err = two.command("recover")
    assert code == 0 and "finished the publish of raw.b" in out, err
    assert counts(two) == [2, 2] and loading_tables(two) == []
    code, out, err = two.command("recover")
    assert code == 0 and "nothing to recover" in out, err
    assert counts(two) == [2, 2]
    assert publish(two.settings, run=run).run == run


def test_a_publish_that_was_cut_after_its_last_swap_succeeds_when_it_is_repeated(
    two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a retried task of the DAG repeats it: the journal is closed, and the run not yet ended."""
    run = loaded_run(two)

    def cut(*_: object) -> None:
        raise TransientError("cut")

    with monkeypatch.context() as patch, pytest.raises(TransientError, match="cut"):
        patch.setattr(publishing, "_end_run", cut)
        publish(two.settings, run=run)
    assert counts(two) == [2, 2]
    assert [(table.target, table.rows) for table in publish(two.settings, run=run).tables] == [("a", 2), ("b", 2)]
    with Warehouse(two.settings.warehouse) as warehouse:
        assert ops.find_run(warehouse, run).status == "success"
    assert counts(two) == [2, 2] and loading_tables(two) == []


def test_the_next_run_finishes_what_was_cut_and_then_does_its_own(two: Any) -> None:
    run = loaded_run(two)
    with Warehouse(two.settings.warehouse) as warehouse:
        publishing.open_journal(warehouse, ops.find_run(warehouse, run))
        two.sql("INSERT INTO a VALUES (3)")
        two.load("a")
        assert counts(two) == [3, 2]
        assert ops.find_run(warehouse, run).status == "success"


def test_a_publisher_that_wakes_up_late_changes_nothing(two: Any) -> None:
    run = loaded_run(two)
    with Warehouse(two.settings.warehouse) as warehouse:
        journal = publishing.open_journal(warehouse, ops.find_run(warehouse, run)).journal
        publish(two.settings, run=run)
        publishing.roll_forward(warehouse, journal)
        assert counts(two) == [2, 2]
        two.sql("INSERT INTO a VALUES (3)")
        two.load()
        publishing.roll_forward(warehouse, journal)
    assert counts(two) == [3, 2]


class Interrupted(Warehouse):
    """Runs statements between a publisher's look at the tables and its first rename."""

    def __init__(self, settings: Settings, admin: Any, *statements: str) -> None:
        super().__init__(settings.warehouse)
        self._admin, self._statements = admin, list(statements)

    def command(self, sql: str, settings: Mapping[str, Any] | None = None) -> None:
        while sql.startswith("RENAME TABLE") and self._statements:
            self._admin.command(self._statements.pop(0))
        super().command(sql, settings)


@pytest.mark.parametrize(
    ("meanwhile", "rows"),
    [
        (("CREATE TABLE raw.other AS raw.a", "EXCHANGE TABLES raw.a AND raw.other", "DROP TABLE raw.other"), 0),
        (("DROP TABLE {loading}", "CREATE TABLE {loading} AS raw.a"), 1),
    ],
    ids=["published table replaced", "loading table replaced"],
)
def test_a_publisher_looks_again_before_it_swaps(two: Any, meanwhile: tuple[str, ...], rows: int) -> None:
    """Names may stand for other tables than a moment before; the journal is about tables, and swaps no others."""
    run = begin(two.settings, run_key="dag/look", tables=["public.a"], full_refresh=False)
    loading = raw(load_table(two.settings, run=run, target="a", attempt=1).loading_table)
    statements = [statement.replace("{loading}", loading) for statement in meanwhile]
    with Interrupted(two.settings, two.admin_client, *statements) as warehouse:
        opened = publishing.open_journal(warehouse, ops.find_run(warehouse, run))
        (closed,) = publishing.execute_journal(warehouse, opened)
    assert closed.status == "abandoned" and counts(two) == [rows, 1]


def test_a_publisher_that_gave_up_its_turn_and_wakes_up_late_changes_nothing(two: Any) -> None:
    run = loaded_run(two)
    with Warehouse(two.settings.warehouse) as warehouse:
        journal = publishing.open_journal(warehouse, ops.find_run(warehouse, run)).journal
        publishing.abandon(warehouse, journal)
        two.sql("INSERT INTO a VALUES (3)")
        two.load()
        for entry in journal:
            with pytest.raises(TerminalError, match="UNKNOWN_TABLE"):
                warehouse.command(f"EXCHANGE TABLES {raw(entry.target)} AND {raw(entry.loading_table)}")
        publishing.roll_forward(warehouse, journal)
    assert counts(two) == [3, 2]


def dbt_run(shop: Any, status: str, heartbeat: datetime) -> None:
    version = records.microseconds()
    shop.admin_client.command(
        "INSERT INTO ops.dbt_runs (id, status, queued_at, heartbeat_at, version) VALUES "
        f"('elt-test', '{status}', now64(6), '{heartbeat:%Y-%m-%d %H:%M:%S}', {version})"
    )


def take_over(shop: Any, name: str) -> None:
    """Makes the next generation of a lease, as another process does that finds its holder silent."""
    found = shop.warehouse(f"SELECT name FROM system.tables WHERE database = 'ops' AND name LIKE 'lease\\_{name}\\_%'")
    newest = max(int(table.rpartition("_")[2]) for (table,) in found)
    shop.admin_client.command(f"CREATE TABLE ops.lease_{name}_{newest + 1} AS ops.lease_{name}_{newest}")


def test_a_publisher_that_lost_its_leases_and_was_overtaken_leaves_what_is_published(
    two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = loaded_run(two)
    monkeypatch.setattr(leases, "TIME_TO_LIVE", 0.2)

    def overtake(_: str) -> None:
        take_over(two, "run_shop")
        take_over(two, "publishing")
        dbt_run(two, "success", datetime.now(UTC))
        publish(two.settings, run=run)

    try:
        dbt_run(two, "running", datetime.now(UTC))
        with pytest.raises(TransientError, match="The lease run_shop was taken over"):
            publish(two.settings, run=run, tell=overtake)
    finally:
        dbt_run(two, "success", datetime.now(UTC))
    assert counts(two) == [2, 2]
    assert two.warehouse(f"SELECT DISTINCT status FROM ops.publishes FINAL WHERE run = {run}") == [("done",)]


def test_a_publish_waits_for_dbt_and_gives_up_its_turn_in_time(two: Any) -> None:
    run = loaded_run(two)
    try:
        dbt_run(two, "running", datetime.now(UTC))
        with pytest.raises(TransientError, match="dbt run elt-test"):
            publish(two.settings, run=run, wait_seconds=1.5)
        assert counts(two) == [1, 1]
        assert two.warehouse("SELECT count() FROM ops.publishes FINAL WHERE status = 'open'") == [(0,)]
        ended = threading.Timer(1.5, dbt_run, (two, "success", datetime.now(UTC)))
        ended.start()
        said: list[str] = []
        publish(two.settings, run=run, wait_seconds=20, tell=said.append)
        assert counts(two) == [2, 2]
        assert said == ["waiting for dbt run elt-test to end, for 0 min at most"]
    finally:
        dbt_run(two, "success", datetime.now(UTC))


def test_a_load_by_hand_says_that_it_waits_for_dbt(two: Any) -> None:
    try:
        dbt_run(two, "running", datetime.now(UTC))
        with two.python("load") as process:
            lines = iter(process.stdout.readline, "")
            assert any("waiting for dbt run elt-test to end, for 30 min at most" in line for line in lines)
            dbt_run(two, "success", datetime.now(UTC))
            out, err = process.communicate(timeout=60)
        assert process.returncode == 0 and "Published 2 tables" in out, err
    finally:
        dbt_run(two, "success", datetime.now(UTC))


def test_a_dbt_run_without_a_heartbeat_is_dead_and_not_waited_for(two: Any) -> None:
    try:
        dbt_run(two, "running", datetime.now(UTC) - timedelta(seconds=61))
        began = time.monotonic()
        publish(two.settings, run=loaded_run(two), wait_seconds=20)
        assert counts(two) == [2, 2] and time.monotonic() - began < 10
    finally:
        dbt_run(two, "success", datetime.now(UTC))


def test_a_second_run_is_refused_and_told_who_is_at_work(two: Any) -> None:
    with (
        Warehouse(two.settings.warehouse) as warehouse,
        run_lease(warehouse, "shop", holder="cli/desk/7"),
    ):
        code, _, err = two.command("load")
        assert code == 1 and f"Another run is at work: cli/desk/7, process {os.getpid()} on" in err
    assert counts(two) == [1, 1]
    two.load()


def test_a_publish_waits_for_that_of_another_source_and_says_for_whom(two: Any) -> None:
    run = loaded_run(two)
    said: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        with Warehouse(two.settings.warehouse) as warehouse, publishing_lease(warehouse, holder="dag/other source"):
            published = pool.submit(publish, two.settings, run=run, tell=said.append)
            until(lambda: said, "it says that it waits")
            assert "waiting for dag/other source, process" in said[0] and counts(two) == [1, 1]
        published.result(60)
    assert counts(two) == [2, 2]


STOPPED = """
import os, signal, sys
from elt.runs.run import publish
from elt.settings import read_settings
from warehouse import ops, records
append = records.append
def stop_first(warehouse, rows):
    if rows and isinstance(rows[0], ops.Publish) and rows[0].status == "open":
        os.kill(os.getpid(), signal.SIGSTOP)
    append(warehouse, rows)
records.append = stop_first
publish(read_settings(), run=int(sys.argv[1]))
"""


def test_a_publisher_stopped_between_its_checks_and_its_journal_moves_nothing_twice_or_backwards(
    two: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = loaded_run(two)
    stopped = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(run)], env=two.environment, stderr=subprocess.PIPE, text=True, cwd=two.repo
    )
    with stopped:
        try:
            found = os.waitid(os.P_PID, stopped.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            assert found is not None and found.si_code == os.CLD_STOPPED, stopped.communicate()
            two.sql("INSERT INTO a VALUES (3)")
            monkeypatch.setattr(leases, "TIME_TO_LIVE", 0.2)
            two.load()
            assert counts(two) == [3, 2]
            stopped.send_signal(signal.SIGCONT)
            _, err = stopped.communicate(timeout=120)
            assert stopped.returncode == 1 and "was taken over" in err
        finally:
            stopped.kill()
    assert counts(two) == [3, 2]
    fail(two.settings, run=run, run_key="dag/run", error="as Airflow says of the task that failed")
    recover(two.settings, holder="cli/test")
    assert counts(two) == [3, 2] and loading_tables(two) == []
    with Warehouse(two.settings.warehouse) as warehouse:
        assert ops.open_publishes(warehouse) == []


def test_a_failed_run_is_recorded_and_its_leftovers_go_with_the_next(two: Any) -> None:
    run = loaded_run(two, "dag/failing")
    fail(
        two.settings,
        run=run,
        run_key="dag/failing",
        error="a task failed: " + two.settings.source_url.get_secret_value(),
    )
    fail(two.settings, run=None, run_key="dag/never began", error="no source")
    with Warehouse(two.settings.warehouse) as warehouse:
        found = ops.find_run(warehouse, run)
        assert found.status == "failed" and "***" in found.error and "postgresql://" not in found.error
        never = ops.latest_run(warehouse, "dag/never began")
        assert never is not None and never.status == "failed"
    assert loading_tables(two) != []
    two.load()
    assert loading_tables(two) == [] and counts(two) == [2, 2]


def test_a_failed_run_goes_on_when_its_task_is_run_again(two: Any) -> None:
    run = loaded_run(two, "dag/cleared")
    fail(two.settings, run=run, run_key="dag/cleared", error="the webhook was away")
    publish(two.settings, run=run)
    assert counts(two) == [2, 2]


def test_loads_of_other_processes_read_the_held_snapshot_and_truncate_waits(two: Any) -> None:
    run = begin(two.settings, run_key="dag/held", tables=None, full_refresh=False)
    place = place_of(two.settings)
    with Warehouse(two.settings.warehouse) as warehouse:
        found = ops.find_run(warehouse, run)
        with held_snapshot(two.settings, warehouse, place.source, found, place.entries()):
            two.sql("INSERT INTO a VALUES (3)")
            emptied = threading.Thread(target=two.sql, args=("TRUNCATE b",))
            load_table(two.settings, run=run, target="b", attempt=1)
            emptied.start()
            assert load_table(two.settings, run=run, target="a", attempt=1).rows == 2
            assert emptied.is_alive()
        emptied.join(10)
        publish(two.settings, run=run)
        assert counts(two) == [2, 2]
        with pytest.raises(TerminalError, match="published already"):
            load_table(two.settings, run=run, target="a", attempt=1)


def test_a_load_whose_snapshot_is_gone_fails_for_good(two: Any) -> None:
    run = begin(two.settings, run_key="dag/gone", tables=None, full_refresh=False)
    place = place_of(two.settings)
    ready = threading.Event()
    seen: list[str] = []

    def remember(held: HeldSnapshot) -> None:
        seen.append(held.snapshot)
        ready.set()

    with Warehouse(two.settings.warehouse) as warehouse:
        found = ops.find_run(warehouse, run)
        hold(
            warehouse,
            place.source,
            settings=two.settings,
            run=found,
            entries=place.entries(),
            ready=remember,
            finished=ready.is_set,
        )
    with pytest.raises(TerminalError, match=f"snapshot {seen[0]} of this run is gone"):
        load_table(two.settings, run=run, target="a", attempt=1)
    with pytest.raises(TerminalError, match="has not loaded"):
        publish(two.settings, run=run)


def test_a_truncate_under_way_cannot_fake_an_empty_table(two: Any) -> None:
    """The load waits for it, and then reads what is true."""
    import psycopg2

    run = begin(two.settings, run_key="dag/truncate", tables=["a"], full_refresh=False)
    connection = psycopg2.connect(two.admin_dsn)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE a")
        results: list[int] = []
        load = threading.Thread(
            target=lambda: results.append(load_table(two.settings, run=run, target="a", attempt=1).rows)
        )
        load.start()
        two.until_locked_out("a")
        assert results == []
        connection.rollback()
    load.join(20)
    connection.close()
    assert results == [2]


def test_recovery_waits_for_nobody_when_there_is_nothing(two: Any) -> None:
    found = recover(two.settings, holder="cli/test")
    assert found.nothing
