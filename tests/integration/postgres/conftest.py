"""Databases of their own for tests that change the shop."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn


@pytest.fixture(scope="session")
def new_shop(postgres: Any, repo: Path) -> Callable[..., str]:
    """Makes a database with the sample shop, or with the named init files only, and returns the owner's URL."""
    made = 0

    def make(only: Sequence[str] | None = None) -> str:
        nonlocal made
        made += 1
        name = f"shop_{made}"
        admin = psycopg2.connect(postgres.dsn("postgres"))
        admin.autocommit = True
        with admin.cursor() as cur:
            cur.execute(f"CREATE DATABASE {name}")
        admin.close()
        folder = repo / "postgres" / "init"
        for file in [folder / name for name in only] if only else sorted(folder.glob("*.sql")):
            postgres.apply(file, name)
        answer = postgres.upgrade(name)
        assert answer.returncode == 0, answer.stderr
        return str(postgres.dsn(name))

    return make


@pytest.fixture
def reader_of(postgres: Any) -> Iterator[Callable[[str], Any]]:
    """Connects to the database of an owner's URL as elt_reader, each statement on its own."""
    connections = []

    def connect(url: str) -> Any:
        connection = psycopg2.connect(postgres.dsn(parse_dsn(url)["dbname"], "elt_reader", postgres.reader_password))
        connection.autocommit = True
        connections.append(connection)
        return connection

    yield connect
    for connection in connections:
        connection.close()
