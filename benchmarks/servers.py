"""A source and a warehouse of a benchmark's own, in a folder that goes away."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testing.servers import REPO, PostgresServer, WarehouseProcess, postgres_server, warehouse_server

VENVS = Path(os.environ.get("STACK_VENVS", REPO / ".stack" / "venvs"))


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that the database user can reach."""
    made = Path(tempfile.mkdtemp(prefix="stack-benchmark-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def warehouse(at: Path) -> Iterator[WarehouseProcess]:
    """The embedded ClickHouse with the project's users and init SQL."""
    with warehouse_server(VENVS, at) as process:
        yield process


@contextmanager
def source(at: Path) -> Iterator[PostgresServer]:
    """Postgres with the schema of the sample shop and no rows."""
    with postgres_server(VENVS, at) as server:
        server.apply(REPO / "postgres" / "init" / "01-init-schema.sql")
        yield server
