"""Builds a chart's query from its settings as the browser does, so that chart files need not repeat it.

Superset serves `GET /api/v1/chart/<id>/data/` and warms its cache only for charts with a stored query. A chart saved in Explore has one; a
chart written by hand has none.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

# Chart types with one query of this shape. Other types keep the query_context of their file.
KINDS = {
    "big_number_total",
    "echarts_area",
    "echarts_timeseries_bar",
    "echarts_timeseries_line",
    "heatmap_v2",
    "pie",
    "pop_kpi",
    "table",
}

Params = Mapping[str, Any]


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _axis(name: str, grain: str | None) -> dict[str, Any]:
    axis = {"columnType": "BASE_AXIS", "expressionType": "SQL", "label": name, "sqlExpression": name}
    return axis | ({"timeGrain": grain} if grain else {})


def _columns(params: Params, temporal: Collection[str]) -> list[Any]:
    if params.get("query_mode") == "raw":
        return _listed(params.get("all_columns"))
    axis = params.get("x_axis")
    first = [_axis(axis, params.get("time_grain_sqla") if axis in temporal else None)] if axis else []
    return [*first, *_listed(params.get("groupby"))]


def _filters(params: Params) -> tuple[list[dict[str, Any]], str]:
    """Returns the simple filters, and the others as SQL."""
    simple, free = [], []
    for condition in _listed(params.get("adhoc_filters")):
        if condition["expressionType"] == "SIMPLE":
            one = {"col": condition["subject"], "op": condition["operator"]}
            simple.append(one | ({"val": condition["comparator"]} if "comparator" in condition else {}))
        else:
            free.append(f"({condition['sqlExpression']})")
    return simple, " AND ".join(free)


def _order(params: Params, metrics: list[Any]) -> list[list[Any]]:
    if params.get("query_mode") == "raw":
        return [json.loads(order) for order in _listed(params.get("order_by_cols"))]
    if params["viz_type"] == "heatmap_v2":
        ways = {"alpha_asc": True, "alpha_desc": False}
        axes = [(params["x_axis"], params.get("sort_x_axis")), (params["groupby"], params.get("sort_y_axis"))]
        return [[axis, ways[way]] for axis, way in axes if way in ways]
    by = params.get("timeseries_limit_metric") or (metrics[0] if metrics else None)
    return [[by, not params.get("order_desc", True)]] if by else []


def build(params: Params, temporal: Collection[str]) -> dict[str, Any]:
    """Returns the query context of a chart of KINDS whose dataset has the time columns `temporal`. The import adds the datasource."""
    metrics = _listed(params.get("metric")) or _listed(params.get("metrics"))
    filters, where = _filters(params)
    has_period = any(one["op"] == "TEMPORAL_RANGE" for one in filters)
    query: dict[str, Any] = {
        "columns": _columns(params, temporal),
        "filters": filters,
        "extras": {"having": "", "where": where},
        "orderby": _order(params, metrics),
        "row_limit": params["server_page_length"]
        if params.get("server_pagination")
        else params.get("row_limit", 10_000),
        "time_offsets": _listed(params.get("time_compare")) if has_period else [],
    }
    if params.get("query_mode") != "raw":
        query["metrics"] = metrics
    return {
        "force": False,
        "queries": [query],
        "result_format": "json",
        "result_type": "full",
        "form_data": dict(params),
    }
