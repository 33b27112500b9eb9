"""elt-agent beside the real Airflow: what Airflow has ended is closed in ops.runs, and nothing else is."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent.airflow import GONE, Airflow, AirflowRefusedError, AirflowUnavailableError
from agent.dead_runs import DeadRuns
from elt.publishing.leases import publishing_lease, run_lease
from notify.sender import Event
from testing.secrets import secret_names
from testing.servers import free_port
from testing.waiting import until
from warehouse import leases, ops, records
from warehouse.client import Address, Warehouse

BYTECODE = "PYTHONPYCACHEPREFIX"
DAG = "elt_pipeline"
SOURCE = "shop"


@pytest.fixture
def warehouse(clickhouse: Any) -> Iterator[Warehouse]:
    with Warehouse(Address(clickhouse.host, clickhouse.port, "loader", clickhouse.password("loader"))) as client:
        yield client


@pytest.fixture
def airflow(stack: Any) -> Airflow:
    return Airflow(stack.url, stack.env["AIRFLOW_AGENT_PASSWORD"])


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def dead_runs(warehouse: Warehouse, airflow: Airflow, events: list[Event]) -> DeadRuns:
    return DeadRuns(warehouse, airflow, events.append)


@pytest.fixture(scope="module")
def done(stack: Any) -> str:
    """A DAG run that has ended as success."""
    run = str(stack.trigger())
    assert stack.finished(run) == "success"
    return run


def begun(warehouse: Warehouse, key: str, *, status: str = "running", source: str = SOURCE) -> int:
    """A run in ops.runs that has loaded one table, as a task that was killed left it."""
    run = ops.Run(records.microseconds(), key, status, ("products",), False, "", records.now(), source_name=source)
    records.append(warehouse, [run])
    warehouse.command(f"CREATE TABLE raw.products__loading_{run.run}_1 AS raw.products")
    return run.run


# A process that holds the lease of the source until it is killed.
HOLDER = """
import sys
from elt.publishing.leases import run_lease
from warehouse.client import Address, Warehouse
port, password, source = sys.argv[1:]
with run_lease(Warehouse(Address("127.0.0.1", int(port), "loader", password)), source, holder="cli/host:2"):
    print("held", flush=True)
    sys.stdin.read()
