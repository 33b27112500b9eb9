"""Promises of the DAG files: the graph of the design, retries, no catch-up, parameters, notes for the night."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., subprocess.Popen[str]]
TABLES = ("customers", "products", "orders", "order_items")


def describe(start: Start, repo: Path, **environment: str) -> dict[str, Any]:
    out, err = start("describe_dags.py", str(repo / "airflow/dags"), **environment).communicate(timeout=300)
    assert out, err
    described: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return described


@pytest.fixture(scope="module")
def dags(airflow_python: Start, repo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    plan = tmp_path_factory.mktemp("plan") / "plan.json"
    tables = [{"source": f"public.{name}", "target": name, "mode": "full"} for name in TABLES]
    plan.write_text(json.dumps({"version": 1, "tables": tables}))
    described = describe(airflow_python, repo, ELT_PLAN=str(plan), ELT_SCHEDULE="15 4 * * *")
    assert described["errors"] == {}
    return dict(described["dags"])


def test_graph_is_that_of_the_design(dags: dict[str, Any]) -> None:
    loads = ["load_data.hold_snapshot", *(f"load_data.load_{name}" for name in TABLES)]
    assert {name: task["upstream"] for name, task in dags["elt_pipeline"]["tasks"].items()} == {
        "create_clickhouse_databases": [],
        **{load: ["create_clickhouse_databases"] for load in loads},
        "publish_raw": sorted(loads),
        "run_dbt_transformations": ["publish_raw"],
    }


def test_schedule_is_that_of_the_environment_and_nothing_is_caught_up(dags: dict[str, Any]) -> None:
    dag = dags["elt_pipeline"]
    assert "15 4 * * *" in dag["schedule"]
    assert dag["start"] == "2025-01-01T00:00:00+00:00"
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)


@pytest.mark.parametrize("name", ["elt_pipeline", "airflow_retention"])
def test_every_task_is_retried_bounded_told_of_and_explained(dags: dict[str, Any], name: str) -> None:
    for task_id, task in dags[name]["tasks"].items():
        # A second snapshot would be another instant: a holder is not tried again.
        retries = 0 if task_id == "load_data.hold_snapshot" else 2
        assert (task["retries"], task["retry_delay"]) == (retries, 300.0), task_id
        assert task["timeout"], task_id
        assert task["callbacks"] == 1, task_id
        assert task["docs"], task_id


def test_failed_run_is_closed(dags: dict[str, Any]) -> None:
    assert dags["elt_pipeline"]["callbacks"]


def test_parameters_allow_the_planned_tables_only(dags: dict[str, Any]) -> None:
    params = dags["elt_pipeline"]["params"]
    assert params["tables"]["schema"]["items"] == {"type": "string", "enum": list(TABLES)}
    assert params["full_refresh"]["schema"]["type"] == "boolean"


def test_notes_for_the_night_name_every_task(dags: dict[str, Any]) -> None:
    notes = dags["elt_pipeline"]["docs"]
    for task in (
        "create_clickhouse_databases",
        "hold_snapshot",
        "load_<table>",
        "publish_raw",
        "run_dbt_transformations",
    ):
        assert f"| `{task}` |" in notes


def test_wiring_fits_on_one_screen(repo: Path) -> None:
    assert len((repo / "airflow/dags/elt_pipeline.py").read_text().splitlines()) <= 80


PIPELINE = """
sources:
  - {name: shop, kind: postgres, tables: [{name: public.orders}]}
  - name: erp
    kind: postgres
    url: {env: ERP_URL}
    schedule: 30 2 * * 1-5
    tables: [{name: public.targets}, {name: plan.budgets}]
  - {name: CRM_2, kind: postgres, url: {env: CRM_URL}, schedule: manual, tables: [{name: public.leads}]}
  - {name: hr, kind: postgres, url: {env: HR_URL}, tables: [{name: public.people}]}
