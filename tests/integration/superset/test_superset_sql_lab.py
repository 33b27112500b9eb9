"""SQL Lab on two connections: Warehouse reads the marts, Operations reads `ops`, and no query leads from one to the other.

An admin asks, whom Superset refuses no table. Its parser refuses some of the queries, so ClickHouse is asked without it too.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

SECRET = "superset_test_secret"
PASSWD = "'/etc/passwd'"
OPS = [
    f"SELECT * FROM ops.{SECRET}",
    f"SELECT * FROM `ops`.`{SECRET}`",
    "SELECT * FROM merge('ops', '.*')",
    f"SELECT * FROM merge('ops', '^{SECRET}$')",
    f"SELECT * FROM view(SELECT * FROM ops.{SECRET})",
    f"SELECT * FROM loop('ops', '{SECRET}')",
    f"SELECT * FROM mergeTreeIndex('ops', '{SECRET}')",
    f"SELECT * FROM mergeTreeAnalyzeIndexes('ops', '{SECRET}')",
    f"SELECT * FROM remote('127.0.0.1', 'ops', '{SECRET}')",
    f"SELECT * FROM remoteSecure('127.0.0.1', 'ops', '{SECRET}')",
    f"SELECT * FROM cluster('default', 'ops', '{SECRET}')",
    f"SELECT * FROM clusterAllReplicas('default', 'ops', '{SECRET}')",
    f"SELECT * FROM dictionary('ops.{SECRET}')",
    f"SELECT dictGet('ops.{SECRET}', 'told', 1)",
    f"SELECT joinGet('ops.{SECRET}', 'told', 1)",
    f"SELECT 1 IN (SELECT id FROM ops.{SECRET})",
    f"SELECT tuple(1, '') IN ops.{SECRET}",
    f"SELECT (SELECT any(told) FROM ops.{SECRET})",
    f"WITH x AS (SELECT * FROM ops.{SECRET}) SELECT * FROM x",
    f"SELECT told FROM superset_test_days JOIN ops.{SECRET} ON 1 = 1",
    f"SELECT 1 FROM superset_test_days UNION ALL SELECT id FROM ops.{SECRET}",
    f"DESCRIBE TABLE ops.{SECRET}",
    f"SHOW CREATE TABLE ops.{SECRET}",
    f"EXPLAIN SELECT * FROM ops.{SECRET}",
]
RAW = [
    f"SELECT * FROM raw.{SECRET}",
    "SELECT * FROM merge('raw', '.*')",
    f"SELECT * FROM view(SELECT * FROM raw.{SECRET})",
]
FILES_AND_NETWORK = [
    f"SELECT * FROM file({PASSWD}, 'LineAsString')",
    f"SELECT file({PASSWD})",
    f"SELECT * FROM fileCluster('default', {PASSWD}, 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    "SELECT * FROM s3('http://127.0.0.1:1/b/k', 'LineAsString')",
    "SELECT * FROM postgresql('127.0.0.1:1', 'ecommerce_db', 'customers', 'u', 'p')",
    "SELECT * FROM mysql('127.0.0.1:1', 'd', 't', 'u', 'p')",
    "SELECT * FROM sqlite('/tmp/x.db', 't')",
    "SELECT * FROM executable('id', 'LineAsString', 's String')",
    "SELECT 1 INTO OUTFILE '/tmp/superset_test_outfile'",
]
OTHER_RIGHTS = [
    "SELECT * FROM system.users",
    "SELECT * FROM system.grants",
    "SELECT 1 SETTINGS profile = 'default'",
    "SELECT 1 SETTINGS readonly = 0",
    "SET ROLE admin",
    "EXECUTE AS default SELECT 1",
]
WRITES = [
    "INSERT INTO superset_test_days SELECT * FROM superset_test_days",
    "DROP TABLE superset_test_days",
    "TRUNCATE TABLE superset_test_days",
    "ALTER TABLE superset_test_days DELETE WHERE 1",
    "CREATE TABLE analytics.superset_test_mine (id UInt8) ENGINE = Memory",
]
# Answered, without a row of what belongs to others.
NOTHING = [
    "SELECT DISTINCT _database FROM merge(REGEXP('^(ops|raw)$|^analytics$'), '.*') WHERE _database != 'analytics'",
    "SELECT name FROM system.tables WHERE database IN ('ops', 'raw')",
    "SELECT name FROM system.columns WHERE database IN ('ops', 'raw')",
    "SELECT name FROM system.databases WHERE name IN ('ops', 'raw')",
    "SELECT table FROM system.parts WHERE database IN ('ops', 'raw')",
    "SELECT table FROM system.dropped_tables",
    "SELECT table_name FROM information_schema.tables WHERE table_schema IN ('ops', 'raw')",
    "SELECT query FROM system.processes",
    "SELECT name FROM system.errors",
]


@pytest.fixture(scope="module")
def reader(warehouse: Any) -> Iterator[Any]:
    with warehouse.client("superset", database="analytics") as client:
        yield client


@pytest.mark.parametrize("query", OPS + RAW + FILES_AND_NETWORK + OTHER_RIGHTS)
def test_warehouse_refuses_what_is_not_reading_marts(api: Any, query: str) -> None:
    answer = api.sql(query)
    assert answer.status_code in (400, 403, 422, 500), answer.text
    assert answer.json()["errors"]
    assert "secret of" not in answer.text and "root:" not in answer.text


@pytest.mark.parametrize("query", OPS + RAW + FILES_AND_NETWORK + OTHER_RIGHTS + WRITES)
def test_clickhouse_itself_refuses_it_to_the_user_of_warehouse(reader: Any, query: str) -> None:
    with pytest.raises(DatabaseError, match=r"Code: \d+") as refused:
        reader.raw_query(query)
    assert "secret of" not in str(refused.value) and "root:" not in str(refused.value)


@pytest.mark.parametrize("query", WRITES)
def test_warehouse_refuses_to_write(api: Any, warehouse: Any, query: str) -> None:
    answer = api.sql(query)
    assert answer.status_code in (400, 403, 422, 500), answer.text
    with warehouse.client("default") as admin:
        assert admin.command("SELECT count() FROM analytics.superset_test_days") == 90


@pytest.mark.parametrize("query", NOTHING)
def test_warehouse_shows_nothing_of_others(api: Any, query: str) -> None:
    answer = api.sql(query)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"] == []


def test_query_texts_of_others_are_hidden(api: Any, warehouse: Any) -> None:
    with warehouse.client("default") as admin:
        admin.command("SELECT 'secret of a query'")
        admin.command("SYSTEM FLUSH LOGS")
        (seen,) = admin.query("SELECT count() FROM system.query_log WHERE query LIKE '%secret of a query%'").result_rows
    assert seen[0] > 0
    answer = api.sql("SELECT query FROM system.query_log")
    assert answer.status_code != 200 or answer.json()["data"] == []


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM analytics.superset_test_days",
        "SELECT * FROM merge('analytics', '.*')",
        "SELECT * FROM view(SELECT * FROM analytics.superset_test_days)",
        f"SELECT * FROM raw.{SECRET}",
        f"SELECT * FROM file({PASSWD}, 'LineAsString')",
        f"INSERT INTO ops.{SECRET} VALUES (2, '')",
    ],
)
def test_operations_refuses_what_is_not_reading_ops(api: Any, query: str) -> None:
    answer = api.sql(query, "Operations", "ops")
    assert answer.status_code in (400, 403, 422, 500), answer.text
    assert answer.json()["errors"]


def test_each_connection_reads_its_own(api: Any) -> None:
    for database, schema, table in (("Warehouse", "analytics", "superset_test_days"), ("Operations", "ops", SECRET)):
        answer = api.sql(f"SELECT count() AS n FROM {table}", database, schema)
        assert answer.status_code == 200 and answer.json()["data"][0]["n"] > 0, answer.text
