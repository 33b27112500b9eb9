"""The dashboards that are there at the first login: every number as Postgres has it, with and without filters, for who may see them."""

import copy
import json
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import figures
import pytest
from superset_api import Superset

SHOP = {"sales": 8, "customers": 9}
FILTERS = [
    {"col": "customer_state", "op": "IN", "val": ["CA", "NY"]},
    {"col": "product_category", "op": "IN", "val": ["Books", "Home"]},
    {"col": "order_status", "op": "IN", "val": ["delivered", "cancelled"]},
]


def compare(
    rows: list[figures.Row], expected: dict[Any, Any], query: dict[str, Any], name: str, *, page: int | None = None
) -> int:
    """Every row is as in Postgres, none is missing, and those left out by the limit are the lowest. Returns the numbers compared."""
    assert rows, f"{name}: no rows"
    for key, values in rows:
        assert key in expected, f"{name}: {key} is in Superset and not in Postgres"
        assert figures.same(values, expected[key]), f"{name}: {key}: {values} in Superset, {expected[key]} in Postgres"
    assert len({key for key, _ in rows}) == len(rows), name
    limit = query["row_limit"]
    assert len(rows) == min(limit, len(expected)), f"{name}: {len(rows)} rows, Postgres has {len(expected)}"
    if len(expected) > limit:
        (by, ascending) = query["orderby"][0]
        place = query["metrics"].index(by)
        best = sorted((values[place] or Decimal(0) for values in expected.values()), reverse=not ascending)[:limit]
        assert figures.same([values[place] or Decimal(0) for _, values in rows], best), name
    return sum(len(values) for _, values in rows)


def saved(admin: Superset, slug: str) -> list[tuple[str, int, str, dict[str, Any]]]:
    """Of each chart of a dashboard: title, id, table, query context."""
    found = []
    for title, row in admin.charts(slug).items():
        chart = admin.chart(row["id"])
        context = json.loads(chart["query_context"])
        table = chart["datasource_name_text"] if "datasource_name_text" in chart else row["form_data"]["datasource"]
        found.append((title, row["id"], table, context))
    return found


@pytest.fixture(scope="module")
def tables(admin: Superset) -> dict[int, str]:
    return {row["id"]: row["table_name"] for row in admin.listed("dataset")}


def before(period: tuple[date, date]) -> tuple[date, date]:
    return period[0] - (period[1] - period[0]), period[0]


@pytest.mark.parametrize("slug", sorted(SHOP))
def test_every_number_of_a_chart_is_that_of_postgres(
    admin: Superset, source: Any, today: date, tables: dict[int, str], slug: str
) -> None:
    """As saved; in the range from 15 January to 15 March; and by state, category and status; each with the period before."""
    charts = saved(admin, slug)
    assert len(charts) == SHOP[slug]
    trap = f"{today.year - 1}-01-15 : {today.year - 1}-03-15"
    numbers = 0
    for title, identifier, _, context in charts:
        (query,) = context["queries"]
        table = tables[context["datasource"]["id"]]
        answer = admin.get(f"/api/v1/chart/{identifier}/data/?force=true")
        assert answer.status_code == 200, f"{title}: {answer.text}"
        answers = [(query, answer.json()["result"][0]["data"])]
        applicable = [one for one in FILTERS if table == "fact_sales" or one["col"] == "customer_state"]
        times = [one for one in query["filters"] if one["op"] == "TEMPORAL_RANGE"]
        for words, more in ((trap, []), (None, applicable), (trap, applicable)):
            if words and not times:
                continue
            other = copy.deepcopy(context)
            (asked,) = other["queries"]
            for one in asked["filters"]:
                if one["op"] == "TEMPORAL_RANGE" and words and table == "fact_sales":
                    one["val"] = words
            asked["filters"] += more
            answers.append((asked, admin.data(other)))
        for asked, data in answers:
            words = next((one["val"] for one in asked["filters"] if one["op"] == "TEMPORAL_RANGE"), "No filter")
            period = figures.period(words)
            wanted = figures.expected(source, table, asked, today, period)
            numbers += compare(figures.shown(data, asked), wanted, asked, f"{title}, {words}")
            for offset in asked["time_offsets"]:
                assert period is not None
                wanted = figures.expected(source, table, asked, today, before(period))
                name = f"{title}, period before {words}"
                numbers += compare(figures.shown(data, asked, f"__{offset}"), wanted, asked, name)
    print(f"{slug}: {numbers} numbers of {len(charts)} charts equal Postgres")
    assert numbers > 100