"""


@pytest.fixture(scope="module")
def of_several(airflow_python: Start, repo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("several")
    (folder / "pipeline.yml").write_text(PIPELINE)
    described = describe(
        airflow_python,
        repo,
        ELT_PIPELINE=str(folder / "pipeline.yml"),
        ELT_PLAN=str(folder / "none.json"),
        ELT_SCHEDULE="15 4 * * *",
    )
    assert described["errors"] == {}
    return dict(described["dags"])


def test_each_source_has_a_dag_of_the_same_shape(of_several: dict[str, Any]) -> None:
    assert set(of_several) == {"airflow_retention", "elt_pipeline", "elt_erp", "elt_CRM_2", "elt_hr"}
    loads = ["load_data.hold_snapshot", "load_data.load_erp__plan__budgets", "load_data.load_erp__targets"]
    assert {name: task["upstream"] for name, task in of_several["elt_erp"]["tasks"].items()} == {
        "create_clickhouse_databases": [],
        **{load: ["create_clickhouse_databases"] for load in loads},
        "publish_raw": loads,
        "run_dbt_transformations": ["publish_raw"],
    }
    assert "load_data.load_orders" in of_several["elt_pipeline"]["tasks"]


def test_a_source_that_is_read_by_the_day_fetches_first(airflow_python: Start, repo: Path, tmp_path: Path) -> None:
    pipeline = tmp_path / "pipeline.yml"
    pipeline.write_text(
        "sources:\n- {name: shop, kind: postgres, tables: [{name: public.orders}]}\n- {name: api, kind: rest, url: 'https://x', endpoints: [{name: items, path: /items}]}\n"
    )
    found = describe(airflow_python, repo, ELT_PIPELINE=str(pipeline), ELT_PLAN=str(tmp_path / "plan.json"))
    tasks = found["dags"]["elt_api"]["tasks"]
    assert tasks["fetch_day"]["upstream"] == ["create_clickhouse_databases"]
    assert tasks["load_data.hold_snapshot"]["upstream"] == ["fetch_day"]
    assert tasks["load_data.load_api__items"]["upstream"] == ["fetch_day"]
    assert "fetch_day" not in found["dags"]["elt_pipeline"]["tasks"]


def test_each_dag_begins_a_run_of_its_own_source(of_several: dict[str, Any]) -> None:
    begins = {
        name: of_several[name]["tasks"]["create_clickhouse_databases"]["arguments"]
        for name in of_several
        if name != "airflow_retention"
    }
    assert begins == {"elt_pipeline": ["shop"], "elt_erp": ["erp"], "elt_CRM_2": ["CRM_2"], "elt_hr": ["hr"]}


def test_schedule_of_a_source_stands_before_that_of_the_environment(of_several: dict[str, Any]) -> None:
    schedules = {name: of_several[name]["schedule"] for name in of_several if name != "airflow_retention"}
    assert "'30 2 * * 1-5'" in schedules["elt_erp"]
    assert "'15 4 * * *'" in schedules["elt_pipeline"]
    assert schedules["elt_hr"] == schedules["elt_pipeline"]
    assert "Cron" not in schedules["elt_CRM_2"]


def test_main_dag_builds_everything_and_any_other_one_what_hangs_on_its_source(of_several: dict[str, Any]) -> None:
    selects = {
        name: of_several[name]["tasks"]["run_dbt_transformations"]["select"] for name in ("elt_pipeline", "elt_erp")
    }
    assert selects == {"elt_pipeline": [], "elt_erp": ["source:erp+"]}


def test_each_dag_tells_of_raw_tables_and_marts_under_names_of_its_own(of_several: dict[str, Any]) -> None:
    tasks = of_several["elt_erp"]["tasks"]
    assert tasks["publish_raw"]["outlets"] == ["elt_erp.raw"]
    assert tasks["run_dbt_transformations"]["outlets"] == ["elt_erp.analytics"]


def test_sources_that_load_at_once_leave_places_for_their_loads(of_several: dict[str, Any], repo: Path) -> None:
    text = (repo / "airflow/config/airflow.env").read_text()
    (places,) = [
        int(line.partition("=")[2]) for line in text.splitlines() if line.startswith("AIRFLOW__CORE__PARALLELISM=")
    ]
    # The holder of a snapshot keeps a place until the last load has ended.
    assert places > sum(name.startswith("elt_") for name in of_several)
    assert {of_several[name]["max_active_tasks"] for name in of_several if name.startswith("elt_")} == {4}


def test_wrong_schedule_of_one_source_is_an_import_error_and_leaves_the_other_dags(
    airflow_python: Start, repo: Path, tmp_path: Path
) -> None:
    pipeline = tmp_path / "pipeline.yml"
    pipeline.write_text(PIPELINE.replace("30 2 * * 1-5", "30 25 * * *"))
    described = describe(
        airflow_python, repo, ELT_PIPELINE=str(pipeline), ELT_PLAN=str(tmp_path / "none.json"), ELT_SCHEDULE="@daily"
    )
    (error,) = described["errors"].values()
    assert "30 25 * * *" in error
    assert {"elt_pipeline", "elt_hr"} <= set(described["dags"])
    assert "elt_erp" not in described["dags"]


def test_main_dag_is_that_of_the_first_source_where_every_one_has_an_address(
    airflow_python: Start, repo: Path, tmp_path: Path
) -> None:
    pipeline = tmp_path / "pipeline.yml"
    sources = "".join(
        f"  - {{name: {name}, kind: postgres, url: {{env: {name.upper()}_URL}}, tables: [{{name: public.t}}]}}\n"
        for name in ("a", "b")
    )
    pipeline.write_text(f"sources:\n{sources}")
    described = describe(airflow_python, repo, ELT_PIPELINE=str(pipeline), ELT_PLAN=str(tmp_path / "none.json"))
    assert described["errors"] == {}
    assert {"elt_pipeline", "elt_b"} == set(described["dags"]) - {"airflow_retention"}
    assert "load_data.load_a__t" in described["dags"]["elt_pipeline"]["tasks"]


def test_pipeline_without_a_plan_yet_is_still_a_chain(airflow_python: Start, repo: Path, tmp_path: Path) -> None:
    pipeline = tmp_path / "pipeline.yml"
    pipeline.write_text("sources:\n  - name: other\n    kind: postgres\n    tables: all\n")
    missing = str(tmp_path / "none.json")
    described = describe(airflow_python, repo, ELT_PIPELINE=str(pipeline), ELT_PLAN=missing, ELT_SCHEDULE="")
    assert described["errors"] == {}
    dag = described["dags"]["elt_pipeline"]
    assert dag["tasks"]["publish_raw"]["upstream"] == ["load_data.hold_snapshot"]
    assert "NullTimetable" in dag["schedule"] or dag["schedule"] == "None"


def test_names_that_airflow_does_not_take_become_distinct_tasks(
    airflow_python: Start, repo: Path, tmp_path: Path
) -> None:
    targets = ["Order Items", "Order-Items", 'a"b', "größe", "sales__orders", "x" * 240 + "1", "x" * 240 + "2"]
    plan = tmp_path / "plan.json"
    tables = [{"source": "public.t", "target": name, "mode": "full"} for name in targets]
    plan.write_text(json.dumps({"version": 1, "tables": tables}))
    described = describe(airflow_python, repo, ELT_PLAN=str(plan))
    assert described["errors"] == {}
    loads = [name for name in described["dags"]["elt_pipeline"]["tasks"] if name.startswith("load_data.load_")]
    assert len(loads) == len(targets)
    assert "load_data.load_sales__orders" in loads


def test_broken_plan_is_an_import_error_with_the_cure(airflow_python: Start, repo: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text("{")
    (error,) = describe(airflow_python, repo, ELT_PLAN=str(plan))["errors"].values()
    assert "python -m elt plan" in error


def test_small_tables_of_many_share_tasks_and_can_still_be_asked_for(
    airflow_python: Start, repo: Path, tmp_path: Path
) -> None:
    tables = [
        {"source": f"public.t{n}", "target": f"t{n}", "mode": "full", "task": f"small tables {1 + n // 50}"}
        for n in range(120)
    ]
    tables.append({"source": "public.big", "target": "big", "mode": "full", "task": ""})
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"version": 1, "tables": tables}))
    described = describe(airflow_python, repo, ELT_PLAN=str(plan))
    assert described["errors"] == {}
    dag = described["dags"]["elt_pipeline"]
    loads = {name.removeprefix("load_data.") for name in dag["tasks"] if name.startswith("load_data.")}
    assert loads == {"hold_snapshot", "small_tables_1", "small_tables_2", "small_tables_3", "load_big"}
    assert len(dag["params"]["tables"]["schema"]["items"]["enum"]) == 121


def test_example_of_the_docs_is_a_dag_that_an_asset_starts(airflow_python: Start, repo: Path, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (repo / "docs/dags.md").read_text(), re.DOTALL)
    (tmp_path / "revenue_report.py").write_text(example)
    out, err = airflow_python("describe_dags.py", str(tmp_path)).communicate(timeout=300)
    described = json.loads(out.strip().splitlines()[-1])
    assert described["errors"] == {}, err
    assert "Asset" in described["dags"]["revenue_report"]["schedule"]
