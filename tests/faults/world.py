"""Real servers with proxies between them, a writer and readers, all to be harmed."""

import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
from elt.settings import Settings
from testing import servers

from faults.builds import Builder
from faults.proxy import Proxy
from faults.reader import MARTS, RAW, Reader
from faults.steps import Step
from faults.writer import PIPELINE, Writer

READER = "elt_reader"


class World:
    """A source and a warehouse of one's own below `home`."""

    def __init__(self, home: Path, venvs: Path, stack: ExitStack, seed: int) -> None:
        self.home = home
        # The driver logs each connection that is refused; the readers say it themselves.
        logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
        self.postgres = stack.enter_context(servers.postgres_server(venvs, home))
        self.warehouse = stack.enter_context(servers.warehouse_server(venvs, home))
        self.dsn = self.postgres.dsn()
        at = self.warehouse.server
        self.source_wire = Proxy((self.postgres.host, self.postgres.port))
        self.warehouse_wire = Proxy((at.host, at.port))
        self.worker_wire = Proxy((at.host, at.port))
        for proxy in (self.source_wire, self.warehouse_wire, self.worker_wire):
            stack.callback(proxy.close)
        self.writer = Writer(self.dsn, seed)
        self.writer.prepare()
        password = secrets.token_hex(8)
        self.sql(
            f"CREATE ROLE {READER} LOGIN PASSWORD '{password}'",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}",
        )
        (home / "pipeline.yml").write_text(PIPELINE)
        self.settings = Settings(
            source_url=f"postgresql://{READER}:{password}@127.0.0.1:{self.source_wire.port}/ecommerce_db",  # type: ignore[arg-type]
            clickhouse_host=at.host,
            clickhouse_http_port=self.warehouse_wire.port,
            clickhouse_loader_password=at.password("loader"),  # type: ignore[arg-type]
            elt_pipeline=home / "pipeline.yml",
            elt_plan=home / "plan.json",
        )
        self.builder = Builder(
            home / "webhook", venvs, at.env("dbt", "webhook") | {"CLICKHOUSE_HTTP_PORT": str(self.worker_wire.port)}
        )
        stack.callback(self.builder.stop)
        self.readers = [Reader(lambda: at.client(), RAW)]
        self._later: list[threading.Thread] = []
        self._runs = 0
        self._seconds: dict[str, float] = {}
        stack.callback(self._stop_threads)
        self.writer.start()

    def watch_raw(self) -> None:
        """Begins to read what is published, which must be there."""
        self.readers[0].start()

    def build_marts(self) -> None:
        """Starts the webhook's worker, builds the marts and begins to read them."""
        if self.builder.is_at_work:
            return
        self.builder.start()
        assert self.builder.build(seconds=180) == "success", self.builder.log()
        self.readers.append(Reader(lambda: self.warehouse.server.client(), MARTS))
        self.readers[-1].start()

    def step(self, work: Callable[..., Any], *, seconds: float, **given: Any) -> Step:
        return Step(work, self.settings, self.home / "steps.log", seconds=seconds, **given)

    def took(self, name: str, seconds: float) -> None:
        """Notes how long a step took, or a build, that met no fault."""
        self._seconds[name] = (seconds + self._seconds.get(name, seconds)) / 2

    def usual_seconds(self, name: str) -> float:
        """How long a step takes, about."""
        return self._seconds.get(name, 3.0)

    def next_key(self) -> str:
        self._runs += 1
        return f"faults/{self._runs}"

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Runs statements as the owner of the source; returns the rows of the last one."""
        return servers.run_sql(self.dsn, *statements, name="harness")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """A query as the warehouse's admin, with FINAL where a table has it."""
        with self.warehouse.server.client() as client:
            return [tuple(row) for row in client.query(sql, settings={"final": 1}).result_rows]

    def sessions(self) -> list[tuple[int, str, str]]:
        """Sessions of the loader at the source: pid, state, and what it calls itself."""
        return [
            (int(pid), str(state), str(name))
            for pid, state, name in self.sql(
                f"SELECT pid, state, application_name FROM pg_stat_activity WHERE usename = '{READER}'"
            )
        ]

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Acts after some seconds; `settle` waits for it."""
        timer = threading.Timer(seconds, act)
        timer.start()
        self._later.append(timer)

    def kill_warehouse(self, away: float) -> None:
        """kill -9, and a start `away` seconds later, as its supervisor does."""
        for reader in self.readers:
            reader.may_be_away = True
        os.kill(self.warehouse.pid, signal.SIGKILL)
        self.later(away, self._restart_warehouse)

    def _restart_warehouse(self) -> None:
        self.warehouse.kill()
        self.warehouse.start()

    def settle(self) -> None:
        """Waits until all that was to happen later has happened, and lets everything flow again."""
        while self._later:
            self._later.pop().join(90)
        for proxy in (self.source_wire, self.warehouse_wire, self.worker_wire):
            proxy.stop_watching()
            proxy.resume()
        deadline = time.monotonic() + 60
        while True:
            with suppress(psycopg2.OperationalError):
                self.sql("SELECT 1")
                break
            assert time.monotonic() < deadline, "Postgres did not come up again within 60 s"
            time.sleep(0.05)
        self.rows("SELECT 1")
        for reader in self.readers:
            reader.may_be_away = False

    def _stop_threads(self) -> None:
        for thread in (*self._later, self.writer, *(reader for reader in self.readers if reader.is_alive())):
            thread.join(90) if isinstance(thread, threading.Timer) else thread.stop()  # type: ignore[attr-defined]


@contextmanager
def world(home: Path, venvs: Path, seed: int) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(home, venvs, stack, seed)
