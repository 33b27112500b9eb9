"""Expected figures of the shop's charts: each query asked of Postgres, in SQL of its own that shares nothing with dbt or Superset."""

from calendar import monthrange
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

STANDS = "o.status NOT IN ('cancelled', 'returned')"
ITEMS = f"""
    SELECT o.order_id, o.customer_id, (o.order_date AT TIME ZONE 'UTC')::date AS order_day, o.status AS order_status,
        c.state AS customer_state, p.product_name, p.category AS product_category, i.quantity,
        i.subtotal, i.subtotal - i.quantity * p.cost AS margin, {STANDS} AS stands
    FROM order_items i JOIN orders o USING (order_id) JOIN customers c USING (customer_id) JOIN products p USING (product_id)
"""
CUSTOMERS = f"""
    SELECT customer_id, c.first_name || ' ' || c.last_name AS customer_name, c.state AS customer_state,
        count(DISTINCT order_id) FILTER (WHERE {STANDS}) AS net_orders,
        coalesce(sum(i.subtotal) FILTER (WHERE {STANDS}), 0) AS net_revenue,
        max((o.order_date AT TIME ZONE 'UTC')::date) FILTER (WHERE {STANDS}) AS last_day
    FROM customers c LEFT JOIN orders o USING (customer_id) LEFT JOIN order_items i USING (order_id)
    GROUP BY customer_id
"""
# The rule of the segments, written anew: fifths by rank, ties share the lower place.
SCORED = f"""
    SELECT *, greatest(%(today)s::date - last_day, 0) AS recency_days,
        5 * (rank() OVER (ORDER BY greatest(%(today)s::date - last_day, 0) DESC) - 1) / count(*) OVER () + 1 AS r,
        5 * (rank() OVER (ORDER BY net_orders) - 1) / count(*) OVER () + 1 AS f,
        5 * (rank() OVER (ORDER BY net_revenue) - 1) / count(*) OVER () + 1 AS m
    FROM ({CUSTOMERS}) AS customers WHERE net_orders > 0
"""
VALUES = f"""
    SELECT customer_id, customer_name, customer_state, net_orders, net_revenue, recency_days,
        CASE WHEN r >= 4 AND f >= 4 AND m >= 4 THEN 'champion' WHEN r >= 3 AND net_orders > 1 AND f >= 3 THEN 'loyal'
            WHEN r >= 4 AND net_orders = 1 THEN 'new' WHEN r >= 3 THEN 'promising'
            WHEN f >= 3 OR m >= 4 THEN 'at risk' ELSE 'lost' END AS segment
    FROM ({SCORED}) AS scored
    UNION ALL
    SELECT customer_id, customer_name, customer_state, 0, 0, NULL, 'no order' FROM ({CUSTOMERS}) AS customers WHERE net_orders = 0
"""
COHORTS = f"""
    SELECT to_char(cohort_month, 'YYYY-MM') AS cohort, cohort_month, customer_state, months_since, active
    FROM (
        SELECT customer_id, customer_state, min(month) AS cohort_month, array_agg(DISTINCT month) AS months
        FROM (SELECT *, date_trunc('month', order_day)::date AS month FROM ({ITEMS}) AS items WHERE stands) AS monthly
        GROUP BY customer_id, customer_state
    ) AS members,
    LATERAL (
        SELECT n AS months_since, (cohort_month + make_interval(months => n))::date = ANY (months) AS active
        FROM generate_series(0, 1200) AS n WHERE cohort_month + make_interval(months => n) <= %(today)s::date
    ) AS since
"""
TABLES = {"fact_sales": ITEMS, "agg_customer_value": VALUES, "agg_cohort_retention": COHORTS}
BUYERS = "count(*) FILTER (WHERE net_orders > 0)"
METRICS = {
    "sales_net_revenue": "coalesce(sum(subtotal) FILTER (WHERE stands), 0)",
    "sales_net_margin": "coalesce(sum(margin) FILTER (WHERE stands), 0)",
    "sales_net_margin_rate": "sum(margin) FILTER (WHERE stands) / nullif(sum(subtotal) FILTER (WHERE stands), 0)",
    "sales_net_orders": "count(DISTINCT order_id) FILTER (WHERE stands)",
    "sales_gross_orders": "count(DISTINCT order_id)",
    "sales_net_order_value": "sum(subtotal) FILTER (WHERE stands) / nullif(count(DISTINCT order_id) FILTER (WHERE stands), 0)",
    "value_customers": BUYERS,
    "value_all_customers": "count(*)",
    "value_repeat_rate": f"count(*) FILTER (WHERE net_orders > 1) / nullif({BUYERS}, 0)::numeric",
    "value_net_revenue": "sum(net_revenue)",
    "value_net_orders": "sum(net_orders)",
    "value_per_customer": f"sum(net_revenue) / nullif({BUYERS}, 0)",
    "value_orders_per_customer": f"sum(net_orders) / nullif({BUYERS}, 0)::numeric",
    "value_recency": "avg(recency_days)",
    "cohort_retention": "count(*) FILTER (WHERE active) / count(*)::numeric",
}
GRAINS = {"P1D": "day", "P1W": "week", "P1M": "month", "P3M": "quarter", "P1Y": "year"}
Row = tuple[tuple[Any, ...], tuple[Decimal | None, ...]]


