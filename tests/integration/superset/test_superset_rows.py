"""Rows by role: whoever holds *Only California* reads rows of California alone, whatever SQL a chart or SQL Lab sends, warm caches included.

Each attempt is made by an admin first. That shows that it reaches other rows, and leaves the answer in the cache.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

# In answers: a row of another state.
OTHERS = re.compile(r"TX|NY|leak")
ROW = "(toUInt64(2), toDate('2026-01-02'), toDateTime64('2026-01-02 12:00:00', 6, 'UTC'), 'TX', toDecimal64(20, 2))"
COLUMNS = "order_item_id UInt64, order_day Date, order_date DateTime64(6, 'UTC'), customer_state String, net_revenue Decimal(14, 2)"


def expression(sql: str, label: str = "seen") -> dict[str, Any]:
    return {"expressionType": "SQL", "sqlExpression": sql, "label": label}


STATES = {"columns": ["customer_state"]}
ATTEMPTS: dict[str, dict[str, Any]] = {
    "no filter": STATES,
    "filter, column": {**STATES, "filters": [{"col": expression("1=1 OR 1"), "op": "==", "val": 1}]},
    "filter, not in": {**STATES, "filters": [{"col": "customer_state", "op": "NOT IN", "val": ["CA"]}]},
    "filter, column IN table": {
        "metrics": [expression("if(count() > 0, 'leak', 'no')")],
        "filters": [{"col": expression(f"{ROW} IN analytics.fact_sales"), "op": "==", "val": 1}],
    },
    "where": {**STATES, "extras": {"where": "1=1 OR 1=1"}},
    "where with a setting": {**STATES, "extras": {"where": "customer_state != ''"}},
    "having": {**STATES, "metrics": [expression("count()", "n")], "extras": {"having": "count() > 0 OR 1"}},
    "column": {"columns": [expression("concat(customer_state, '!')")]},
    "metric": {"metrics": [expression("groupUniqArray(customer_state)")]},
    "metric with a condition": {"metrics": [expression("if(countIf(customer_state != 'CA') > 0, 'leak', 'no')")]},
    "metric of a column": {
        "metrics": [
            {
                "expressionType": "SIMPLE",
                "column": {"column_name": "customer_state"},
                "aggregate": "MAX",
                "label": "seen",
            }
        ]
    },
    "metric IN table": {"metrics": [expression(f"if(any({ROW} IN analytics.fact_sales), 'leak', 'no')")]},
    "metric IN merge": {"metrics": [expression(f"if(any({ROW} IN analytics.superset_test_copy), 'leak', 'no')")]},
    "order by": {**STATES, "orderby": [[expression("customer_state = 'CA'"), True]], "row_limit": 1},
    "time column": {
        "columns": [
            {**expression("customer_state", "seen"), "columnType": "BASE_AXIS", "timeGrain": None},
        ],
        "metrics": [expression("count()", "n")],
    },
    "time grain": {
        "columns": [
            {**expression("if(customer_state = 'CA', order_date, toDateTime64('2001-01-01 00:00:00', 6))", "seen"),
             "columnType": "BASE_AXIS", "timeGrain": "P1D"},
        ],
        "metrics": [expression("if(any(customer_state) = 'CA', 'no', 'leak')", "m")],
    },
    "granularity": {
        **STATES, "granularity": "order_day", "time_range": "2026-01-01 : 2026-02-01", "is_timeseries": True,
        "metrics": [expression("count()", "n")],
    },
    "series limit": {
        **STATES, "series_columns": ["customer_state"], "series_limit": 5,
        "series_limit_metric": expression("countIf(customer_state != 'CA')", "x"), "metrics": [expression("count()", "n")],
    },
    "totals and post-processing": {**STATES, "metrics": [expression("count()", "n")], "is_rowcount": False},
}  # fmt: skip


def body(dataset: int, query: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "datasource": {"id": dataset, "type": "table"},
        "queries": [{"row_limit": 100, **query}],
        "result_format": "json",
        "result_type": "full",
        **more,
    }


def rows(answer: Any) -> str:
    """The data of an answer: without the query, in which the attempt itself names other states."""
    if answer.status_code != 200:
        return ""
    if "json" not in answer.headers["Content-Type"]:
        return str(answer.text)
    told = answer.json()
    results = told["result"]
    return json.dumps([one["data"] for one in results] if isinstance(results, list) else results["data"])


@pytest.fixture(scope="module")
def shop(warehouse: Any) -> Iterator[None]:
    """A mart with a filter, one without a grant, and a copy of the first beside it."""
    values = "(1, '2026-01-01', '2026-01-01 12:00:00', 'CA', 10), (2, '2026-01-02', '2026-01-02 12:00:00', 'TX', 20), (3, '2026-01-03', '2026-01-03 12:00:00', 'NY', 30)"
    names = ("fact_sales", "agg_sales_daily", "superset_test_copy")
    with warehouse.client("default") as admin:
        for name in names:
            admin.command(f"CREATE TABLE analytics.{name} ({COLUMNS}) ENGINE = MergeTree ORDER BY order_item_id")
            admin.command(f"INSERT INTO analytics.{name} VALUES {values}")
        yield
        for name in names:
            admin.command(f"DROP TABLE analytics.{name} SYNC")


@pytest.fixture(scope="module")
def californian(new_person: Any, shop: None) -> Any:
    """The most that a restricted person may be."""
    return new_person("Analyst", "Only California")


@pytest.fixture(scope="module")
def datasets(api: Any, shop: None) -> dict[str, int]:
    found = api.get("/api/v1/dataset/?q=(page_size:100)").json()["result"]
    return {row["table_name"]: row["id"] for row in found}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_no_expression_of_a_chart_reads_another_state(
    api: Any, californian: Any, datasets: dict[str, int], name: str
) -> None:
    asked = body(datasets["fact_sales"], ATTEMPTS[name])
    of_admin = api.post("/api/v1/chart/data", asked)
    assert of_admin.status_code == 200, of_admin.text
    assert OTHERS.search(rows(of_admin)), f"The attempt reaches nothing: {rows(of_admin)}"
    for more in ({}, {"force": True}, {"result_format": "csv"}):
        answer = californian.post("/api/v1/chart/data", asked | more)
        assert not OTHERS.search(rows(answer)), rows(answer)
    again = api.post("/api/v1/chart/data", asked)
    assert again.json()["result"][0]["is_cached"] and rows(again) == rows(of_admin)


def test_a_chart_still_shows_what_may_be_seen(californian: Any, datasets: dict[str, int]) -> None:
    answer = californian.post("/api/v1/chart/data", body(datasets["fact_sales"], ATTEMPTS["no filter"]))
    assert answer.json()["result"][0]["data"] == [{"customer_state": "CA"}]


@pytest.fixture(scope="module")
def virtual(api: Any, shop: None) -> Iterator[int]:
    """A dataset by SQL that an admin made."""
    sql = "SELECT customer_state FROM analytics.fact_sales UNION ALL SELECT customer_state FROM merge('analytics', '^fact')"
    dataset = {"database": api.database_id(), "schema": "analytics", "table_name": "superset_test_virtual", "sql": sql}
    made = api.post("/api/v1/dataset/", dataset)
    assert made.status_code == 201, made.text
    yield made.json()["id"]
    api.delete(f"/api/v1/dataset/{made.json()['id']}")


@pytest.fixture(scope="module")
def people(new_person: Any, shop: None) -> list[Any]:
    """An admin, and one with the restricted role too, both in the session of a browser."""
    found = [new_person("Admin"), new_person("Admin", "Only California")]
    for one in found:
        one.log_in_by_form()
    return found


def test_a_dataset_by_sql_is_filtered_too(people: list[Any], virtual: int) -> None:
    of_admin, seen = [rows(one.post("/api/v1/chart/data", body(virtual, STATES))) for one in people]
    assert OTHERS.search(of_admin) and "CA" in seen and not OTHERS.search(seen), seen


@pytest.mark.parametrize("kind", ["samples", "drill_detail"])
def test_the_rows_behind_a_number_are_those_of_california(people: list[Any], virtual: int, kind: str) -> None:
    path, asked = f"/datasource/samples?datasource_type=table&datasource_id={virtual}", {"filters": []}
    if kind == "drill_detail":
        path, asked = "/api/v1/chart/data", body(virtual, STATES, result_type=kind)
    of_admin, seen = [rows(one.post(path, asked)) for one in people]
    assert OTHERS.search(of_admin) and "CA" in seen and not OTHERS.search(seen), (of_admin, seen)


def test_the_values_of_a_filter_are_those_of_california(people: list[Any], datasets: dict[str, int]) -> None:
    path = f"/api/v1/datasource/table/{datasets['fact_sales']}/column/customer_state/values/"
    of_admin, seen = [one.get(path).json()["result"] for one in people]
    assert (sorted(of_admin), seen) == (["CA", "NY", "TX"], ["CA"])


@pytest.mark.parametrize(("user", "states"), [("default", 3), ("dbt", 3), ("superset", 3), ("superset_california", 1)])
def test_only_the_restricted_user_of_the_warehouse_is_filtered(
    warehouse: Any, shop: None, user: str, states: int
) -> None:
    with warehouse.client(user) as client:
        assert client.query("SELECT uniqExact(customer_state) FROM analytics.fact_sales").result_rows == [(states,)]


@pytest.mark.parametrize("name", ["agg_sales_daily", "superset_test_copy"])
def test_a_mart_without_a_filter_is_refused(api: Any, californian: Any, shop: None, name: str) -> None:
    query = f"SELECT customer_state FROM {name}"
    assert api.sql(query).status_code == 200
    assert "Not enough privileges" in californian.sql(query).text


@pytest.mark.parametrize(
    "query",
    [
        "SELECT customer_state AS seen FROM fact_sales",
        "SELECT customer_state AS seen FROM analytics.fact_sales WHERE 1=1 OR 1",
        "SELECT customer_state AS seen FROM merge('analytics', '.*')",
        "SELECT customer_state AS seen FROM fact_sales SETTINGS additional_result_filter = '1'",
        f"SELECT if({ROW} IN fact_sales, 'leak', 'no') AS seen",
        "SELECT groupUniqArray(customer_state) AS seen FROM fact_sales "
        "SETTINGS use_query_cache = 1, query_cache_share_between_users = 1, query_cache_min_query_duration = 0",
    ],
)
def test_no_query_of_sql_lab_reads_another_state(api: Any, californian: Any, query: str) -> None:
    assert OTHERS.search(rows_of_lab(api.sql(query)))
    assert not OTHERS.search(rows_of_lab(californian.sql(query)))


def rows_of_lab(answer: Any) -> str:
    return json.dumps(answer.json().get("data"))


def test_answers_that_superset_shares_among_people_are_closed(new_person: Any, datasets: dict[str, int]) -> None:
    """Superset keeps whole answers of explore_json by their address alone."""
    form = {"datasource": f"{datasets['fact_sales']}__table", "viz_type": "table", "metrics": ["count"]}
    path = "/superset/explore_json/?" + urlencode({"form_data": json.dumps(form)})
    seen = []
    for roles in (("Analyst",), ("Analyst", "Only California"), ("Admin", "Only California")):
        someone = new_person(*roles)
        someone.log_in_by_form()
        seen.append(someone.get(path).status_code)
    assert seen[0] != 403 and seen[1:] == [403, 403]


@pytest.mark.parametrize("roles", [("Admin", "Only California"), ("Alpha", "Only California")])
def test_least_rights_win_over_every_other_role(
    new_person: Any, datasets: dict[str, int], roles: tuple[str, ...]
) -> None:
    answer = new_person(*roles).post("/api/v1/chart/data", body(datasets["fact_sales"], ATTEMPTS["metric"]))
    assert answer.json()["result"][0]["data"] == [{"seen": '["CA"]'}]