"""


def silence(warehouse: Warehouse) -> float:
    """Seconds since the last heartbeat of whoever holds the lease of the source."""
    prefix = f"lease_run_{SOURCE}_"
    names = warehouse.rows(f"SELECT name FROM system.tables WHERE database = 'ops' AND startsWith(name, '{prefix}')")
    newest = max((name for (name,) in names), key=lambda name: int(name.removeprefix(prefix)))
    return float(warehouse.rows(f"SELECT dateDiff('second', max(beat_at), now64(6)) FROM ops.{newest}")[0][0])


def leftovers(warehouse: Warehouse, run: int) -> int:
    return warehouse.count("system.tables", f"database = 'raw' AND name LIKE '%__loading_{run}_%'")


def test_the_agent_may_read_dag_runs_and_nothing_else(stack: Any, airflow: Airflow, done: str) -> None:
    assert airflow.state(DAG, done) == "success"
    assert airflow.state(DAG, "manual__never+was:1?#") == airflow.state("no_such_dag", "manual__x") == GONE
    token = {"token": airflow._token}
    assert stack.api_as("POST", f"/dags/{DAG}/dagRuns", {"logical_date": None, "conf": {}}, **token) == 403
    assert stack.api_as("PATCH", f"/dags/{DAG}/dagRuns/{done}", {"state": "failed"}, **token) == 403
    assert stack.api_as("GET", "/connections", **token) == 403


def test_a_token_that_is_refused_is_asked_for_anew(airflow: Airflow, done: str) -> None:
    airflow._token = "of.another.secret"
    assert airflow.state(DAG, done) == "success"


def test_an_airflow_that_is_away_or_refuses_is_named_with_the_cure_and_no_password(stack: Any, done: str) -> None:
    with pytest.raises(AirflowUnavailableError, match="airflow-webserver"):
        Airflow(f"http://127.0.0.1:{free_port()}", "hush").state(DAG, done)
    with pytest.raises(AirflowUnavailableError, match=r"status 40[45] to a login"):
        # A page that is not Airflow's must not make a run look gone.
        Airflow(stack.webhook_url, "hush").state(DAG, done)
    with pytest.raises(AirflowRefusedError, match="AIRFLOW_AGENT_PASSWORD") as refused:
        Airflow(stack.url, "hush").state(DAG, done)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("verdict", ["success", GONE])
def test_a_run_that_airflow_has_ended_is_closed_in_the_second_round(
    verdict: str, dead_runs: DeadRuns, warehouse: Warehouse, done: str, events: list[Event]
) -> None:
    run = begun(warehouse, f"{DAG}/{done if verdict == 'success' else 'manual__deleted'}")
    dead_runs.look()
    assert ops.find_run(warehouse, run).status == "running"
    dead_runs.look()
    closed = ops.find_run(warehouse, run)
    assert closed.status == "failed" and "Airflow" in closed.error
    assert leftovers(warehouse, run) == 0
    (event,) = events
    assert (event.kind, event.data["dag"], event.data["error"]) == ("airflow.run.failed", DAG, closed.error)
    dead_runs.look()
    assert len(events) == 1


def test_while_airflow_is_away_nothing_of_it_is_closed_and_runs_by_hand_are(
    warehouse: Warehouse, events: list[Event]
) -> None:
    away = DeadRuns(warehouse, Airflow(f"http://127.0.0.1:{free_port()}", "x"), events.append)
    scheduled, by_hand = begun(warehouse, f"{DAG}/manual__deleted"), begun(warehouse, "cli/host:1")
    for _ in range(3):
        with pytest.raises(AirflowUnavailableError):
            away.look()
    assert ops.find_run(warehouse, scheduled).status == "running"
    assert ops.find_run(warehouse, by_hand).status == "failed"
    assert (leftovers(warehouse, scheduled), leftovers(warehouse, by_hand)) == (1, 0)
    assert events == [], "who runs it by hand has seen it"


def test_a_run_by_hand_that_is_stopped_may_go_on_and_one_that_was_killed_is_closed(
    dead_runs: DeadRuns, warehouse: Warehouse
) -> None:
    run = begun(warehouse, "cli/host:2")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, *map(str, (warehouse.address.port, warehouse.address.password, SOURCE))],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"held\n"
            process.send_signal(signal.SIGSTOP)
            until(lambda: silence(warehouse) > leases.TIME_TO_LIVE, "the silence of the stopped process", 90)
            dead_runs.look()
            assert ops.find_run(warehouse, run).status == "running"
        finally:
            process.kill()
    dead_runs.look()
    assert ops.find_run(warehouse, run).status == "failed"
    assert leftovers(warehouse, run) == 0


def test_beside_another_run_the_dead_one_is_closed_and_one_that_holds_the_lease_is_waited_for(
    dead_runs: DeadRuns, warehouse: Warehouse
) -> None:
    key = f"{DAG}/manual__deleted"
    run = begun(warehouse, key)
    with run_lease(warehouse, SOURCE, holder=f"{key}, publishing"):
        dead_runs.look()
        dead_runs.look()
        assert ops.find_run(warehouse, run).status == "running"
    with run_lease(warehouse, SOURCE, holder=f"{DAG}/manual__other, loading"):
        dead_runs.look()
    assert ops.find_run(warehouse, run).status == "failed"
    assert leftovers(warehouse, run) == 1
    warehouse.drop(f"raw.products__loading_{run}_1")


def test_two_agents_at_once_close_a_run_once(
    dead_runs: DeadRuns, warehouse: Warehouse, airflow: Airflow, events: list[Event]
) -> None:
    other = DeadRuns(warehouse, airflow, events.append)
    run = begun(warehouse, f"{DAG}/manual__deleted")
    for one in (dead_runs, other, dead_runs, other):
        one.look()
    assert ops.find_run(warehouse, run).status == "failed"
    assert len(events) == 1


@pytest.fixture
def agent(stack: Any, venvs: Path, server_folder: Path, clickhouse: Any) -> Iterator[Any]:
    """The agent as the service is started, in Airflow's environment."""
    home = server_folder / "agent"
    home.mkdir()
    environment = {
        "PATH": stack.env["PATH"],
        "PYTHONPATH": stack.env["PYTHONPATH"],
        BYTECODE: stack.env[BYTECODE],
        "AGENT_HOME": str(home),
        "AIRFLOW_URL": stack.url,
        "AIRFLOW_AGENT_PASSWORD": stack.env["AIRFLOW_AGENT_PASSWORD"],
        "STACK_SECRETS": secret_names("elt-agent"),
        "NOTIFY_URL": stack.notifications.url,
        **clickhouse.env("loader"),
    }
    service = stack.service("elt-agent", [str(venvs / "airflow/bin/python"), "-m", "agent"], environment)
    service.start()
    until(lambda: (home / "heartbeat").exists(), "the heartbeat of the agent", said=lambda: service.log)
    yield service
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(30) == 0, service.log
    assert "Traceback" not in service.log


def test_a_run_that_fails_while_the_dag_processor_is_dead_is_closed_within_two_minutes_and_lives_again_when_cleared(
    stack: Any, agent: Any, warehouse: Warehouse, done: str
) -> None:
    processor = stack.services["airflow-dag-processor"]
    stack.notifications.events.clear()
    try:
        # It has loaded all tables and waits to publish them, until Airflow ends its task.
        with publishing_lease(warehouse, holder="another source"):
            dag_run = stack.trigger()
            key = f"{DAG}/{dag_run}"
            until(lambda: stack.tasks(dag_run).get("publish_raw", {}).get("state") == "running", "the publisher", 180)
            run = ops.latest_run(warehouse, key)
            assert run is not None and run.status == "running" and leftovers(warehouse, run.run) > 1
            processor.kill()
            status, answer = stack.api("PATCH", f"/dags/{DAG}/dagRuns/{dag_run}", {"state": "failed"})
            assert status == 200, answer
            failed_at = time.monotonic()
            until(lambda: ops.find_run(warehouse, run.run).status != "running", "the closed run", 240)
            assert time.monotonic() - failed_at < 120
            closed = ops.find_run(warehouse, run.run)
            assert closed.status == "failed" and closed.error.startswith("The DAG run failed in Airflow")
            until(lambda: leftovers(warehouse, run.run) == 0, "the end of its tables", 30)
        (told,) = until(
            lambda: [one for one in stack.notifications.events if one["type"] == "airflow.run.failed"], "the notice"
        )
        assert (told["data"]["run"], told["data"]["error"]) == (dag_run, closed.error)
    finally:
        if processor.process.poll() is not None:
            processor.start()
    assert f"closed run {run.run} ({key}) as failed" in agent.log
    until(lambda: stack.health().get("dag_processor") == "healthy", "the dag-processor", 180)
    body = {"dag_run_id": dag_run, "dry_run": False, "only_failed": False, "reset_dag_runs": True}
    assert stack.api("POST", f"/dags/{DAG}/clearTaskInstances", body)[0] == 200
    assert stack.finished(dag_run) == "success"
    again = ops.latest_run(warehouse, key)
    assert again is not None and (again.status, again.error) == ("success", "")
