"""The whole pipeline under Airflow's own processes: green by itself, once only, and loud when it fails."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from testing.waiting import until

TABLES = ("customers", "products", "orders", "order_items")
DBT = "run_dbt_transformations"
HOLD = "load_data.hold_snapshot"
# Airflow's client logs so before it repeats a call to the api-server; a running task's calls are in the scheduler's log.
RETRIED_CALL = "Starting call to 'airflow.sdk.api.client.Client.request'"


@pytest.fixture(scope="module")
def first_run(stack: Any) -> str:
    """The run that the schedule starts by itself at the first boot, when it is over."""
    runs = until(stack.runs, "a run of the schedule", 180)
    run = str(runs[-1]["dag_run_id"])
    stack.finished(run)
    return run


def clear(stack: Any, run: str, *tasks: str) -> None:
    """Does as the button Clear: these tasks of a run, or all of them."""
    body = {"dag_run_id": run, "dry_run": False, "only_failed": False, "reset_dag_runs": True}
    if tasks:
        body["task_ids"] = list(tasks)
    status, answer = stack.api("POST", "/dags/elt_pipeline/clearTaskInstances", body)
    assert status == 200, answer
    until(lambda: {each["dag_run_id"]: each["state"] for each in stack.runs()}[run] != "success", "the cleared run")


def count(postgres: Any, table: str) -> int:
    with psycopg2.connect(postgres.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM public.{table}")
        (rows,) = cursor.fetchone() or (0,)
    connection.close()
    return int(rows)


def sql(postgres: Any, statement: str) -> None:
    connection = psycopg2.connect(postgres.dsn())
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def test_first_boot_leads_to_a_green_run_with_every_row_in_raw(
    stack: Any, first_run: str, clickhouse: Any, sample_shop: Any
) -> None:
    states = {name: task["state"] for name, task in stack.tasks(first_run).items()}
    assert states == {
        "create_clickhouse_databases": "success",
        "load_data.hold_snapshot": "success",
        **{f"load_data.load_{table}": "success" for table in TABLES},
        "publish_raw": "success",
        DBT: "success",
    }
    assert len(stack.runs()) == 1, "catchup is off: one run, not one for each day since 2025"
    with clickhouse.client("loader") as client:
        for table in TABLES:
            assert client.query(f"SELECT count() FROM raw.{table}").first_row[0] == count(sample_shop, table)
        (status, key) = client.query("SELECT status, run_key FROM ops.runs FINAL ORDER BY run").first_row
    assert (status, key) == ("success", f"elt_pipeline/{first_run}")
    assert [run["status"] for run in stack.dbt_runs()] == ["success"]


def test_maintenance_does_not_run_at_the_first_boot(stack: Any, first_run: str) -> None:
    assert stack.runs("airflow_retention") == []


def test_task_logs_are_shown_and_carry_no_secret(stack: Any, first_run: str) -> None:
    assert "dbt run" in stack.task_log(first_run, DBT)
    secrets = [stack.env[name] for name in stack.env["STACK_SECRETS"].split(",") if name in stack.env]
    assert len(secrets) > 5
    everything = "".join(path.read_text() for path in (stack.home / "logs").rglob("*.log"))
    everything += "".join(service.log for name, service in stack.services.items() if name.startswith("airflow"))
    assert "publish_raw" in everything
    assert [secret for secret in secrets if secret in everything] == []


def test_nothing_listens_beyond_this_machine(stack: Any, first_run: str) -> None:
    groups = {service.pid for name, service in stack.services.items() if name.startswith("airflow")}
    assert listening(groups) == {"127.0.0.1"}


def test_table_that_is_not_in_the_plan_is_refused(stack: Any, first_run: str) -> None:
    status, answer = stack.api(
        "POST", "/dags/elt_pipeline/dagRuns", {"logical_date": None, "conf": {"tables": ["nonsense"]}}
    )
    assert status == 400
    assert "nonsense" in answer


@pytest.fixture(scope="module")
def one_table_run(stack: Any, first_run: str) -> str:
    """A finished run for one table, whose api-server was killed and started again while dbt was under way."""
    worker, server = stack.services["webhook-worker"], stack.services["airflow-webserver"]
    scheduler = stack.services["airflow-scheduler"]
    before, retried = len(stack.dbt_runs()), scheduler.log.count(RETRIED_CALL)
    worker.signal_group(signal.SIGSTOP)
    try:
        run = str(stack.trigger(tables=["products"]))
        until(lambda: len(stack.dbt_runs()) > before, "the dbt run", 180)
        server.kill()
        until(
            lambda: scheduler.log.count(RETRIED_CALL) > retried, "a call of the running task that finds no api-server"
        )
        server.start()
        until(lambda: stack.runs(), "the api-server", 180)
    finally:
        worker.signal_group(signal.SIGCONT)
    stack.finished(run)
    assert len(stack.dbt_runs()) == before + 1
    return run


def test_run_for_one_table_leaves_the_others_alone(stack: Any, one_table_run: str) -> None:
    states = {name: task["state"] for name, task in stack.tasks(one_table_run).items()}
    assert states["load_data.load_products"] == "success"
    assert {states[f"load_data.load_{table}"] for table in TABLES if table != "products"} == {"skipped"}
    assert states["publish_raw"] == states[DBT] == "success"


def test_api_server_killed_under_a_running_task_fails_nothing(stack: Any, one_table_run: str) -> None:
    task = stack.tasks(one_table_run)[DBT]
    assert (task["state"], task["try_number"]) == ("success", 1)


def test_scheduler_killed_while_dbt_is_under_way_gives_one_dbt_run(stack: Any, first_run: str) -> None:
    worker, scheduler = stack.services["webhook-worker"], stack.services["airflow-scheduler"]
    before = len(stack.dbt_runs())
    worker.signal_group(signal.SIGSTOP)
    try:
        run = stack.trigger()
        until(lambda: len(stack.dbt_runs()) > before, "the dbt run", 180)
        until(lambda: "dbt run" in stack.task_log(run, DBT), "the stored id of the dbt run", 90)
        scheduler.kill()
        scheduler.start()
        until(lambda: tried(stack, run) == 2, "the second attempt", 270)
        until(lambda: "Reconnecting" in stack.task_log(run, DBT, 2), "the second attempt to join the run", 90)
    finally:
        worker.signal_group(signal.SIGCONT)
    assert stack.finished(run) == "success"
    assert len(stack.dbt_runs()) == before + 1


def test_cleared_dbt_task_takes_the_result_that_is_there(stack: Any, first_run: str) -> None:
    before = len(stack.dbt_runs())
    clear(stack, first_run, DBT)
    assert stack.finished(first_run) == "success"
    assert stack.tasks(first_run)[DBT]["try_number"] == 2
    assert len(stack.dbt_runs()) == before


def test_run_cleared_from_its_start_loads_and_builds_again(stack: Any, first_run: str) -> None:
    before = len(stack.dbt_runs())
    clear(stack, first_run)
    assert stack.finished(first_run) == "success"
    assert len(stack.dbt_runs()) == before + 1


def test_failed_dbt_test_is_named_in_log_and_news_and_not_tried_again(
    stack: Any, first_run: str, sample_shop: Any
) -> None:
    sql(sample_shop, "ALTER TABLE products DROP CONSTRAINT products_cost_check")
    sql(sample_shop, "UPDATE products SET cost = -cost WHERE product_id = 1")
    try:
        stack.notifications.events.clear()
        run = stack.trigger()
        assert stack.finished(run) == "failed"
    finally:
        sql(sample_shop, "UPDATE products SET cost = -cost WHERE product_id = 1")
        sql(sample_shop, "ALTER TABLE products ADD CONSTRAINT products_cost_check CHECK (cost >= 0)")
    assert stack.tasks(run)[DBT]["try_number"] == 1
    assert "stg_products_rules" in stack.task_log(run, DBT)
    (event,) = until(lambda: stack.notifications.events, "the news of the failure")
    assert (event["type"], event["data"]["task"]) == ("airflow.task.failed", DBT)
    assert "stg_products_rules (fail)" in event["data"]["error"]


def test_load_that_can_only_fail_again_fails_at_once_and_reaches_notify_url(
    stack: Any, first_run: str, clickhouse: Any, sample_shop: Any
) -> None:
    with clickhouse.client("loader") as client:
        published = client.query("SELECT max(_elt_run) FROM raw.orders").first_row[0]
        sql(sample_shop, "REVOKE SELECT ON products FROM elt_reader")
        try:
            stack.notifications.events.clear()
            run = stack.trigger()
            assert stack.finished(run) == "failed"
        finally:
            sql(sample_shop, "GRANT SELECT ON products TO elt_reader")
        tasks = stack.tasks(run)
        assert (tasks[HOLD]["state"], tasks[HOLD]["try_number"]) == ("failed", 1)
        assert {tasks[f"load_data.load_{table}"]["state"] for table in TABLES} == {"skipped"}
        assert tasks["publish_raw"]["state"] == "upstream_failed"
        until(lambda: stack.notifications.events, "the news of the failure")
        (event,) = stack.notifications.events
        data = event["data"]
        assert (data["dag"], data["run"], data["task"]) == ("elt_pipeline", run, HOLD)
        assert "products" in data["error"]
        assert stack.env["SOURCE_URL"] not in json.dumps(event)
        closed = until(lambda: closed_run(client, run), "the closed run in ops.runs", 90)
        assert HOLD in closed
        assert client.query("SELECT max(_elt_run) FROM raw.orders").first_row[0] == published


def test_load_that_fails_under_on_error_keep_is_green_with_a_warning_and_reaches_notify_url(
    stack: Any, first_run: str, clickhouse: Any, sample_shop: Any
) -> None:
    pipeline = Path(stack.env["ELT_PIPELINE"])
    before = pipeline.read_text()
    # A table that is kept must be one that dbt takes: an earlier test has left a product that it refuses.
    assert stack.finished(stack.trigger()) == "success"
    with clickhouse.client("loader") as client:
        newest = "SELECT (SELECT max(_elt_run) FROM raw.products), (SELECT max(_elt_run) FROM raw.customers)"
        products, customers = client.query(newest).first_row
        pipeline.write_text(before.replace("    kind: postgres\n", "    kind: postgres\n    on_error: keep\n"))
        sql(sample_shop, "REVOKE SELECT ON products FROM elt_reader")
        try:
            stack.notifications.events.clear()
            run = stack.trigger()
            assert stack.finished(run) == "success"
        finally:
            sql(sample_shop, "GRANT SELECT ON products TO elt_reader")
            pipeline.write_text(before)
        assert {name: task["state"] for name, task in stack.tasks(run).items() if task["state"] != "success"} == {}
        assert "keeps what was published before" in stack.task_log(run, "load_data.load_products")
        (event,) = until(lambda: stack.notifications.events, "the news of the kept table")
        assert (event["type"], event["data"]["table"], event["data"]["run"]) == ("airflow.table.kept", "products", run)
        assert "permission denied" in event["data"]["error"]
        of_run = "SELECT status, error FROM ops.runs FINAL WHERE run_key = {key:String}"
        status, error = client.query(of_run, parameters={"key": f"elt_pipeline/{run}"}).first_row
        assert status == "success" and error.startswith("raw.products keeps what was published before")
        assert client.query(newest).first_row[0] == products and client.query(newest).first_row[1] > customers


def test_holder_that_loses_its_snapshot_fails_the_run_at_once_and_publishes_nothing(
    stack: Any, first_run: str, clickhouse: Any, sample_shop: Any
) -> None:
    with clickhouse.client("loader") as client:
        published = client.query("SELECT max(_elt_run) FROM raw.orders").first_row[0]
        run = stack.trigger()
        until(lambda: ended_holders(sample_shop, f"elt snapshot elt_pipeline/{run}"), "the held snapshot", 180)
        # No task waits for a retry that could only repeat the failure: Stack.finished fails on one.
        assert stack.finished(run) == "failed"
        tasks = stack.tasks(run)
        assert (tasks[HOLD]["state"], tasks[HOLD]["try_number"]) == ("failed", 1)
        assert "start the whole run again" in stack.task_log(run, HOLD)
        assert tasks["publish_raw"]["state"] == "upstream_failed"
        assert client.query("SELECT max(_elt_run) FROM raw.orders").first_row[0] == published


def ended_holders(postgres: Any, application: str) -> int:
    # Before the last statement is one of these two the session holds nothing yet that a run could lose.
    with psycopg2.connect(postgres.dsn()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE starts_with(%s, application_name)"
            " AND application_name LIKE 'elt snapshot%%' AND state = 'idle in transaction'"
            " AND query IN ('SELECT pg_export_snapshot()', 'SELECT 1')",
            (application,),
        )
        ended = cursor.rowcount
    connection.close()
    return int(ended)


def test_retention_cleans_the_metadata_from_a_task(stack: Any, first_run: str) -> None:
    run = stack.trigger("airflow_retention")
    assert stack.finished(run, dag="airflow_retention") == "success"
    assert stack.env["AIRFLOW_METADATA_CONN"] not in stack.task_log(run, "clean_metadata", dag="airflow_retention")


def test_provision_beside_a_running_airflow_changes_nothing(stack: Any, first_run: str, provision: Any) -> None:
    assert "up to date" in provision().stdout


def test_scheduler_stops_gracefully(stack: Any, first_run: str) -> None:
    scheduler = stack.services["airflow-scheduler"]
    scheduler.process.terminate()
    assert scheduler.process.wait(20) == 0
    scheduler.start()


def tried(stack: Any, run: str) -> int:
    task = stack.tasks(run)[DBT]
    return int(task["try_number"]) if task["state"] == "running" else 0


def closed_run(client: Any, run: str) -> str:
    rows = client.query(
        "SELECT error FROM ops.runs FINAL WHERE run_key = {key:String} AND status = 'failed'",
        parameters={"key": f"elt_pipeline/{run}"},
    ).result_rows
    return str(rows[0][0]) if rows else ""


def listening(groups: set[int]) -> set[str]:
    """Addresses on which any process of these process groups listens, from /proc."""
    inodes = set()
    for folder in Path("/proc").iterdir():
        try:
            if not folder.name.isdigit() or os.getpgid(int(folder.name)) not in groups:
                continue
            links = [os.readlink(entry) for entry in (folder / "fd").iterdir()]  # noqa: PTH115 - no file, but a socket
        except OSError:
            continue
        inodes |= {found[1] for link in links if (found := re.match(r"socket:\[(\d+)\]", link))}
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and parts[9] in inodes:
                address = parts[1].split(":")[0]
                octets = [str(byte) for byte in reversed(bytes.fromhex(address[:8]))]
                addresses.add(".".join(octets) if table == "tcp" else f"tcp6:{address}")
    return addresses
