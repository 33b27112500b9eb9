"""The manager's calls to Airflow, against a server that answers as Airflow does, and now and then too late."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from stack import first_run
from stack.check import airflow_api, probes
from stack.check.airflow_api import AirflowApi
from stack.env import file as env_file
from stack.errors import StackError
from stack.paths import find_paths
from stack.screen import Screen
from stack.table.services import Context

START = "2026-11-30T09:00:00Z"
LATER = "2026-11-30T09:00:05Z"
EARLIER = "2026-11-30T08:00:00Z"
DAG = {
    "dag_id": "elt_pipeline", "is_paused": False, "is_stale": False, "last_parsed_time": LATER,
    "timetable_summary": "0 0 * * *", "timetable_periodic": True, "next_dagrun_run_after": "2026-12-01T00:00:00Z",
}  # fmt: skip


class Airflow(ThreadingHTTPServer):
    """`answers` holds one answer for each path, or a list of answers given in turn; None: silence until the client leaves."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, Any] = {"/auth/token": {"access_token": "token"}}
        self.asked: list[str] = []
        self.over = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: Airflow

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        answer = self.server.answers[path]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if answer is None:
            self.server.over.wait(30)
            return
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Airflow]:
    monkeypatch.setattr(airflow_api, "ANSWER_WITHIN", 0.3)
    monkeypatch.setattr(airflow_api, "TRIES", 3)
    with Airflow() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()


@pytest.fixture
def env(airflow: Airflow, repo: Path, tmp_path: Path) -> env_file.Env:
    file = tmp_path / ".env"
    port = str(airflow.server_address[1])
    env_file.write_new(file, env_file.fill(repo / ".env.example", {}, {}, STACK_MODE="native", AIRFLOW_PORT=port))
    return env_file.load(file)


def test_an_answer_that_comes_too_late_is_asked_for_again(airflow: Airflow, env: env_file.Env) -> None:
    airflow.answers["/auth/token"] = [None, {"access_token": "token"}]
    airflow.answers["/api/v2/importErrors"] = [None, (503, {}), {"import_errors": []}]
    assert AirflowApi(env).import_errors() == []
    assert airflow.asked == ["/auth/token"] * 2 + ["/api/v2/importErrors"] * 3


def test_a_run_is_never_started_twice(airflow: Airflow, env: env_file.Env) -> None:
    airflow.answers["/api/v2/dags/elt_pipeline/dagRuns"] = [None, {"dag_run_id": "second"}]
    api = AirflowApi(env)
    with pytest.raises(StackError, match="Airflow does not answer"):
        api.trigger()
    assert airflow.asked.count("/api/v2/dags/elt_pipeline/dagRuns") == 1


@pytest.mark.parametrize(
    ("answer", "has_ended"),
    [
        ({"state": "queued"}, False),
        ({"state": "running"}, False),
        ({"state": "success"}, True),
        ({"state": "failed"}, True),
        ((404, {"detail": "not found"}), True),
    ],
)
def test_a_run_has_ended_when_airflow_says_so_or_does_not_have_it(
    airflow: Airflow, env: env_file.Env, answer: Any, has_ended: bool
) -> None:
    airflow.answers["/api/v2/dags/elt_pipeline/dagRuns/manual__a%2Bb"] = answer
    assert AirflowApi(env).has_ended("elt_pipeline", "manual__a+b") is has_ended


def test_an_error_is_no_end_of_a_run(airflow: Airflow, env: env_file.Env) -> None:
    airflow.answers["/api/v2/dags/elt_pipeline/dagRuns/a"] = (500, {})
    with pytest.raises(StackError, match="Airflow answers 500"):
        AirflowApi(env).has_ended("elt_pipeline", "a")


def test_an_airflow_that_stays_silent_is_one_sentence(airflow: Airflow, env: env_file.Env) -> None:
    airflow.answers["/api/v2/importErrors"] = None
    with pytest.raises(StackError, match=r"Airflow does not answer \(.*\): see `scripts/logs airflow-webserver`"):
        AirflowApi(env).import_errors()
    assert airflow.asked.count("/api/v2/importErrors") == airflow_api.TRIES


def _broken(timestamp: str) -> dict[str, Any]:
    trace = "Traceback (most recent call last):\n  File\nNameError: name 'nonsense' is not defined\n"
    return {"import_errors": [{"filename": "elt_pipeline.py", "timestamp": timestamp, "stack_trace": trace}]}


def _state(airflow: Airflow, dag: dict[str, Any] | list[Any], errors: Any = None, jobs: Any = None) -> None:
    dags = dag if isinstance(dag, list) else [dag]
    airflow.answers |= {
        "/api/v2/jobs": jobs or {"jobs": [{"start_date": START}]},
        "/api/v2/importErrors": errors or {"import_errors": []},
        "/api/v2/dags": [{"dags": [each] if each else []} for each in dags],
    }


def test_a_dag_that_cannot_be_imported_ends_the_boot_of_a_stack_that_ran_before(
    airflow: Airflow, env: env_file.Env
) -> None:
    _state(airflow, DAG | {"is_stale": True}, _broken(LATER))
    with pytest.raises(StackError, match=r"cannot be imported \(elt_pipeline.py: NameError: name 'nonsense'"):
        first_run.await_dag(AirflowApi(env), Screen())


