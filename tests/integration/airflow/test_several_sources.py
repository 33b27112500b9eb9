"""A second source beside the shop, and a DAG of people that begins when its table is published."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from elt.publishing.leases import publishing_lease
from testing.waiting import until
from warehouse.client import Address, Warehouse

DAG, DBT = "elt_erp", "run_dbt_transformations"
RAW = "clickhouse://warehouse/raw/erp__targets"
MART = "clickhouse://warehouse/analytics/agg_targets"
SOURCE = """  - name: erp
    kind: postgres
    url: {env: ERP_URL}
    schedule: manual
    tables:
      - name: public.targets
"""
PEOPLES_DAG = f"""
from airflow.sdk import Asset, Connection, dag, task

TARGETS = Asset("{RAW}")


@dag(schedule=[TARGETS])
def peoples_own():
    @task(inlets=[TARGETS])
    def report(inlet_events=None):
        from airflow.providers.postgres.hooks.postgres import PostgresHook
        import clickhouse_connect

        at_source = PostgresHook("erp").get_first("SELECT count(*), current_user FROM targets")
        place = Connection.get("warehouse")
        client = clickhouse_connect.get_client(
            host=place.host, port=place.port, username=place.login, password=place.password
        )
        print("a password is", place.password)
        told = inlet_events[TARGETS][-1].extra
        return {{"at_source": list(at_source), "marts_as": client.query("SELECT currentRoles()").result_rows, "told": told}}

    report()


peoples_own()
"""
STAGING = """
sources:
  - name: erp
    schema: raw
    tables:
      - name: targets
        identifier: erp__targets
"""


@pytest.fixture(scope="module", autouse=True)
def source(stack: Any) -> Iterator[None]:
    """The shop's first run has ended, and pipeline.yml has a second source."""
    runs = until(stack.runs, "a run of the schedule", 180)
    until(lambda: stack.runs()[-1]["state"] in ("success", "failed"), "its end", 360)
    assert runs
    pipeline = Path(stack.env["ELT_PIPELINE"])
    before = pipeline.read_text()
    pipeline.write_text(before + SOURCE)
    folder = Path(stack.env["AIRFLOW__CORE__DAGS_FOLDER"])
    (folder / "peoples_own.py").write_text(PEOPLES_DAG)
    for dag in (DAG, "peoples_own"):
        until(lambda dag=dag: stack.api("GET", f"/dags/{dag}")[0] == 200, f"the DAG {dag}", 180)
    yield
    pipeline.write_text(before)
    (folder / "peoples_own.py").unlink()


@pytest.fixture(scope="module")
def first_run(stack: Any, source: None) -> str:
    run = str(stack.trigger(DAG))
    assert stack.finished(run, DAG) == "success"
    return run


def states(stack: Any, run: str, dag: str = DAG) -> dict[str, str]:
    return {name: task["state"] for name, task in stack.tasks(run, dag).items()}


def events(stack: Any, uri: str, run: str) -> list[dict[str, Any]]:
    status, answer = stack.api("GET", f"/assets/events?limit=100&source_run_id={quote(run)}&source_dag_id={DAG}")
    assert status == 200, answer
    return [event["extra"] for event in answer["asset_events"] if event["uri"] == uri]


def test_dag_of_a_source_loads_its_tables_alone(stack: Any, first_run: str, clickhouse: Any) -> None:
    loads = ["load_data.hold_snapshot", "load_data.load_erp__targets"]
    expected = dict.fromkeys(["create_clickhouse_databases", *loads, "publish_raw"], "success")
    found = states(stack, first_run)
    assert {name: state for name, state in found.items() if name != DBT} == expected
    with clickhouse.client("loader") as client:
        rows = client.query("SELECT state, toString(amount) FROM raw.erp__targets ORDER BY state").result_rows
        of_run = "SELECT status, source_name, tables FROM ops.runs FINAL WHERE run_key = {key:String}"
        (run,) = client.query(of_run, parameters={"key": f"{DAG}/{first_run}"}).result_rows
    assert [tuple(row) for row in rows] == [("CA", "10"), ("NY", "20"), ("TX", "30")]
    assert run == ("success", "erp", ["erp__targets"])


def test_dbt_is_skipped_while_no_model_reads_the_source(stack: Any, first_run: str) -> None:
    assert states(stack, first_run)[DBT] == "skipped"
    assert "No model of the dbt project reads erp yet" in stack.task_log(first_run, DBT, dag=DAG)
    assert stack.dbt_runs(f"{DAG}/") == []


def test_published_table_is_an_asset_with_its_rows(stack: Any, first_run: str, clickhouse: Any) -> None:
    (extra,) = events(stack, RAW, first_run)
    with clickhouse.client("loader") as client:
        of_run = "SELECT run, snapshot FROM ops.runs FINAL WHERE run_key = {key:String}"
        ((number, snapshot),) = client.query(of_run, parameters={"key": f"{DAG}/{first_run}"}).result_rows
    assert extra == {"rows": 3, "run": number, "snapshot": snapshot}


def test_dag_of_people_begins_with_the_table_and_has_connections(stack: Any, first_run: str) -> None:
    (run,) = until(lambda: stack.runs("peoples_own"), "the run that the asset starts", 120)
    assert stack.finished(run["dag_run_id"], "peoples_own") == "success"
    status, answer = stack.api(
        "GET", f"/dags/peoples_own/dagRuns/{run['dag_run_id']}/taskInstances/report/xcomEntries/return_value"
    )
    assert status == 200, answer
    value = answer["value"] if isinstance(answer["value"], dict) else json.loads(answer["value"])
    assert value["at_source"] == [3, "elt_reader"]
    assert "reader" in str(value["marts_as"])
    assert value["told"]["rows"] == 3
    log = stack.task_log(run["dag_run_id"], "report", dag="peoples_own")
    assert "a password is ***" in log
    assert stack.env["CLICKHOUSE_AIRFLOW_PASSWORD"] not in log


