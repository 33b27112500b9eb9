"""Each table of ops has one writer among the tools' users, and nobody alters it but the admin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

WRITERS = {
    "runs": "loader",
    "loads": "loader",
    "publishes": "loader",
    "dbt_runs": "webhook",
    "dbt_nodes": "webhook",
    "dbt_publishes": "webhook",
    "absences": "loader",
}
USERS = ("loader", "dbt", "webhook", "superset_operations")
REFUSED = (497, 164)

VERBS = {
    "add a row": "INSERT INTO ops.{table} SELECT * FROM ops.{table} WHERE 0",
    "change a row": "ALTER TABLE ops.{table} UPDATE version = version WHERE 0",
    "delete a row": "ALTER TABLE ops.{table} DELETE WHERE 0",
    "delete a row lightly": "DELETE FROM ops.{table} WHERE 0",
    "empty it": "TRUNCATE TABLE ops.{table}",
    "drop it": "DROP TABLE ops.{table}",
    "rename it": "RENAME TABLE ops.{table} TO ops.{table}_away",
    "swap it": "EXCHANGE TABLES ops.{table} AND ops.{other}",
    "add a column": "ALTER TABLE ops.{table} ADD COLUMN forged UInt8",
    "keep rows for a day only": "ALTER TABLE ops.{table} MODIFY TTL toDateTime(version) + INTERVAL 1 DAY",
    "drop all rows": "ALTER TABLE ops.{table} DROP PARTITION tuple()",
    "merge it": "OPTIMIZE TABLE ops.{table} FINAL",
    "stand in for it": "CREATE OR REPLACE TABLE ops.{table} (a UInt8) ENGINE = Memory",
    "listen in from ops": "CREATE MATERIALIZED VIEW ops.{table}_mv ENGINE = Memory AS SELECT * FROM ops.{table}",
}


def test_every_table_of_ops_has_a_writer_here(admin: Any) -> None:
    assert set(admin.ask("SHOW TABLES FROM ops NOT LIKE 'lease\\_%'").splitlines()) == set(WRITERS)


@pytest.mark.parametrize("user", USERS)
def test_a_tool_reads_ops_and_writes_its_own_tables_only(api: Callable[[str], Any], user: str) -> None:
    client = api(user)
    wrong = []
    for table in WRITERS:
        assert client.ask(f"SELECT count() >= 0 FROM ops.{table}") == "1"
        for verb, sql in VERBS.items():
            other = next(name for name in WRITERS if name != table)
            answer = client.call(sql.format(table=table, other=other))
            allowed = verb == "add a row" and WRITERS[table] == user
            if (answer.code is None) != allowed or (not allowed and answer.code not in REFUSED):
                wrong.append(f"{user}: {verb} of ops.{table}: {answer.text[:150]}")
    assert not wrong


@pytest.fixture
def views(admin: Any) -> Iterator[None]:
    yield
    for place in ("raw.way_round", "analytics.way_round"):
        admin.ask(f"DROP VIEW IF EXISTS {place}_mv SYNC")
        admin.ask(f"DROP TABLE IF EXISTS {place} SYNC")


@pytest.mark.parametrize(
    ("user", "database", "journal"),
    [("dbt", "analytics", "dbt_publishes"), ("loader", "raw", "dbt_publishes"), ("dbt", "analytics", "publishes")],
)
def test_a_view_is_no_way_round_into_the_journal(
    api: Callable[[str], Any], admin: Any, views: None, user: str, database: str, journal: str
) -> None:
    client, place = api(user), f"{database}.way_round"
    before = admin.ask(f"SELECT count() FROM ops.{journal}")
    client.ask(f"CREATE TABLE {place} (target String) ENGINE = MergeTree ORDER BY target")
    for clause in (
        "",
        "DEFINER = webhook SQL SECURITY DEFINER",
        "DEFINER = default SQL SECURITY DEFINER",
        "SQL SECURITY NONE",
    ):
        made = client.call(
            f"CREATE MATERIALIZED VIEW {place}_mv TO ops.{journal} {clause} AS SELECT target, 'open' AS status FROM {place}"
        )
        if clause:
            assert made.code == 497, clause
        client.call(f"INSERT INTO {place} VALUES ('fact_sales')")
    assert admin.ask(f"SELECT count() FROM ops.{journal}") == before


def test_dbts_session_cannot_take_the_recorders_role(api: Callable[[str], Any]) -> None:
    for sql in ("SET ROLE recorder", "SET ROLE loader", "GRANT recorder TO dbt", "SELECT 1 SETTINGS role = 'recorder'"):
        assert api("dbt").call(sql).code is not None, sql
