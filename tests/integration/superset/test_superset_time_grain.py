"""Charts with a time filter and a time grain show the right numbers (see stack_superset/fixes/time_grain.py)."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

# From 15 January up to, and without, 15 March: 17, 28 and 14 days with one sale of 1.00 each.
RANGE = "2026-01-15 : 2026-03-15"
BY_MONTH = {"2026-01": Decimal(17), "2026-02": Decimal(28), "2026-03": Decimal(14)}


@pytest.fixture(scope="module")
def dataset(api: Any) -> int:
    body = {"database": api.database_id(), "schema": "analytics", "table_name": "superset_test_days"}
    answer = api.post("/api/v1/dataset/", body)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def metric(label: str) -> dict[str, Any]:
    return {"expressionType": "SQL", "sqlExpression": "sum(amount)", "label": label}


def request(dataset: int, query: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    body = {
        "datasource": {"id": dataset, "type": "table"},
        "force": True,
        "queries": [{"row_limit": 1000, **query}],
        "result_format": "json",
        "result_type": "full",
    }
    return "/api/v1/chart/data", body


def chart_data(api: Any, dataset: int, query: dict[str, Any]) -> list[dict[str, Any]]:
    answer = api.post(*request(dataset, query))
    assert answer.status_code == 200, answer.text
    return list(answer.json()["result"][0]["data"])


def by_month(rows: list[dict[str, Any]], time: str, label: str) -> dict[str, Decimal]:
    return {f"{datetime.fromtimestamp(row[time] / 1000, UTC):%Y-%m}": Decimal(str(row[label])) for row in rows}


def over_time(column: str, grain: str, label: str) -> dict[str, Any]:
    """The query of a chart as it is made now."""
    axis = {"columnType": "BASE_AXIS", "expressionType": "SQL", "label": column, "sqlExpression": column}
    return {
        "columns": [{**axis, "timeGrain": grain}],
        "metrics": [metric(label)],
        "filters": [{"col": column, "op": "TEMPORAL_RANGE", "val": RANGE}],
    }


@pytest.mark.parametrize("column", ["order_date", "day"])
@pytest.mark.parametrize("label", ["revenue", "amount"])
def test_by_x_axis_with_a_temporal_filter(api: Any, dataset: int, column: str, label: str) -> None:
    """`amount` is also the name of a column."""
    rows = chart_data(api, dataset, over_time(column, "P1M", label))
    assert by_month(rows, column, label) == BY_MONTH


def test_the_fix_is_still_needed(without_fixes: Any, dataset: int) -> None:
    answer = without_fixes(request(dataset, over_time("order_date", "P1M", "revenue")))
    shown = by_month(answer["result"][0]["data"], "order_date", "revenue")
    assert shown != BY_MONTH, "Superset filters the column itself now: remove stack_superset/fixes/time_grain.py."


@pytest.mark.parametrize("column", ["order_date", "day"])
def test_by_granularity_and_time_range(api: Any, dataset: int, column: str) -> None:
    """As charts were made before."""
    rows = chart_data(
        api,
        dataset,
        {
            "granularity": column,
            "time_range": RANGE,
            "extras": {"time_grain_sqla": "P1M"},
            "is_timeseries": True,
            "metrics": [metric("revenue")],
        },
    )
    assert by_month(rows, "__timestamp", "revenue") == BY_MONTH


@pytest.mark.parametrize(("grain", "buckets"), [("P1D", 59), ("P1W", 9), ("P3M", 1), ("P1Y", 1)])
def test_at_every_grain_the_sum_is_that_of_the_range(api: Any, dataset: int, grain: str, buckets: int) -> None:
    rows = chart_data(api, dataset, over_time("order_date", grain, "revenue"))
    assert len(rows) == buckets
    assert sum(Decimal(str(row["revenue"])) for row in rows) == sum(BY_MONTH.values())


def test_a_group_by_and_an_order_keep_their_names(api: Any, dataset: int) -> None:
    rows = chart_data(
        api,
        dataset,
        {
            "columns": ["day"],
            "metrics": [metric("amount")],
            "orderby": [[metric("amount"), False], ["day", True]],
            "row_limit": 2,
        },
    )
    assert [set(row) for row in rows] == [{"day", "amount"}] * 2
