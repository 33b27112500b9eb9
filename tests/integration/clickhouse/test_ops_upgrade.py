"""Ops tables of an older version become what a new stack has."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stack import warehouse_init

OLD = "upgraded"
TABLE = re.compile(r"(TABLE (?:IF NOT EXISTS )?)ops\.")


@pytest.fixture
def admin(clickhouse: Any) -> Iterator[Any]:
    with clickhouse.client() as client:
        client.command(f"CREATE DATABASE {OLD}")
        yield client
        client.command(f"DROP DATABASE {OLD} SYNC")


def apply(admin: Any, *files: Path) -> None:
    """Applies the statements about tables of ops to the database of the test."""
    for file in files:
        for statement in warehouse_init.statements(file.read_text()):
            if TABLE.search(statement):
                admin.command(TABLE.sub(rf"\1{OLD}.", statement))


def described(admin: Any, database: str) -> dict[str, list[tuple[Any, ...]]]:
    """By table its engine and comment, then of each column, in order, name, type, default and comment."""
    tables = admin.query(
        f"SELECT name, engine_full, comment FROM system.tables WHERE database = '{database}' AND name IN"
        f" (SELECT name FROM system.tables WHERE database = '{OLD}')"
    ).result_rows
    columns = admin.query(
        f"SELECT table, name, type, default_kind, default_expression, comment FROM system.columns WHERE database = '{database}'"
        " ORDER BY table, position"
    ).result_rows
    return {
        name: [(engine, comment), *(tuple(column[1:]) for column in columns if column[0] == name)]
        for name, engine, comment in tables
    }


@pytest.mark.parametrize("between", [[], ["loads ADD COLUMN note String AFTER shape"]], ids=["0.1.0", "no comment"])
def test_upgraded_ops_tables_are_those_of_a_new_stack(admin: Any, repo: Path, between: list[str]) -> None:
    apply(admin, Path(__file__).with_name("ops_0.1.0.sql"))
    for change in between:
        admin.command(f"ALTER TABLE {OLD}.{change}")
    old = described(admin, OLD)
    init = sorted((repo / "clickhouse" / "init").glob("*.sql"))
    apply(admin, *init)
    # Every boot does it again.
    apply(admin, *init)
    upgraded = described(admin, OLD)
    assert len(old) == 6 and upgraded != old
    assert upgraded == described(admin, "ops")
