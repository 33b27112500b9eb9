"""A loader whose parts are ended says so and leaves nothing half there. Kills at any moment: tests/faults."""

import contextlib
import signal
import subprocess
import sys
from typing import Any

import pytest
from testing.waiting import until


@pytest.fixture
def versions(shop: Any) -> Any:
    """Two tables, published at version 1; the source is at version 2 with other numbers of rows."""
    shop.sql(
        "CREATE TABLE big (id int PRIMARY KEY, v int, t text)",
        "CREATE TABLE small (id int PRIMARY KEY, v int)",
        "INSERT INTO big SELECT i, 1, md5(i::text) FROM generate_series(1, 200000) i",
        "INSERT INTO small SELECT i, 1 FROM generate_series(1, 10) i",
    )
    shop.tables("public.big", "public.small")
    shop.load()
    shop.sql(
        "UPDATE big SET v = 2",
        "UPDATE small SET v = 2",
        "INSERT INTO big SELECT i, 2, md5(i::text) FROM generate_series(200001, 300000) i",
        "DELETE FROM small WHERE id > 7",
    )
    return shop


STEP = """
import sys
from warehouse.errors import PipelineError
from elt.runs.run import begin, hold_snapshot, load_table, publish
from elt.settings import Settings
settings = Settings()
try:
    print(eval(sys.argv[1]), flush=True)
except PipelineError as error:
    sys.exit(str(error))
"""


def step(shop: Any, expression: str) -> subprocess.Popen[str]:
    """One step of the DAG in a process of its own, as Airflow runs it."""
    command = [sys.executable, "-c", STEP, expression]
    return subprocess.Popen(
        command, env=shop.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=shop.repo
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.strip()


def until_loading(shop: Any, run: int) -> None:
    loads = f"SELECT 1 FROM ops.loads WHERE run = {run} AND status = 'running'"
    until(lambda: shop.warehouse(loads), f"a load of run {run}", every=0.005)


def test_a_holder_that_is_killed_while_loads_run_publishes_nothing(versions: Any) -> None:
    run = int(finish(step(versions, "begin(settings, run_key='dag/no holder', tables=None, full_refresh=False)")))
    ready = "lambda held: print('ready', flush=True)"
    with contextlib.ExitStack() as stack:
        holder = stack.enter_context(
            step(versions, f"hold_snapshot(settings, run={run}, ready={ready}, finished=lambda: False)")
        )
        assert holder.stdout is not None and holder.stdout.readline() == "ready\n"
        load = stack.enter_context(step(versions, f"load_table(settings, run={run}, target='big', attempt=1)"))
        until_loading(versions, run)
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        # What has begun reads its instant to the end; what begins now cannot.
        load.communicate(timeout=60)
        assert load.returncode == 0
    for expression, words in (
        (f"load_table(settings, run={run}, target='small', attempt=1)", "start the whole run again"),
        (f"publish(settings, run={run})", "has not loaded small; nothing was published"),
    ):
        with step(versions, expression) as process:
            _, err = process.communicate(timeout=60)
        assert process.returncode == 1 and words in err and err.count("\n") == 1, err
    assert versions.warehouse("SELECT count(), max(v) FROM raw.big") == [(200000, 1)]
    versions.load()
    assert versions.warehouse("SELECT count(), max(v) FROM raw.big") == [(300000, 2)]


def test_the_source_ending_the_copy_publishes_nothing_and_the_rerun_is_whole(versions: Any) -> None:
    # Long enough to be met at it, unlike that of `small`, which may be whole before its session hears that it has ended.
    versions.sql("INSERT INTO big SELECT i, 2, repeat(md5(i::text), 30) FROM generate_series(300001, 400000) i")
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {versions.copying('big')}"
    with versions.python("load") as process:
        until(lambda: versions.sql(end) or process.poll() is not None, "the copy of big", every=0.01)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "broke off the copy" in err and err.count("\n") == 1, err
    assert versions.warehouse("SELECT count(), max(v) FROM raw.big") == [(200000, 1)]
    versions.load()
    assert versions.warehouse("SELECT count(), max(v) FROM raw.big") == [(400000, 2)]


def test_two_runs_at_once_do_not_disturb_each_other(versions: Any) -> None:
    with versions.python("load") as one, versions.python("load") as other:
        results = [process.communicate(timeout=90) for process in (one, other)]
    codes = sorted(process.returncode for process in (one, other))
    assert codes[0] == 0, results
    if codes[1]:
        assert any("Another run is at work: cli/" in err for _, err in results)
    assert versions.warehouse("SELECT count(), max(v) FROM raw.big") == [(300000, 2)]


def test_readers_of_an_open_query_keep_what_they_read(versions: Any, clickhouse: Any) -> None:
    with (
        clickhouse.client() as client,
        client.query_row_block_stream(
            "SELECT v, sleepEachRow(0.00001) FROM raw.big SETTINGS max_block_size = 5000, max_threads = 1"
        ) as stream,
    ):
        blocks = iter(stream)
        seen = {row[0] for row in next(blocks)}
        versions.load()
        for block in blocks:
            seen |= {row[0] for row in block}
    assert seen == {1}


def test_an_interrupt_ends_a_run_in_order(versions: Any) -> None:
    versions.sql("INSERT INTO big SELECT i, 2, repeat(md5(i::text), 30) FROM generate_series(300001, 400000) i")
    with versions.python("load", PYTHONUNBUFFERED="1") as process:
        copies = f"SELECT 1 FROM pg_stat_activity WHERE {versions.copying('big')}"
        until(lambda: versions.sql(copies) or process.poll() is not None, "the copy of big", every=0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Interrupted" in err and "Traceback" not in err, out + err
    assert versions.warehouse("SELECT count(), max(v) FROM raw.big") == [(200000, 1)]
    last = versions.warehouse("SELECT status, error FROM ops.runs FINAL ORDER BY run DESC LIMIT 1")
    assert last == [("failed", "stopped by KeyboardInterrupt")]