def period(words: str) -> tuple[date, date] | None:
    """The days that words of a time filter mean: from the first to, and without, the second. None for no period."""
    if words == "No filter":
        return None
    if " : " in words:
        since, until = (date.fromisoformat(day) for day in words.split(" : "))
        return since, until
    until = datetime.now(UTC).date()
    months = until.year * 12 + until.month - 1 - {"Last quarter": 3, "Last year": 12}[words]
    year, month = divmod(months, 12)
    return date(year, month + 1, min(until.day, monthrange(year, month + 1)[1])), until


def label(column: Any) -> str:
    return str(column if isinstance(column, str) else column["label"])


def _group(column: Any) -> str:
    if isinstance(column, str):
        return column
    name, grain = column["sqlExpression"], column.get("timeGrain")
    return f"date_trunc('{GRAINS[grain]}', {name})::date" if grain else str(name)


def _conditions(query: Mapping[str, Any], period: tuple[date, date] | None) -> tuple[str, dict[str, Any]]:
    conditions, values = ["true"], {}
    for number, one in enumerate(query["filters"]):
        name = f"value_{number}"
        if one["op"] == "TEMPORAL_RANGE":
            if period:
                conditions.append(f"{one['col']} >= %(since)s AND {one['col']} < %(until)s")
                values |= {"since": period[0], "until": period[1]}
        elif one["op"] == "IN":
            conditions.append(f"{one['col']} = ANY (%({name})s)")
            values[name] = list(one["val"])
        else:
            operator = {"==": "="}.get(one["op"], one["op"])
            conditions.append(f"{one['col']} {operator} %({name})s::numeric")
            values[name] = one["val"]
    return " AND ".join(conditions), values


def number(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def same(some: Sequence[Decimal | None], others: Sequence[Decimal | None]) -> bool:
    """Equal to a billionth: shares and averages are floats in the warehouse. Money below ten millions is held to the cent."""
    return all(
        one is other
        or (one is not None and other is not None and abs(one - other) * 1_000_000_000 <= max(abs(other), 1))
        for one, other in zip(some, others, strict=True)
    )


def expected(
    cursor: Any, table: str, query: Mapping[str, Any], today: date, period: tuple[date, date] | None
) -> dict[Any, Any]:
    """All groups of a query, without its limit: {values of its columns: values of its metrics}."""
    conditions, values = _conditions(query, period)
    groups = [_group(column) for column in query["columns"]]
    metrics = [METRICS[metric] for metric in query["metrics"]]
    statement = f"SELECT {', '.join([*groups, *metrics])} FROM ({TABLES[table]}) AS rows WHERE {conditions}"
    if groups:
        statement += f" GROUP BY {', '.join(str(place) for place in range(1, len(groups) + 1))}"
    cursor.execute(statement, {**values, "today": today})
    return {row[: len(groups)]: tuple(number(value) for value in row[len(groups) :]) for row in cursor.fetchall()}


def shown(data: list[dict[str, Any]], query: Mapping[str, Any], suffix: str = "") -> list[Row]:
    """The rows of an answer of the chart API, in their order, in the same words."""
    rows = []
    for row in data:
        key = []
        for column in query["columns"]:
            value = row[label(column)]
            is_time = not isinstance(column, str) and column.get("timeGrain")
            key.append(datetime.fromtimestamp(value / 1000, UTC).date() if is_time else value)
        rows.append((tuple(key), tuple(number(row[metric + suffix]) for metric in query["metrics"])))
    return rows
