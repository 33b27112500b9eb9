"""A small shop in raw, and dbt as people run it."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

RAW_TABLES = ("customers", "products", "orders", "order_items")
Dbt = Callable[..., "subprocess.CompletedProcess[str]"]


def fill_raw(clickhouse: Any, folder: Path) -> None:
    """Make raw.* as the loader would have left them, whatever is there."""
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
    """Runs dbt with arguments, an environment and, if wanted, another project; the parse is kept between calls."""
    state = tmp_path_factory.mktemp("dbt")

    def run(
        *arguments: str, project: Path = repo / "dbt", env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        places = ["--project-dir", str(project), "--profiles-dir", str(project)]
        places += ["--target-path", str(state / "target"), "--log-path", str(state / "logs")]
        return subprocess.run(
            [str(venvs / "dbt/bin/dbt"), "--no-use-colors", *arguments, *places],
            env={"PATH": os.environ["PATH"], "HOME": str(state), **clickhouse.env("dbt"), **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run
