"""kill -9 and SIGTERM: no accepted run is lost, none runs beside another, each ends in one final state."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testing.waiting import until


def children(pid: int) -> list[int]:
    """Living children of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def runs_of(worker: "subprocess.Popen[bytes]") -> list[int]:
    """The forks in which the worker's host runs dbt; its other child is Python's tracker of semaphores."""
    runs = [run for host in children(worker.pid) for run in children(host)]
    return [run for run in runs if b"resource_tracker" not in Path(f"/proc/{run}/cmdline").read_bytes()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def webhook(make_webhook: Callable[..., Any]) -> Any:
    webhook = make_webhook()
    webhook.start_web()
    return webhook


def at_work(webhook: Any, run: dict[str, Any]) -> None:
    until(lambda: webhook.run(run["id"])["at_work"] == ["slow"], "dbt is at work")


def test_a_killed_worker_takes_its_dbt_along_and_the_next_one_starts_the_run_over(webhook: Any) -> None:
    worker = webhook.start_worker()
    run = webhook.post("slow", key="k")
    at_work(webhook, run)
    (host,) = children(worker.pid)
    (dbt,) = runs_of(worker)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(10)
    worker_check = webhook.call("GET", "/health", token=None).json()["checks"]["worker"]
    assert not worker_check["ok"] and "ended" in worker_check["detail"], worker_check
    assert "not running" in webhook.call("GET", "/").text
    until(lambda: not is_alive(dbt) and not is_alive(host), "the orphaned dbt is gone", 5)
    assert webhook.post("slow", key="k")["id"] == run["id"]

    second = webhook.start_worker()
    until(lambda: webhook.run(run["id"])["attempts"] == 2, "the run starts over")
    at_work(webhook, run)
    os.kill(second.pid, signal.SIGKILL)
    second.wait(10)

    webhook.start_worker()
    cut = webhook.final(run["id"])
    assert (cut["status"], cut["attempts"]) == ("interrupted", 2) and "killed twice" in cut["error"]
    successor = webhook.post("slow", key="k")
    assert successor["id"] != run["id"]


def test_a_second_worker_waits_and_takes_over_when_the_first_is_killed(webhook: Any) -> None:
    first = webhook.start_worker()
    run = webhook.post("slow")
    at_work(webhook, run)
    second = webhook.start_worker()
    until(lambda: "another worker holds" in webhook.log(), "the second worker waits")
    assert children(second.pid) == []
    os.kill(first.pid, signal.SIGKILL)
    first.wait(10)
    until(lambda: webhook.run(run["id"])["attempts"] == 2, "the second worker starts the run over")
    until(lambda: runs_of(second), "it starts dbt")


def test_a_killed_web_process_disturbs_no_run_and_forgets_none(
    webhook: Any, kill: Callable[["subprocess.Popen[bytes]"], None]
) -> None:
    waiting = webhook.post("quick", key="k")
    kill(webhook.processes[0])
    webhook.start_worker()
    webhook.start_web()
    assert webhook.post("quick", key="k")["id"] == waiting["id"]
    done = webhook.final(waiting["id"])
    assert (done["status"], done["attempts"]) == ("success", 1)


def test_a_graceful_stop_lets_a_short_run_finish_and_requeues_a_long_one_without_counting_a_cut(
    make_webhook: Callable[..., Any],
) -> None:
    webhook = make_webhook()
    webhook.start_web()
    worker = webhook.start_worker()
    short = webhook.post("quick")
    until(lambda: webhook.run(short["id"])["attempts"] == 1, "dbt has been started")
    worker.terminate()
    assert worker.wait(30) == 0
    assert webhook.run(short["id"])["status"] == "success"

    long = webhook.post("slow")
    for attempt in (1, 2, 3):
        worker = webhook.start_worker(WEBHOOK_STOP_GRACE="0")
        until(lambda attempt=attempt: webhook.run(long["id"])["attempts"] == attempt, "dbt has been started")
        if attempt == 1:
            at_work(webhook, long)
        (dbt,) = until(lambda worker=worker: runs_of(worker), "dbt runs")
        worker.terminate()
        assert worker.wait(15) == 0
        assert not is_alive(dbt)
        assert webhook.run(long["id"])["status"] == "queued"