@pytest.mark.parametrize("grain", sorted(figures.GRAINS))
@pytest.mark.parametrize("filters", [[], FILTERS], ids=["all", "filtered"])
def test_at_every_time_grain_the_chart_over_time_is_that_of_postgres(
    admin: Superset, source: Any, today: date, tables: dict[int, str], grain: str, filters: list[dict[str, Any]]
) -> None:
    """In the range that cuts months, weeks and quarters: 15 January to 15 March."""
    context = next(context for title, _, _, context in saved(admin, "sales") if title.startswith("Revenue over time"))
    (query,) = context["queries"]
    words = f"{today.year - 1}-01-15 : {today.year - 1}-03-15"
    query["columns"][0]["timeGrain"] = grain
    for one in query["filters"]:
        one["val"] = words
    query["filters"] += filters
    wanted = figures.expected(source, "fact_sales", query, today, figures.period(words))
    compare(figures.shown(admin.data(context), query), wanted, query, f"{grain}, {words}")
    if grain == "P1M":
        months = {key[0].month for key in wanted}
        assert months == {1, 2, 3}


LAST_BUILD = "(SELECT id FROM ops.dbt_runs FINAL WHERE command = 'build' AND ended_at IS NOT NULL ORDER BY queued_at DESC LIMIT 1)"
NOW = {
    "Last good load": "SELECT sum(rows_sent) FROM ops.loads FINAL WHERE status IN ('loaded', 'published') "
    "AND run = (SELECT max(run) FROM ops.runs FINAL WHERE status = 'success')",
    "Last good build": "SELECT dateDiff('millisecond', started_at, ended_at) / 1000 FROM ops.dbt_runs FINAL "
    "WHERE command = 'build' AND status = 'success' ORDER BY queued_at DESC LIMIT 1",
    "Tests of the last build": f"SELECT count() FROM ops.dbt_nodes FINAL WHERE resource_type = 'test' AND run_id = {LAST_BUILD}",
    "Failed in the last build": "SELECT countIf(status IN ('fail', 'error')) FROM ops.dbt_nodes FINAL "
    f"WHERE run_id = {LAST_BUILD}",
    "Tables not copied": "SELECT count() FROM ops.absences FINAL WHERE status IN ('gone', 'left out')",
}
AGES = "SELECT target, dateDiff('second', max(closed_at), now()) / 3600 FROM ops.publishes FINAL WHERE status = 'done' GROUP BY 1"
OPS = {
    "Runs of the loader and of dbt, the newest first": """
        SELECT what, status, seconds, parts, failed, carried FROM (
            SELECT started_at AS began, 'load' AS what, status, dateDiff('millisecond', started_at, ended_at) / 1000 AS seconds,
                length(tables) AS parts, loads.failed AS failed, loads.carried AS carried
            FROM ops.runs FINAL
            LEFT JOIN (
                SELECT run, sumIf(rows_sent, status IN ('loaded', 'published')) AS carried, countIf(status = 'failed') AS failed
                FROM ops.loads FINAL GROUP BY run
            ) AS loads USING (run)
            UNION ALL
            SELECT queued_at, 'dbt ' || command, status, dateDiff('millisecond', started_at, ended_at) / 1000, nodes, failed,
                coalesce(published.carried, 0)
            FROM ops.dbt_runs FINAL
            LEFT JOIN (
                SELECT run_id AS id, sum(rows) AS carried FROM ops.dbt_publishes FINAL GROUP BY id
            ) AS published USING (id)
        ) ORDER BY began DESC LIMIT 20""",
    "Tables, the oldest first": """
        SELECT target, loads.status, toUnixTimestamp64Micro(closed_at) / 1000, rows, rows_sent, seconds, bytes / 1000000,
            rows_sent / seconds
        FROM ops.loads AS loads FINAL JOIN ops.publishes AS publishes FINAL USING (run, target)
        WHERE loads.status = 'published'
            AND (run, target) IN (SELECT max(run), target FROM ops.publishes FINAL WHERE status = 'done' GROUP BY target)
        ORDER BY target""",
    "Rows carried over time by table": "SELECT target, sum(rows_sent) FROM ops.loads FINAL "
    "WHERE status IN ('loaded', 'published') GROUP BY target ORDER BY 2 DESC",
    "Slowest nodes of the last build": "SELECT name, seconds FROM ops.dbt_nodes FINAL "
    f"WHERE run_id = {LAST_BUILD} ORDER BY seconds DESC LIMIT 15",
    "Failed tests (no results is good)": "SELECT name FROM ops.dbt_nodes FINAL WHERE status IN ('fail', 'error') "
    "ORDER BY ended_at DESC LIMIT 20",
}
OPS_COLUMNS = {
    "Runs of the loader and of dbt, the newest first": ("what", "status", "seconds", "parts", "failed", "carried"),
    "Tables, the oldest first": (
        *("target", "status", "published_at", "table_rows", "rows_carried", "seconds", "megabytes", "rows_per_second"),
    ),
    "Rows carried over time by table": ("target", "loads_rows"),
    "Slowest nodes of the last build": ("name", "seconds"),
    "Failed tests (no results is good)": ("name",),
}


