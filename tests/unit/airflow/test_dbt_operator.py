"""The operator that waits for dbt: one dbt run for each load, whatever is killed, and errors that a person can use."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from testing.waiting import until

KEY = "elt_pipeline/manual__1/run_dbt_transformations"
TOKEN = "a-token-for-tests-only"


def node(name: str, status: str, message: str = "", *, kind: str = "model") -> dict[str, Any]:
    return {
        "node": f"{kind}.shop.{name}",
        "name": name,
        "resource_type": kind,
        "status": status,
        "seconds": 0.1,
        "rows": None,
        "message": message,
    }


@pytest.fixture
def begin(
    airflow_python: Callable[..., subprocess.Popen[str]], webhook: Any, tmp_path: Path
) -> Callable[..., subprocess.Popen[str]]:
    """Starts an attempt of the task; attempts of one test share what Airflow would keep between them."""

    def start(load_runs: str = "1", *flags: str, token: str = TOKEN) -> subprocess.Popen[str]:
        return airflow_python(
            "run_operator.py",
            str(tmp_path / "state.json"),
            load_runs,
            *flags,
            WEBHOOK_URL=webhook.url,
            WEBHOOK_TOKEN=token,
        )

    return start


@pytest.fixture
def attempts(begin: Callable[..., subprocess.Popen[str]]) -> Callable[..., list[dict[str, Any]]]:
    """Attempts from start to end, one for each load run: results or errors, and the log of all."""

    def run(load_runs: str, *flags: str, token: str = TOKEN) -> list[dict[str, Any]]:
        out, err = begin(load_runs, *flags, token=token).communicate(timeout=300)
        lines = [line for line in out.splitlines() if line.startswith('{"result"') or line.startswith('{"raised"')]
        assert len(lines) == len(load_runs.split(",")), err
        return [{**json.loads(line), "log": out + err} for line in lines]

    return run


@pytest.fixture
def attempt(attempts: Callable[..., list[dict[str, Any]]]) -> Callable[..., dict[str, Any]]:
    def run(*flags: str, token: str = TOKEN) -> dict[str, Any]:
        return attempts("1", *flags, token=token)[0]

    return run


def test_success_gives_the_run_and_logs_each_node(attempt: Any, webhook: Any) -> None:
    webhook.outcomes = [("success", [node("stg_orders", "success"), node("fact_sales", "success")], "")]
    done = attempt()
    assert done["result"]["id"] == "run-1"
    assert done["result"]["nodes"] == 2
    assert webhook.posts == [{"key": KEY, "body": {"command": "build", "full_refresh": False}}]


def test_each_mart_that_was_built_is_told_as_an_asset(attempt: Any, webhook: Any) -> None:
    built = [
        *(node("stg_orders", "success"), node("int_sales", "success"), node("fact_sales", "success")),
        *(node("customers_history", "success", kind="snapshot"), node("dim_late", "skipped")),
        node("unique_fact_sales", "pass", kind="test"),
    ]
    webhook.outcomes = [("success", built, "")]
    assert attempt()["assets"] == {
        "clickhouse://warehouse/analytics/fact_sales": {"run": 1, "dbt_run": "run-1"},
        "clickhouse://warehouse/analytics/customers_history": {"run": 1, "dbt_run": "run-1"},
    }


def test_what_is_selected_is_passed_on(attempt: Any, webhook: Any) -> None:
    webhook.outcomes = [("success", [], "")]
    attempt("select=source:erp+")
    assert webhook.posts[0]["body"]["select"] == ["source:erp+"]


def test_source_that_no_model_reads_skips_the_task(attempt: Any, webhook: Any) -> None:
    webhook.refuse_with, webhook.refusal = 422, {"unknown": {"source:erp": []}}
    skipped = attempt("select=source:erp+")
    assert "AirflowSkipException" in skipped["raised"]
    assert "reads erp yet" in skipped["text"]
    assert "scripts/add_table" in skipped["text"]


def test_any_other_refusal_fails_the_task(attempt: Any, webhook: Any) -> None:
    webhook.refuse_with = 422
    assert "AirflowFailException" in attempt("select=source:erp+")["raised"]


def test_full_refresh_is_passed_on(attempt: Any, webhook: Any) -> None:
    webhook.outcomes = [("success", [], "")]
    attempt("full")
    assert webhook.posts[0]["body"]["full_refresh"] is True


def test_attempt_after_a_kill_joins_the_run_that_goes_on(begin: Any, attempt: Any, webhook: Any) -> None:
    first = begin()
    until(lambda: webhook.posts, "the POST")
    state = "dbt_run"
    until(lambda: state in _state(first), "the stored id")
    first.kill()
    first.communicate()
    webhook.finish("run-1", "success")
    assert attempt()["result"]["id"] == "run-1"
    assert len(webhook.posts) == 1


def test_attempt_after_a_kill_before_the_id_was_stored_gets_the_same_run(
    begin: Any, attempt: Any, webhook: Any, tmp_path: Path
) -> None:
    first = begin()
    until(lambda: "dbt_run" in _state(first), "the stored id")
    first.kill()
    first.communicate()
    kept = json.loads((tmp_path / "state.json").read_text())
    del kept["dbt_run"]
    (tmp_path / "state.json").write_text(json.dumps(kept))
    webhook.finish("run-1", "success")
    assert attempt()["result"]["id"] == "run-1"
    assert [post["key"] for post in webhook.posts] == [KEY, KEY]
    assert len(webhook.runs) == 1


def test_lost_answer_to_the_post_does_not_double_the_run(attempt: Any, webhook: Any) -> None:
    webhook.lose_answers = 1
    webhook.outcomes = [("success", [], "")]
    assert attempt()["result"]["id"] == "run-1"
    assert len(webhook.posts) == 2
    assert len(webhook.runs) == 1


def test_attempt_after_a_failed_run_starts_its_successor(attempts: Any, webhook: Any) -> None:
    webhook.outcomes = [("error", [node("fact_sales", "error", "warehouse was away")], ""), ("success", [], "")]
    first, second = attempts("1,1")
    assert "DbtRunError" in first["raised"]
    assert second["result"]["id"] == "run-2"


def test_success_of_an_earlier_load_does_not_count_for_a_new_one(attempts: Any, webhook: Any) -> None:
    webhook.outcomes = [("success", [], ""), ("success", [], "")]
    assert [each["result"]["id"] for each in attempts("1,1,2,2")] == ["run-1", "run-1", "run-2", "run-2"]
    assert [post["key"] for post in webhook.posts] == [KEY, f"{KEY}/2"]


def test_failing_nodes_and_their_messages_are_in_error_and_log(attempt: Any, webhook: Any) -> None:
    webhook.outcomes = [
        (
            "error",
            [
                node("stg_orders", "success"),
                node("fact_sales", "error", "Code: 47. Unknown column x"),
                node("agg_sales_by_state", "skipped"),
            ],
            "1 of 3 nodes failed.",
        )
    ]
    failed = attempt()
    assert "fact_sales (error): Code: 47. Unknown column x" in failed["text"]
    assert "1 of 3 nodes failed." in failed["text"]
    assert "stg_orders" not in failed["text"]
    assert f"{webhook.url}/runs/run-1/logs" in failed["text"]


def test_only_what_can_go_better_is_tried_again(attempts: Any, webhook: Any) -> None:
    fails, errs = node("unique_orders", "fail", "3 rows"), node("fact_sales", "error", "away")
    for_good = [("error", [fails], ""), ("cancelled", [], "")]
    for_now = [("error", [fails, errs], ""), ("error", [], ""), ("interrupted", [], "")]
    webhook.outcomes = for_good + for_now
    stops = ["AirflowFailException" in each["raised"] for each in attempts("1,1,1,1,1")]
    assert stops == [True, True, False, False, False]


def test_wrong_token_fails_without_retry_and_is_not_shown(attempt: Any, webhook: Any) -> None:
    failed = attempt(token="the-wrong-token")
    assert "AirflowFailException" in failed["raised"]
    assert "WEBHOOK_TOKEN differs" in failed["text"]
    assert "the-wrong-token" not in failed["log"]


def test_lost_run_is_run_again(begin: Any, attempt: Any, webhook: Any) -> None:
    first = begin()
    until(lambda: "dbt_run" in _state(first), "the stored id")
    first.kill()
    first.communicate()
    webhook.runs.clear()
    webhook.keys.clear()
    webhook.outcomes = [("success", [], "")]
    assert attempt()["result"]["status"] == "success"
    assert len(webhook.posts) == 2


def _state(process: subprocess.Popen[str]) -> dict[str, Any]:
    path = Path(cast(list[str], process.args)[2])
    return json.loads(path.read_text()) if path.exists() and path.read_text() else {}