def test_connections_are_in_no_database(stack: Any, first_run: str) -> None:
    status, answer = stack.api("GET", "/connections")
    assert (status, answer["total_entries"]) == (200, 0)


@pytest.fixture
def models(stack: Any) -> Iterator[None]:
    """A staging view and a mart of the source, as scripts/add_table and a person write them."""
    own = stack.project / "models/staging/own"
    own.mkdir(parents=True, exist_ok=True)
    (own / "stg_erp_targets.yml").write_text(STAGING)
    (own / "stg_erp_targets.sql").write_text("select state, amount from {{ source('erp', 'targets') }}\n")
    mart = stack.project / "models/marts/agg_targets.sql"
    mart.write_text("select count() as states, sum(amount) as amount from {{ ref('stg_erp_targets') }}\n")
    yield
    for file in (own / "stg_erp_targets.yml", own / "stg_erp_targets.sql", mart):
        file.unlink()


def built_models(stack: Any, run: str) -> set[str]:
    return {node["name"] for node in stack.dbt_nodes(run) if node["resource_type"] == "model"}


def test_models_that_read_the_source_are_built_and_told_and_no_others(
    stack: Any, first_run: str, models: None, clickhouse: Any
) -> None:
    run = stack.trigger(DAG)
    assert stack.finished(run, DAG) == "success"
    assert states(stack, run)[DBT] == "success"
    (dbt,) = stack.dbt_runs(f"{DAG}/{run}")
    assert built_models(stack, dbt["id"]) == {"stg_erp_targets", "agg_targets"}
    (extra,) = events(stack, MART, run)
    assert (extra["rows"], extra["dbt_run"]) == (1, dbt["id"])
    with clickhouse.client("airflow") as client:
        assert client.query("SELECT states FROM analytics.agg_targets").result_rows == [(3,)]


def refresh(stack: Any, venvs: Path, *names: str) -> tuple[int, str]:
    """Does as scripts/refresh; returns the exit code, and what it printed."""
    done = subprocess.run(
        [str(venvs / "airflow/bin/python"), "-m", "elt_airflow.refresh", *names],
        env=stack.env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_refresh_of_a_source_builds_what_hangs_on_it(stack: Any, venvs: Path, first_run: str, models: None) -> None:
    before = {run["id"] for run in stack.dbt_runs()}
    code, said = refresh(stack, venvs, "erp")
    assert code == 0, said
    assert "3 rows of 1 tables loaded, 2 models and snapshots built" in said
    (run,) = [run["id"] for run in stack.dbt_runs() if run["id"] not in before]
    assert built_models(stack, run) == {"stg_erp_targets", "agg_targets"}


def test_refresh_of_a_source_that_no_model_reads_says_so(stack: Any, venvs: Path, first_run: str) -> None:
    code, said = refresh(stack, venvs, "erp__targets")
    assert code == 0, said
    assert "no model of the dbt project reads erp yet" in said
    assert "3 rows of 1 tables loaded, 0 models" in said


def test_refresh_goes_on_after_a_source_that_fails(stack: Any, venvs: Path, first_run: str) -> None:
    pipeline = Path(stack.env["ELT_PIPELINE"])
    before, runs = pipeline.read_text(), {run["id"] for run in stack.dbt_runs()}
    pipeline.write_text(before.replace("{env: ERP_URL}", "{env: NOT_SET_URL}"))
    try:
        code, said = refresh(stack, venvs)
    finally:
        pipeline.write_text(before)
    assert code == 1, said
    assert "NOT_SET_URL, the address of the source erp" in said
    assert "erp was not loaded" in said and "4 tables loaded" in said
    (run,) = [run["id"] for run in stack.dbt_runs() if run["id"] not in runs]
    assert "fact_sales" in built_models(stack, run)


def test_two_dags_that_publish_at_once_wait_for_one_another_and_say_for_whom(
    stack: Any, first_run: str, clickhouse: Any
) -> None:
    env = clickhouse.env("loader")
    place = Address(
        env["CLICKHOUSE_HOST"], int(env["CLICKHOUSE_HTTP_PORT"]), "loader", env["CLICKHOUSE_LOADER_PASSWORD"], False
    )
    with Warehouse(place) as warehouse, publishing_lease(warehouse, holder="the test"):
        runs = {dag: stack.trigger(dag) for dag in ("elt_pipeline", DAG)}
        for dag, run in runs.items():
            until(
                lambda dag=dag, run=run: "the test" in stack.task_log(run, "publish_raw", dag=dag),
                f"{dag} to wait",
                240,
            )
    assert {dag: stack.finished(run, dag) for dag, run in runs.items()} == dict.fromkeys(runs, "success")
    logs = {dag: stack.task_log(run, "publish_raw", dag=dag) for dag, run in runs.items()}
    assert "Published erp__targets" in logs[DAG] and "Published customers" in logs["elt_pipeline"]


def test_no_log_holds_the_address_of_the_source(stack: Any, first_run: str) -> None:
    everything = "".join(path.read_text() for path in (stack.home / "logs").rglob("*.log"))
    assert f"dag_id={DAG}" in str(list((stack.home / "logs").rglob("*.log")))
    assert stack.env["ERP_URL"] not in everything
