"""The webhook's real worker with real dbt, around a dbt project of the ledger."""

import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
from testing import servers
from webhook.queue.database import Database
from webhook.queue.intake import accept
from webhook.queue.runs import RunRequest
from webhook.queue.store import RunStore
from webhook.settings import Settings

from faults.steps import HungError

_FILES = {
    "models/marts/mart_accounts.sql": """
select a.id as id, a.balance as balance, e.entered as entered, (select max(tick) from raw.accounts) as tick
from raw.accounts as a
left join (select account_id, sum(amount) as entered from raw.entries group by account_id) as e on e.account_id = a.id
""",
    # This one and the history carry their past: each build goes on from clones of what is published.
    "models/marts/mart_audit.sql": """
{{ config(materialized='incremental', unique_key='id', order_by='id') }}
select id, delta, tick from raw.audit final
{% if is_incremental() %} where tick > (select max(tick) from {{ this }}) {% endif %}
""",
    "snapshots/accounts_history.yml": """
snapshots:
  - name: accounts_history
    relation: ref('mart_accounts')
    config: {strategy: check, unique_key: id, check_cols: [balance], hard_deletes: invalidate, order_by: [id, dbt_valid_from]}
""",
}


class Builder:
    """Asks for builds, and starts the worker again when it has died, as its supervisor does."""

    def __init__(self, home: Path, venvs: Path, warehouse: dict[str, str]) -> None:
        self._home = home
        self._python = venvs / "dbt/bin/python"
        self._project = home / "dbt"
        self._env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(servers.REPO / "scripts"),
            "HOME": str(home),
            "WEBHOOK_HOME": str(home),
            "DBT_PROJECT_DIR": str(self._project),
            "SAMPLE_SHOP": "false",
            **warehouse,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()

    @property
    def is_at_work(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        left_out = shutil.ignore_patterns("target", "logs", "dbt_score_rules", "requirements.*", "Dockerfile")
        shutil.copytree(servers.REPO / "dbt", self._project, ignore=left_out)
        for name, text in _FILES.items():
            (self._project / name).write_text(text)
        settings = Settings.from_environ(self._env)
        self._database = Database(settings.database)
        self._store = RunStore(self._database)
        self._start_worker()
        threading.Thread(target=self._supervise, daemon=True, name="supervisor of the worker").start()

    def build(self, seconds: float) -> str:
        """Asks for a build and returns the status that it ends with. Raises HungError."""
        run_id = accept(self._database, RunRequest(), key=None, requested_by="test", queue_limit=10)
        deadline = time.monotonic() + seconds
        while (run := self._store.get(run_id)) is None or run.status in ("queued", "running"):
            if time.monotonic() > deadline:
                raise HungError(f"the build {run_id} did not end within {seconds:g} s: {run}\n{self.log()[-3000:]}")
            time.sleep(0.05)
        self.error = run.error
        return run.status

    def unfinished(self) -> int:
        return len(self._store.latest(limit=1, status="running")) + len(self._store.latest(limit=1, status="queued"))

    def processes(self) -> dict[str, int]:
        """Pids: the worker, its host, which keeps dbt warm, and dbt itself where it runs."""
        found: dict[str, int] = {}
        with suppress(psutil.Error):
            assert self._process is not None
            worker = psutil.Process(self._process.pid)
            found["worker"] = worker.pid
            for host in worker.children():
                found["host"] = host.pid
                for child in host.children():
                    if "resource_tracker" not in " ".join(child.cmdline()):
                        found["dbt"] = child.pid
        return found

    def strays(self) -> list[str]:
        """Processes of a worker that has died, or of its host or dbt."""
        if self._process is None:
            return []
        own, found = {self._process.pid}, []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.pid == self._process.pid:
                    own |= {child.pid for child in process.children(recursive=True)}
                elif process.environ().get("WEBHOOK_HOME") == str(self._home):
                    found.append(process)
        return [str(process) for process in found if process.pid not in own]

    def log(self) -> str:
        return (self._home / "worker.log").read_text()

    def stop(self) -> None:
        self._over.set()
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait(20)

    def _start_worker(self) -> None:
        with (self._home / "worker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._python, "-m", "webhook.worker"], env=self._env, stdout=log, stderr=log, cwd=self._home
            )

    def _supervise(self) -> None:
        while not self._over.wait(0.2):
            if self._process is not None and self._process.poll() is not None and not self._over.is_set():
                self._start_worker()