def rounded(row: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(round(value, 3) if isinstance(value, float) else value for value in row)


def test_pipeline_health_says_what_ops_says(admin: Superset, warehouse: Any) -> None:
    charts = saved(admin, "pipeline-health")
    assert {title for title, *_ in charts} == {*OPS, "Now"}
    for title, identifier, *_ in charts:
        answer = admin.get(f"/api/v1/chart/{identifier}/data/?force=true")
        assert answer.status_code == 200, f"{title}: {answer.text}"
        data = answer.json()["result"][0]["data"]
        ages = dict(warehouse.query(AGES).result_rows)
        if title == "Now":
            now = {row["what"]: row["figure"] for row in data}
            assert abs(now.pop("Oldest table") - max(ages.values())) < 0.05
            assert now == {what: warehouse.query(statement).result_rows[0][0] for what, statement in NOW.items()}
            continue
        rows = [rounded(row) for row in warehouse.query(OPS[title]).result_rows]
        if title == "Tables, the oldest first":
            shown = [row["age_hours"] for row in data]
            assert shown == sorted(shown, reverse=True)
            assert all(abs(row["age_hours"] - ages[row["target"]]) < 0.05 for row in data)
            data.sort(key=lambda row: row["target"])
        assert [rounded(row[column] for column in OPS_COLUMNS[title]) for row in data] == rows, title


# --- Who may see what ---------------------------------------------------------------------------------------------


def on_dashboard(admin: Superset, slug: str, title: str) -> dict[str, Any]:
    """The request that a browser sends for a chart on a dashboard."""
    _, identifier, _, context = next(one for one in saved(admin, slug) if one[0] == title)
    context["form_data"] |= {"dashboardId": admin.dashboards[slug], "slice_id": identifier}
    return context


def sql(person: Superset, admin: Superset, query: str) -> int:
    warehouse = next(row["id"] for row in admin.listed("database") if row["database_name"] == "Warehouse")
    body = {"database_id": warehouse, "sql": query, "schema": "analytics", "runAsync": False, "queryLimit": 10}
    return person.post("/api/v1/sqllab/execute/", body).status_code


def test_a_viewer_sees_the_dashboards_and_nothing_else(
    admin: Superset, url: str, people: dict[str, tuple[str, str]]
) -> None:
    viewer = Superset(url, *people["viewer"])
    assert set(viewer.dashboards) == {"sales", "customers", "pipeline-health"}
    context = on_dashboard(admin, "sales", "Revenue by state")
    assert viewer.data(context) == admin.data(context)
    alone = {
        **context,
        "form_data": {name: value for name, value in context["form_data"].items() if name != "dashboardId"},
    }
    assert viewer.post("/api/v1/chart/data", alone).status_code == 403
    for query in ("SELECT 1", "SELECT count() FROM raw.customers", "SELECT count() FROM analytics.fact_sales"):
        assert sql(viewer, admin, query) in (401, 403)
    assert viewer.post("/api/v1/chart/", {"slice_name": "mine"}).status_code in (401, 403)


def test_an_analyst_asks_the_marts_and_not_raw_or_ops(
    admin: Superset, url: str, people: dict[str, tuple[str, str]]
) -> None:
    analyst = Superset(url, *people["analyst"])
    assert sql(analyst, admin, "SELECT count() FROM analytics.fact_sales") == 200
    assert sql(analyst, admin, "SELECT count() FROM fact_sales") == 200
    for query in ("SELECT count() FROM raw.customers", "SELECT count() FROM ops.runs"):
        assert sql(analyst, admin, query) >= 400
    assert analyst.data(on_dashboard(admin, "pipeline-health", "Now"))


def test_a_row_level_rule_narrows_every_dashboard(
    admin: Superset, url: str, people: dict[str, tuple[str, str]], source: Any, today: date
) -> None:
    californian = Superset(url, *people["californian"])
    rows = californian.data(on_dashboard(admin, "sales", "Revenue by state"))
    assert [row["customer_state"] for row in rows] == ["CA"]
    context = on_dashboard(admin, "customers", "Customers")
    (query,) = context["queries"]
    query["filters"] = [{"col": "customer_state", "op": "IN", "val": ["CA"]}]
    wanted = figures.expected(source, "agg_customer_value", query, today, None)
    query["filters"] = []
    assert dict(figures.shown(californian.data(context), query)) == wanted
    assert dict(figures.shown(admin.data(context), query)) != wanted


def test_the_period_before_is_the_one_that_ends_where_the_period_begins() -> None:
    assert before((date(2026, 3, 1), date(2026, 3, 11))) == (date(2026, 3, 1) - timedelta(days=10), date(2026, 3, 1))
