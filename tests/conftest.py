"""Real servers for the tests: Postgres and the embedded ClickHouse, on free ports, in folders of their own."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import evidence
import pytest
from evidence import pytest_runtest_makereport  # noqa: F401 - a hook of pytest
from testing import servers
from testing.servers import REPO, PostgresServer, WarehouseServer


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run only the tests marked `long`: soaks and large counts")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = bool(config.getoption("--long"))
    left_out = [item for item in items if (item.get_closest_marker("long") is not None) != wanted]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def repo() -> Path:
    return REPO


@pytest.fixture(scope="session")
def venvs() -> Path:
    if "STACK_VENVS" in os.environ:
        return Path(os.environ["STACK_VENVS"])
    return Path(os.environ.get("STACK_HOME", REPO / ".stack")) / "venvs"


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    return servers.free_port


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A folder that the database user can reach (pytest's own are 0700 for root)."""
    folder = Path(tempfile.mkdtemp(prefix="stack-tests-", dir="/tmp"))
    folder.chmod(0o755)
    evidence.keep_logs_of(folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(venvs: Path, server_folder: Path) -> Iterator[PostgresServer]:
    """A real Postgres with an empty database ecommerce_db."""
    with servers.postgres_server(venvs, server_folder) as server:
        yield server


@pytest.fixture(scope="session")
def sample_shop(postgres: PostgresServer) -> PostgresServer:
    """The same server with the sample shop in ecommerce_db."""
    for file in sorted((REPO / "postgres" / "init").glob("*.sql")):
        postgres.apply(file)
    answer = postgres.upgrade()
    assert answer.returncode == 0, answer.stderr
    return postgres


@pytest.fixture(scope="session")
def clickhouse(venvs: Path, server_folder: Path) -> Iterator[WarehouseServer]:
    """The embedded ClickHouse with the project's users, roles and init SQL."""
    with servers.warehouse_server(venvs, server_folder) as process:
        yield process.server
