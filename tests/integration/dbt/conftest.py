"""A small shop in raw, and dbt as people run it."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from webhook.publishing import Publisher
from webhook.queue.runs import RunRequest
from webhook.settings import Settings
from webhook.worker.execution import Outcome

RAW_TABLES = ("customers", "products", "orders", "order_items")
Dbt = Callable[..., "subprocess.CompletedProcess[str]"]


def fill_raw(clickhouse: Any, folder: Path) -> None:
    """Makes raw.* as the loader would have left them, whatever is there."""
    with clickhouse.client("loader") as loader:
        for statement in (folder / "raw_shop.sql").read_text().split(";\n"):
            if statement.strip():
                loader.command(statement)


@pytest.fixture
def refill_raw(clickhouse: Any, raw_shop: None) -> Iterator[None]:
    """For a test that spoils raw: the next one finds it whole."""
    yield
    fill_raw(clickhouse, Path(__file__).parent)


@pytest.fixture(scope="session")
def raw_shop(clickhouse: Any) -> Iterator[None]:
    fill_raw(clickhouse, Path(__file__).parent)
    yield
    with clickhouse.client() as admin:
        for table in RAW_TABLES:
            admin.command(f"DROP TABLE IF EXISTS raw.{table}")
        for database in ("analytics", "analytics_dev"):
            for name, engine in admin.query(
                "SELECT name, engine FROM system.tables WHERE database = {database:String}", {"database": database}
            ).result_rows:
                admin.command(f"DROP {'VIEW' if engine == 'View' else 'TABLE'} {database}.`{name}`")


@pytest.fixture(scope="session")
def dbt(repo: Path, venvs: Path, clickhouse: Any, raw_shop: None, tmp_path_factory: pytest.TempPathFactory) -> Dbt:
    """Runs dbt with arguments, an environment and, if wanted, another project; each target keeps its parse."""
    state = tmp_path_factory.mktemp("dbt")

    def run(
        *arguments: str, project: Path = repo / "dbt", env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        places = ["--project-dir", str(project), "--profiles-dir", str(project)]
        target = arguments[arguments.index("--target") + 1] if "--target" in arguments else "dev"
        places += ["--target-path", str(state / target), "--log-path", str(state / "logs")]
        return subprocess.run(
            [str(venvs / "dbt/bin/dbt"), "--no-use-colors", *arguments, *places],
            env={"PATH": os.environ["PATH"], "HOME": str(state), **clickhouse.env("dbt"), **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


class Builds:
    """Builds prod as the webhook's worker does: dbt between what a publish needs before it and the publish."""

    def __init__(self, clickhouse: Any, dbt: Dbt, home: Path) -> None:
        self._clickhouse = clickhouse
        self._dbt = dbt
        self._count = 0
        self.settings = Settings.from_environ(
            {"WEBHOOK_HOME": str(home), "DBT_PROJECT_DIR": str(home), **clickhouse.env("dbt", "webhook")}
        )
        self.publisher = Publisher(self.settings)

    def __call__(self, *select: str, command: str = "build", full_refresh: bool = False, **options: Any) -> Outcome:
        self._count += 1
        request = RunRequest(command=command, select=select, full_refresh=full_refresh)  # type: ignore[arg-type]
        run: Any = SimpleNamespace(id=f"run-{self._count}", request=request)
        return self.publisher.run(run, 1, lambda: self._execute(request, **options))

    def _execute(self, request: RunRequest, **options: Any) -> Outcome:
        arguments = [request.command, "--target", "prod"]
        if request.command == "build":
            arguments += ["--exclude-resource-type", "unit_test"]
        if request.select:
            arguments += ["--select", *request.select]
        if request.full_refresh:
            arguments.append("--full-refresh")
        result = self._dbt(*arguments, **options)
        self.said = result.stdout
        return Outcome("success") if result.returncode == 0 else Outcome("error", "dbt failed.")

    def record(self, run_id: str) -> None:
        """Has ops.dbt_runs know the run, as it knows each run before dbt starts: a publish of another is not gone on with."""
        with self._clickhouse.client("webhook") as records:
            records.command(f"INSERT INTO ops.dbt_runs (id, queued_at) VALUES ('{run_id}', now())")

    def log(self) -> str:
        return self.settings.run_log(f"run-{self._count}").read_text()

    def published(self) -> dict[str, str]:
        """UUIDs of all that readers see in analytics, by name."""
        with self._clickhouse.client() as admin:
            return dict(
                admin.query(
                    "SELECT name, toString(uuid) FROM system.tables WHERE database = 'analytics'"
                    " AND NOT startsWith(name, 'failed__')"
                ).result_rows
            )


@pytest.fixture(scope="session")
def builds(clickhouse: Any, dbt: Dbt, tmp_path_factory: pytest.TempPathFactory) -> Builds:
    return Builds(clickhouse, dbt, tmp_path_factory.mktemp("publisher"))
