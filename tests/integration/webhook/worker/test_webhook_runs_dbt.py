"""From a POST to the marts and to `ops`, with a real worker, a real dbt and a real warehouse."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from testing.waiting import until

OPEN_PUBLISH = """
INSERT INTO ops.publishes (run, target, status, loading_table, opened_at, heartbeat_at, version)
SELECT {run:UInt64}, 'orders', {status:String}, 'orders__loading', now64(6), now64(6) - {age:UInt32},
    toUnixTimestamp64Micro(now64(6))
"""


def ops(clickhouse: Any, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with clickhouse.client() as admin:
        return [tuple(row) for row in admin.query(sql, parameters).result_rows]


def ops_run(clickhouse: Any, run_id: str) -> tuple[Any, ...] | None:
    sql = "SELECT status, attempts, nodes, failed, error FROM ops.dbt_runs FINAL WHERE id = {id:String}"
    found = ops(clickhouse, sql, id=run_id)
    return found[0] if found else None


@pytest.fixture
def publishing(clickhouse: Any) -> Iterator[Callable[..., None]]:
    """Writes the loader's journal: a publish that is open, with a heartbeat of that age, or done."""
    runs: set[int] = set()

    def write(run: int, status: str, age: int = 0) -> None:
        runs.add(run)
        with clickhouse.client("loader") as loader:
            loader.command(OPEN_PUBLISH, parameters={"run": run, "status": status, "age": age})

    yield write
    for run in runs:
        write(run, "abandoned")


def test_a_build_ends_in_marts_in_the_record_and_in_ops(make_webhook: Callable[..., Any], clickhouse: Any) -> None:
    webhook = make_webhook()
    webhook.start_web()
    webhook.start_worker()
    body = {"exclude": ["slow", "quick", "wrong"], "key": "dag/run/task"}
    run = webhook.post(wait=60, **body)
    assert run["status"] == "success", (run, webhook.call("GET", f"{run['url']}/logs").text)
    models = {node["name"] for node in run["nodes"] if node["resource_type"] == "model"}
    assert models > {"stg_customers", "fact_sales", "agg_sales_by_state"}
    assert {node["status"] for node in run["nodes"]} == {"success", "pass"}
    for node in run["nodes"]:
        began, ended = (datetime.fromisoformat(node[name]) for name in ("started_at", "ended_at"))
        # Instants of dbt's events are cut to a millisecond.
        assert (ended - began).total_seconds() >= node["seconds"] - 0.002, node
    assert run["progress"] == {"total": len(run["nodes"]), "done": len(run["nodes"]), "failed": 0}
    assert (run["attempts"], run["at_work"], run["error"]) == (1, [], None)
    log = webhook.call("GET", run["logs_url"]).text
    assert "OK created sql table model" in log and "Ended: success" in log
    assert "NodeFinished" not in log

    with clickhouse.client("superset") as reader:
        assert reader.command("SELECT count() FROM analytics.fact_sales") == 6
    until(lambda: ops_run(clickhouse, run["id"]) == ("success", 1, len(run["nodes"]), 0, ""), "ops has the end")
    nodes = ops(
        clickhouse,
        "SELECT count(), uniqExact(node), countIf(ended_at > now() - 120) FROM ops.dbt_nodes FINAL WHERE run_id = {id:String}",
        id=run["id"],
    )
    assert nodes == [(len(run["nodes"]),) * 3]
    assert webhook.post(**body)["id"] == run["id"]
    status = webhook.call("GET", "/status", token=None).json()
    assert (status["running"], status["last"]["id"], status["last_success"]["id"]) == (None, run["id"], run["id"])
    health = webhook.call("GET", "/health", token=None)
    assert (health.status_code, health.json()["status"]) == (200, "ok")


