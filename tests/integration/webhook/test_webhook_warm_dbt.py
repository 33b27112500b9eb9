"""What the warm dbt learns of the warehouse in another way than dbt does."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

# In the environment that has dbt: the columns of queries as dbt finds them, and as the warm dbt does.
COLUMNS = """
import json, sys
from dbt.adapters.clickhouse.credentials import ClickHouseCredentials
from dbt.adapters.clickhouse.httpclient import ChHttpClient
from webhook import dbt_questions

given = json.load(sys.stdin)
client = ChHttpClient(ClickHouseCredentials(**given["credentials"]))
dbts_own = ChHttpClient.columns_in_query

def ask(sql):
    try:
        return [[column.name, column.dtype] for column in client.columns_in_query(sql)]
    except Exception as error:
        return [type(error).__name__, str(error)]

asked = [ask(sql) for sql in given["queries"]]
dbt_questions._describe_queries()
assert ChHttpClient.columns_in_query is not dbts_own
json.dump([asked, [ask(sql) for sql in given["queries"]]], sys.stdout)
"""
QUERIES = [
    """select 1 as a, 'x' as b, toNullable(1) as c, now64(6, 'UTC') as d, toDecimal64(1, 2) as e, [1] as f, (1, 'a') as g,
       toLowCardinality('x') as h, cast('a' as Enum8('a' = 1, 'b c' = 2)) as i, map('a', 1) as j, today() as k, null as l,
       toDateTime('2020-01-01', 'Europe/Berlin') as m, generateUUIDv4() as n, toFixedString('a', 3) as o, true as p,
       cast((1, 'a') as Tuple(x UInt8, y LowCardinality(Nullable(String)))) as q, toIPv4('127.0.0.1') as r""",
    "select number, toString(number) as name from numbers(3) order by number limit 2 -- the last",
    "with a as (select 1 as x) select a.x, b.y from a left join (select 1 as x, 2 as y) as b using (x)",
    "select * from nothing_there",
]


@pytest.fixture
def columns(clickhouse: Any, venvs: Path, repo: Path) -> list[Any]:
    env = clickhouse.env("dbt")
    place = {"host": env["CLICKHOUSE_HOST"], "port": int(env["CLICKHOUSE_HTTP_PORT"]), "schema": "analytics_dev"}
    credentials = {**place, "user": "dbt", "password": env["CLICKHOUSE_DBT_PASSWORD"], "driver": "http"}
    result = subprocess.run(
        [venvs / "dbt/bin/python", "-c", COLUMNS],
        input=json.dumps({"credentials": credentials, "queries": QUERIES}),
        env={"PYTHONPATH": str(repo / "scripts")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return list(json.loads(result.stdout))


def test_the_columns_of_a_query_are_those_that_dbt_finds_by_running_it(columns: list[Any]) -> None:
    dbts_own, described = columns
    assert described == dbts_own
    assert len(dbts_own[0]) == 18 and "nothing_there" in dbts_own[-1][1]
