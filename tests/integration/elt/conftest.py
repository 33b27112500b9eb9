"""A source database of each test's own, a pipeline.yml beside it, and a warehouse that is tidy afterwards."""

import contextlib
import io
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from elt.cli import main as cli
from elt.pipeline.names import raw
from elt.runs import run
from elt.runs.progress import Progress
from elt.runs.run import hold_snapshot
from elt.runs.whole_run import Listener, WholeRun, load_everything
from elt.settings import Settings
from testing.servers import run_sql
from testing.waiting import until
from warehouse import ops
from warehouse.client import Warehouse

READER = "elt_test_reader"


@dataclass(frozen=True)
class Shop:
    """One test's source and how it is copied."""

    admin_dsn: str
    settings: Settings
    environment: dict[str, str]
    admin_client: Any
    repo: Path

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Runs statements as the owner of the source; returns the rows of the last one."""
        return run_sql(self.admin_dsn, *statements)

    def tables(self, *entries: str) -> None:
        """Writes pipeline.yml; an entry is a table's name or what stands in its braces."""
        lines = [f"      - {{{entry if entry.startswith('name:') else f'name: {entry}'}}}" for entry in entries]
        text = "sources:\n  - name: shop\n    kind: postgres\n    tables:\n" + "\n".join(lines) + "\n"
        self.settings.elt_pipeline.write_text(text, encoding="utf-8")

    def load(self, *tables: str, **options: Any) -> WholeRun:
        return load_everything(self.settings, quiet(), tables=tables, **options)

    @contextlib.contextmanager
    def held(self, run: int) -> Iterator[Future[None]]:
        """Holds the snapshot of a run as its task in the DAG does, while the body loads. Yields the holder, whose error is raised at the end."""
        ready, over = threading.Event(), threading.Event()
        with ThreadPoolExecutor(1) as pool:
            holder = pool.submit(
                hold_snapshot, self.settings, run=run, ready=lambda _: ready.set(), finished=over.is_set
            )
            holder.add_done_callback(lambda _: ready.set())
            try:
                assert ready.wait(60)
                yield holder
            finally:
                over.set()
            holder.result(30)

    def until_locked_out(self, table: str) -> None:
        """Waits until a session waits for a lock of this table of the source."""
        waiting = f"SELECT 1 FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"
        until(lambda: self.sql(waiting), f"a session that waits for a lock of {table}")

    def copying(self, part: str) -> str:
        """A condition on pg_stat_activity: the sessions of this source that run a COPY of a query with this text."""
        return f"datname = current_database() AND state = 'active' AND query LIKE 'COPY (%{part}%'"

    def warehouse(self, sql: str) -> list[tuple[Any, ...]]:
        """A query as the warehouse's admin."""
        return [tuple(row) for row in self.admin_client.query(sql).result_rows]

    def python(self, *arguments: str, **changes: str) -> subprocess.Popen[str]:
        """A process of `python -m elt`."""
        return subprocess.Popen(
            [sys.executable, "-m", "elt", *arguments],
            env=self.environment | changes,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.repo,
            # A shell's background job ignores SIGINT, and so would all that it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def command(self, *arguments: str, **changes: str) -> tuple[int, str, str]:
        """As run_python, within this process: a new one costs more than most of what is tested."""
        out, err = io.StringIO(), io.StringIO()
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(self.environment | changes)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = cli.main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            os.environ.clear()
            os.environ.update(before)
        return code, out.getvalue(), err.getvalue()

    def run_python(self, *arguments: str, **changes: str) -> tuple[int, str, str]:
        """Exit code, output and errors of `python -m elt`."""
        with self.python(*arguments, **changes) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err


def quiet(progress: list[Progress] | None = None) -> Listener:
    return Listener(lambda _: None, (lambda _: None) if progress is None else progress.append)


@pytest.fixture(scope="session")
def elt_source(postgres: Any) -> tuple[str, str]:
    """A database for the loader's tests: its owner's address, and the address of a role that may only read."""
    name, password = f"elt_{os.getpid()}", secrets.token_hex(8)
    run_sql(
        postgres.dsn(),
        f"DO $$ BEGIN CREATE ROLE {READER} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        f"ALTER ROLE {READER} PASSWORD '{password}'",
        f"ALTER ROLE {READER} SET default_transaction_read_only = on",
        f"CREATE DATABASE {name}",
    )
    owner = postgres.dsn(dbname=name)
    run_sql(owner, f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {READER}")
    return owner, postgres.dsn(dbname=name, user=READER, password=password)


@pytest.fixture
def shop(elt_source: tuple[str, str], clickhouse: Any, tmp_path: Path, repo: Path) -> Iterator[Shop]:
    owner, reader = elt_source
    run_sql(
        owner,
        """DO $$ DECLARE s text; BEGIN
            FOR s IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
            LOOP EXECUTE format('DROP SCHEMA %I CASCADE', s); END LOOP;
        END $$""",
        "CREATE SCHEMA public",
        f"GRANT USAGE ON SCHEMA public TO {READER}",
    )
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{repo}/airflow/plugins:{repo}/scripts",
        "SOURCE_URL": reader,
        "MASK_SALT": "salt",
        "ELT_PIPELINE": str(tmp_path / "pipeline.yml"),
        "ELT_PLAN": str(tmp_path / "plan.json"),
        **clickhouse.env("loader"),
    }
    settings = Settings(
        **{key.lower(): value for key, value in environment.items() if key not in ("PATH", "PYTHONPATH")}
    )
    with clickhouse.client() as admin:
        before = _raw_tables(admin)
        yield Shop(owner, settings, environment, admin, repo)
        _close_runs(settings)
        for table in _raw_tables(admin) - before:
            admin.command(f"DROP TABLE IF EXISTS {raw(table)}")


def _raw_tables(admin: Any) -> set[str]:
    rows: Sequence[Any] = admin.query("SELECT name FROM system.tables WHERE database = 'raw'").result_rows
    return {str(row[0]) for row in rows}


def _close_runs(settings: Settings) -> None:
    """No test leaves a run or a publish open for the next one, whatever its pipeline.yml says."""
    settings.elt_pipeline.write_text("sources: [{name: shop, kind: postgres, tables: [{name: public.none}]}]")
    run.recover(settings, holder="cli/tests")
    with Warehouse(settings.warehouse) as warehouse:
        for one in ops.running(warehouse):
            run.fail(settings, run=one.run, run_key=one.run_key, error="the test has ended")