@pytest.mark.parametrize("threads", [1, 4])
def test_as_many_nodes_run_at_once_as_the_profile_has_threads_and_the_marts_are_the_same(
    make_webhook: Callable[..., Any], clickhouse: Any, project: Path, tmp_path: Path, threads: int
) -> None:
    own = tmp_path / "dbt"
    shutil.copytree(project, own)
    profiles = (own / "profiles.yml").read_text()
    (own / "profiles.yml").write_text(re.sub(r"threads: \d+", f"threads: {threads}", profiles))
    webhook = make_webhook(DBT_PROJECT_DIR=str(own))
    webhook.start_web()
    webhook.start_worker()
    for _ in range(2):
        # The second starts from clones of what the first has published.
        run = webhook.post(wait=60, exclude=["slow", "quick", "wrong"])
        assert run["status"] == "success", (run["error"], webhook.call("GET", run["logs_url"]).text)
        assert (nodes_at_once(run["nodes"]) > 1) == (threads > 1)
        assert nodes_at_once(run["nodes"]) <= threads
        with clickhouse.client("superset") as reader:
            sums = (
                "SELECT (SELECT count() FROM analytics.fact_sales),"
                " (SELECT toString(sum(net_revenue)) FROM analytics.agg_sales_by_state),"
                " (SELECT count() FROM analytics.dim_customers_history)"
            )
            assert [tuple(row) for row in reader.query(sums).result_rows] == [(6, "60.37", 4)]


def nodes_at_once(nodes: list[dict[str, Any]]) -> int:
    """The most that were at work at the same time."""
    changes = [
        (datetime.fromisoformat(node[name]), by) for node in nodes for name, by in (("started_at", 1), ("ended_at", -1))
    ]
    return max(accumulate(by for _, by in sorted(changes)))


def test_the_warm_dbt_makes_the_very_sql_of_the_command_line(
    make_webhook: Callable[..., Any], clickhouse: Any, venvs: Path, tmp_path: Path
) -> None:
    webhook = make_webhook()
    webhook.start_web()
    webhook.start_worker()
    left_out = ["slow", "quick", "wrong"]
    for _ in range(2):
        # The first build of a snapshot has other SQL than those after it.
        assert webhook.post(wait=60, exclude=left_out)["status"] == "success"
    places = ["--project-dir", webhook.project, "--profiles-dir", webhook.project]
    places += ["--target-path", tmp_path / "target", "--log-path", tmp_path]
    kinds = ["--exclude-resource-type", "unit_test", "--exclude-resource-type", "exposure"]
    subprocess.run(
        [venvs / "dbt/bin/dbt", "build", "--target", "prod", *kinds, *places, "--exclude", *left_out],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **clickhouse.env("dbt")},
        check=True,
        capture_output=True,
    )
    # As dbt leaves it: with the Jinja of the node rendered in `compiled`, and that of its materialization in `run`.
    for kind in ("compiled", "run"):
        warm, cold = sql_in(webhook.home / "target" / kind), sql_in(tmp_path / "target" / kind)
        assert warm.keys() == cold.keys() and len(warm) > 80
        assert [name for name in warm if warm[name] != cold[name]] == []


