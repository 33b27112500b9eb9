"""The webhook against dbt's command line: what a caller waits for, on one machine, in one run, on the same warehouse.

Both sides build the same models of the same project in the same embedded ClickHouse, in turn; the results (rows of each
mart) are compared before the times, and the share of the command line's time is taken pair by pair. The command line has
its partial parse, as at a developer's desk.
What is not equal: it builds target dev in place; the webhook builds beside the published tables and then publishes them.
After a good build the webhook writes dbt's documentation while nothing is queued. It is waited for before the command line
is timed, which would share the machine with it.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from statistics import quantiles
from typing import Any

import requests
from report import Figure, of_runs, show
from servers import VENVS
from testing.servers import REPO, WarehouseProcess, free_port

MODEL = "stg_products"


class Bench:
    """A warehouse with the sample's raw tables, a webhook with its worker, and dbt's command line beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.warehouse = WarehouseProcess(VENVS, folder)
        self.port = free_port()
        self.token = secrets.token_hex(16)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.dbt_env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            **self.warehouse.server.env("dbt"),
        }

    def start(self) -> None:
        self.warehouse.start()
        self.warehouse.apply_init()
        with self.client("loader") as loader:
            _run_all(loader, REPO / "tests/integration/dbt/raw_shop.sql")
        env = self.dbt_env | {
            "PYTHONPATH": str(REPO / "scripts"),
            "WEBHOOK_HOME": str(self.folder / "webhook"),
            "WEBHOOK_TOKEN": self.token,
            "DBT_PROJECT_DIR": str(REPO / "dbt"),
            **self.warehouse.server.env("webhook"),
        }
        words = ["--bind", f"127.0.0.1:{self.port}", "--workers", "1", "--worker-class", "gthread", "--threads", "16"]
        self._spawn("dbt", ["-m", "gunicorn", *words, "--no-control-socket", "webhook_server:app"], env)
        self._spawn("dbt", ["-m", "webhook.worker"], env)
        _until(lambda: self.call("GET", "/status"))

    def _spawn(self, environment: str, words: list[str], env: dict[str, str]) -> None:
        log = (self.folder / f"{environment}.log").open("ab")
        python = str(VENVS / environment / "bin/python")
        environ = {"PATH": os.environ["PATH"], **env}
        self.processes.append(
            subprocess.Popen([python, *words], env=environ, stdout=log, stderr=log, cwd=REPO, start_new_session=True)
        )

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
        self.warehouse.stop()

    def client(self, user: str) -> Any:
        return self.warehouse.server.client(user)

    def call(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = requests.request(
            method, f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=400, **options
        )
        answer.raise_for_status()
        return answer.json()

    def webhook(self, *select: str) -> tuple[float, float]:
        """Seconds from POST to the answer of success, and from the acceptance to the start of the first node."""
        began = time.perf_counter()
        run = self.call("POST", "/webhook/manual?wait=300", json={"select": select})
        seconds = time.perf_counter() - began
        assert run["status"] == "success", run["error"]
        return seconds, min(_instant(node["started_at"]) for node in run["nodes"]) - _instant(run["queued_at"])

    def command_line(self, *select: str) -> float:
        """Seconds of the same build by dbt's command line."""
        place = ["--project-dir", "dbt", "--profiles-dir", "dbt", "--target", "dev"]
        place += ["--target-path", str(self.folder / "target"), "--log-path", str(self.folder / "logs")]
        words = ["build", *place, "--exclude-resource-type", "unit_test", "--no-send-anonymous-usage-stats"]
        words += ["--select", *select] if select else []
        began = time.perf_counter()
        subprocess.run([VENVS / "dbt/bin/dbt", *words], env=self.dbt_env, cwd=REPO, check=True, capture_output=True)
        return time.perf_counter() - began

    def rows(self, database: str) -> list[tuple[Any, ...]]:
        sql = (
            f"SELECT name, total_rows FROM system.tables WHERE database = '{database}' AND total_rows > 0 ORDER BY name"
        )
        with self.client("default") as admin:
            return [tuple(row) for row in admin.query(sql).result_rows]

    def acknowledgements(self, count: int) -> list[float]:
        """Milliseconds until each of `count` starts, sent within one second, was acknowledged."""
        times: list[float] = []

        def send(number: int) -> None:
            body = json.dumps({"command": "test", "select": [MODEL], "vars": {"n": number}}).encode()
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.port}/webhook/manual", body, {"Authorization": f"Bearer {self.token}"}
            )
            began = time.perf_counter()
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
            times.append((time.perf_counter() - began) * 1000)

        threads = []
        for number in range(count):
            threads.append(threading.Thread(target=send, args=(number,)))
            threads[-1].start()
            time.sleep(1 / count)
        for thread in threads:
            thread.join()
        for run in self.call("GET", "/runs?status=queued&limit=200")["runs"]:
            self.call("POST", f"{run['url']}/cancel")
        return times

    def settle(self) -> None:
        """Waits until no dbt has run for a second: the documentation of the last build is written."""
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < 1:
            if self.dbt_runs():
                quiet_since = time.monotonic()
            time.sleep(0.05)

    def dbt_runs(self) -> bool:
        """Whether the warm dbt has a fork; Python's tracker of semaphores is none."""
        forks = [fork for host in _children(self.processes[-1].pid) for fork in _children(host)]
        return any(b"resource_tracker" not in _read(f"/proc/{fork}/cmdline") for fork in forks)

    def memory(self) -> float:
        """Megabytes (PSS) of web process, worker, the warm dbt and, if there is one, its run."""
        total = 0
        for process in self.processes[1:]:
            for pid in [process.pid, *_descendants(process.pid)]:
                lines = _read(f"/proc/{pid}/smaps_rollup").splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith(b"Pss:"))
        return total / 1024

    def memory_of_a_build(self) -> list[float]:
        """Megabytes as above, ten times a second while a whole build runs and its documentation is written."""
        build = threading.Thread(target=self.webhook)
        build.start()
        found = []
        while build.is_alive() or self.dbt_runs():
            found.append(self.memory())
            time.sleep(0.1)
        return found