def test_an_error_from_before_the_restart_is_waited_out(airflow: Airflow, env: env_file.Env) -> None:
    stale = DAG | {"is_stale": True, "last_parsed_time": EARLIER}
    _state(
        airflow,
        [stale, DAG],
        [_broken(EARLIER), {"import_errors": []}],
        [{"jobs": []}, {"jobs": [{"start_date": START}]}],
    )
    assert first_run.await_dag(AirflowApi(env), Screen()) == DAG
    assert airflow.asked.count("/api/v2/dags") == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"next_dagrun_run_after": None}, r"has the schedule 0 0 \* \* \*, and Airflow knows no next run: correct ELT_SCHEDULE"),
        ({"next_dagrun_run_after": None, "is_paused": True}, ""),
        ({"next_dagrun_run_after": None, "timetable_periodic": False, "timetable_summary": "@once"}, ""),
    ],
)  # fmt: skip
def test_a_schedule_without_a_next_run_is_told(
    airflow: Airflow, env: env_file.Env, change: dict[str, Any], message: str
) -> None:
    _state(airflow, DAG | change)
    if not message:
        assert first_run.await_dag(AirflowApi(env), Screen()) == DAG | change
        return
    with pytest.raises(StackError, match=message):
        first_run.await_dag(AirflowApi(env), Screen())


def test_a_dag_that_only_a_person_starts_is_not_waited_for(
    airflow: Airflow, env: env_file.Env, capsys: pytest.CaptureFixture[str]
) -> None:
    _state(airflow, DAG | {"timetable_summary": "None", "timetable_periodic": False, "next_dagrun_run_after": None})
    airflow.answers["/api/v2/dags/elt_pipeline/dagRuns"] = {"dag_runs": [], "total_entries": 0}
    first_run.await_first_green_run(Context(find_paths(), env), Screen())
    printed = capsys.readouterr()
    assert "scripts/refresh" in printed.out + printed.err


ERP = DAG | {"dag_id": "elt_erp", "tags": [{"name": "elt"}]}
OTHERS = [
    DAG | {"tags": [{"name": "elt"}]},
    DAG | {"dag_id": "airflow_retention", "tags": [{"name": "maintenance"}]},
    DAG | {"dag_id": "elt_gone", "tags": [{"name": "elt"}], "is_stale": True},
]


def _runs(airflow: Airflow, dag: str, *states: str) -> None:
    runs = [{"dag_run_id": f"{dag}_{state}", "state": state} for state in states]
    airflow.answers[f"/api/v2/dags/{dag}/dagRuns"] = {"dag_runs": runs, "total_entries": len(runs)}
    for run in runs:
        airflow.answers[f"/api/v2/dags/{dag}/dagRuns/{run['dag_run_id']}/taskInstances"] = {"task_instances": []}


@pytest.fixture
def several(airflow: Airflow) -> Airflow:
    _state(airflow, DAG)
    airflow.answers["/api/v2/importErrors"] = {"import_errors": []}
    airflow.answers["/api/v2/dags"] = {"dags": [*OTHERS, ERP]}
    _runs(airflow, "elt_pipeline", "success")
    return airflow


def test_check_names_the_last_run_of_each_source(several: Airflow, env: env_file.Env) -> None:
    _runs(several, "elt_erp", "success")
    *_, said = probes.dags_are_green(Context(find_paths(), env))
    assert said == (
        "elt_pipeline, last run elt_pipeline_success success; elt_erp, last run elt_erp_success success, no import errors"
    )


def test_check_says_that_a_further_source_has_not_run_yet(several: Airflow, env: env_file.Env) -> None:
    _runs(several, "elt_erp")
    *_, said = probes.dags_are_green(Context(find_paths(), env))
    assert "elt_erp, no run yet" in said


def test_check_fails_for_a_failed_run_of_a_further_source(several: Airflow, env: env_file.Env) -> None:
    _runs(several, "elt_erp", "failed")
    with pytest.raises(StackError, match="The last run elt_erp_failed of elt_erp failed"):
        list(probes.dags_are_green(Context(find_paths(), env)))


def test_a_dag_that_is_never_read_is_told(airflow: Airflow, env: env_file.Env, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_run, "READ_WITHIN", 0.5)
    _state(airflow, [None])
    with pytest.raises(
        StackError, match=r"Airflow has not read elt_pipeline in .* see `scripts/logs airflow-dag-processor`"
    ):
        first_run.await_dag(AirflowApi(env), Screen())


@pytest.mark.parametrize(
    ("ended", "said"),
    [([LATER], True), ([EARLIER], False), ([LATER, EARLIER], False)],
    ids=["before the last service was healthy", "before the stack was stopped", "not the first"],
)
def test_a_first_run_that_was_quicker_than_the_boot_is_told(
    airflow: Airflow, env: env_file.Env, capsys: pytest.CaptureFixture[str], ended: list[str], said: bool
) -> None:
    _state(airflow, DAG)
    runs = [{"state": "success", "end_date": end} for end in ended]
    airflow.answers["/api/v2/dags/elt_pipeline/dagRuns"] = {"dag_runs": runs, "total_entries": len(runs)}
    first_run.await_first_green_run(Context(find_paths(), env), Screen())
    assert ("The first DAG run is green" in capsys.readouterr().out) == said