def sql_in(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*.sql")}


def test_a_failed_test_is_told_in_a_sentence_and_its_key_starts_a_successor(
    make_webhook: Callable[..., Any], clickhouse: Any
) -> None:
    webhook = make_webhook()
    webhook.start_web()
    webhook.start_worker()
    run = webhook.post("wrong", key="k", wait=60)
    assert run["status"] == "error"
    assert "not_negative_wrong_one: Got 1 result" in run["error"] and f"/runs/{run['id']}/logs" in run["error"]
    failed = [node for node in run["nodes"] if node["status"] == "fail"]
    assert [(node["name"], node["rows"]) for node in failed] == [("not_negative_wrong_one", 1)]
    until(lambda: ops_run(clickhouse, run["id"]) == ("error", 1, 2, 1, run["error"]), "ops has the end")
    successor = webhook.post("wrong", key="k")
    assert successor["id"] != run["id"]
    nothing = webhook.post("tag:nobody", wait=60)
    assert nothing["status"] == "error" and "Nothing in the dbt project matches select 'tag:nobody'" in nothing["error"]
    docs = webhook.post(command="docs", wait=60)
    assert docs["status"] == "success" and (webhook.home / "target-docs/catalog.json").is_file()


def test_dbt_gives_way_to_a_publish_and_goes_on_when_it_is_done(
    make_webhook: Callable[..., Any], clickhouse: Any, publishing: Callable[..., None]
) -> None:
    webhook = make_webhook()
    webhook.start_web()
    publishing(11, "open")
    webhook.start_worker()
    run = webhook.post("quick")
    until(lambda: "publishing raw.orders" in webhook.run(run["id"])["note"], "the run gives way")
    until(lambda: (ops_run(clickhouse, run["id"]) or [""])[0] == "queued", "ops says that it does not run")
    assert webhook.run(run["id"])["status"] == "queued"
    publishing(11, "done")
    done = webhook.final(run["id"])
    assert (done["status"], done["attempts"]) == ("success", 1)


@pytest.mark.parametrize("age", [0, 3600])
def test_a_publish_that_does_not_end_fails_the_run_with_the_command_that_recovers(
    make_webhook: Callable[..., Any], publishing: Callable[..., None], age: int
) -> None:
    webhook = make_webhook(WEBHOOK_PUBLISH_WAIT="2")
    webhook.start_web()
    publishing(12, "open", age)
    webhook.start_worker()
    run = webhook.post("quick", wait=30)
    assert (run["status"], run["attempts"]) == ("error", 0)
    assert "scripts/exec airflow-scheduler python -m elt recover" in run["error"] and "run 12" in run["error"]


def test_a_run_survives_a_warehouse_that_is_away_and_ops_hears_of_it_later(
    make_webhook: Callable[..., Any], clickhouse: Any, free_port: Callable[[], int]
) -> None:
    door = Door(free_port(), clickhouse.port)
    webhook = make_webhook(CLICKHOUSE_HTTP_PORT=str(door.port))
    webhook.start_web()
    webhook.start_worker()
    try:
        run = webhook.post("quick")
        until(lambda: "ClickHouse" in webhook.run(run["id"])["note"], "the run waits for ClickHouse")
        assert webhook.call("GET", "/health", token=None).json()["checks"]["warehouse"]["ok"] is False
        door.open()
        assert webhook.final(run["id"])["status"] == "success"
        until(lambda: (ops_run(clickhouse, run["id"]) or [""])[0] == "success", "ops has the end")
    finally:
        door.close()


def test_a_run_that_takes_too_long_is_ended_with_its_queries(make_webhook: Callable[..., Any], clickhouse: Any) -> None:
    webhook = make_webhook(WEBHOOK_RUN_TIMEOUT="5")
    webhook.start_web()
    webhook.start_worker()
    run = webhook.post("slow", wait=40)
    assert run["status"] == "error" and "WEBHOOK_RUN_TIMEOUT" in run["error"]
    until(lambda: not sleeping_queries(clickhouse), "its queries end", 5)


def test_a_cancel_ends_dbt_and_its_queries(make_webhook: Callable[..., Any], clickhouse: Any) -> None:
    webhook = make_webhook()
    webhook.start_web()
    webhook.start_worker()
    run = webhook.post("slow")
    until(lambda: sleeping_queries(clickhouse), "dbt is at work")
    # dbt's query runs before the record of its start has reached the store.
    until(lambda: webhook.run(run["id"])["at_work"] == ["slow"], "the run names its node")
    assert webhook.call("POST", f"{run['url']}/cancel").status_code == 202
    cancelled = webhook.final(run["id"], 10)
    assert cancelled["status"] == "cancelled"
    assert [(node["name"], node["status"]) for node in cancelled["nodes"]] == [("slow", "skipped")]
    until(lambda: not sleeping_queries(clickhouse), "its queries end", 5)


def sleeping_queries(clickhouse: Any) -> int:
    sql = "SELECT count() FROM system.processes WHERE query LIKE '%insert into%sleepEachRow%' AND query NOT LIKE '%system.proc%'"
    return int(ops(clickhouse, sql)[0][0])


class Door:
    """A port that leads to the warehouse once it is open."""

    def __init__(self, port: int, inner_port: int) -> None:
        self.port = port
        self._inner_port = inner_port
        self._server: socket.socket | None = None

    def open(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._serve, args=(self._server,), daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                outer, _ = server.accept()
            except OSError:
                return
            inner = socket.create_connection(("127.0.0.1", self._inner_port))
            for source, sink in ((outer, inner), (inner, outer)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with source, sink, contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