def _read(path: str) -> bytes:
    """Nothing for a process that has ended while it is looked at."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def _children(pid: int) -> list[int]:
    return [int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split()]


def _descendants(pid: int) -> list[int]:
    return [found for child in _children(pid) for found in (child, *_descendants(child))]


def _instant(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _run_all(client: Any, file: Path) -> None:
    for statement in file.read_text().split(";\n"):
        if statement.strip():
            client.command(statement)


def _until(ready: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            ready()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def measure(bench: Bench, rounds: int) -> tuple[list[Figure], dict[str, Any]]:
    bench.webhook()
    bench.command_line()
    by_webhook, by_command_line = bench.rows("analytics"), bench.rows("analytics_dev")
    assert by_webhook == by_command_line, f"both sides must build the same: {by_webhook}, {by_command_line}"
    raw: dict[str, list[float]] = {name: [] for name in ("whole", "whole_cli", "one", "one_cli", "first_node")}
    pairs = [("whole", ()), ("one", (MODEL,)), ("one", (MODEL,))] * rounds
    for number, (name, select) in enumerate(pairs):
        # Each side is first in every other pair, so that half of the webhook's runs come right after another one.
        for by in ("webhook", "cli") if number % 2 else ("cli", "webhook"):
            if by == "webhook":
                seconds, first = bench.webhook(*select)
                raw[name].append(seconds)
                raw["first_node"].append(first)
            else:
                bench.settle()
                raw[f"{name}_cli"].append(bench.command_line(*select))
    bench.settle()
    memory = bench.memory()
    raw["peak"] = bench.memory_of_a_build()
    bench.settle()
    idle = bench.acknowledgements(50)
    bench.settle()
    busy = threading.Thread(target=bench.webhook)
    busy.start()
    time.sleep(0.5)
    during = bench.acknowledgements(50)
    busy.join()
    raw |= {"acknowledged": idle, "acknowledged_during_dbt": during}

    def shares(name: str) -> list[float]:
        return [ours / theirs for ours, theirs in zip(raw[name], raw[f"{name}_cli"], strict=True)]

    figures = [
        of_runs("POST to first node starting", raw["first_node"], "s", "<= 0.5"),
        of_runs("POST to success, one model", raw["one"], "s"),
        of_runs("dbt's command line, one model", raw["one_cli"], "s"),
        of_runs("one model, webhook / command line", shares("one"), "ratio", "<= 0.3"),
        of_runs("POST to success, whole build", raw["whole"], "s"),
        of_runs("dbt's command line, whole build", raw["whole_cli"], "s"),
        of_runs("whole build, webhook / command line", shares("whole"), "ratio", "<= 0.75"),
        Figure("acknowledgement p99 of 50 in a second, idle", quantiles(idle, n=100)[98], "ms"),
        Figure("acknowledgement p99 of 50 in a second, dbt running", quantiles(during, n=100)[98], "ms"),
        Figure("memory of web process, worker and warm dbt at rest", memory, "MB (PSS)"),
        Figure("highest memory of the same and the run during a whole build", max(raw["peak"]), "MB (PSS)"),
    ]
    return figures, raw


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="webhook-benchmark-"))
    bench = Bench(folder)
    try:
        bench.start()
        figures, raw = measure(bench, 1 if options.quick else 5)
    finally:
        bench.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return show("webhook", figures, as_json=options.json, raw=raw)


if __name__ == "__main__":
    raise SystemExit(main())
