"""`--exact`: compares raw and marts with Postgres to the last character, for a source without writers.

The loader compares raw (`python -m elt verify --published`), because it knows the mapping of each column. This module compares the marts.
"""

from collections.abc import Iterator
from typing import Any

from stack.check import connections
from stack.errors import StackError
from stack.table.services import Context


def raw_equals_postgres(verified: str) -> Iterator[str]:
    """Reports the loader's result; `verified` is its exit code, a blank, and its output."""
    code, _, output = verified.partition(" ")
    said = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("comparing ")]
    if code != "0":
        raise StackError(
            "; ".join(said[:5]) or f"The comparison ended with code {code} and said nothing: run it by hand."
        )
    yield "; ".join(said)


def _decimal(text: str | None) -> str:
    """Returns a number as text without trailing zeros: Postgres prints 1.50, ClickHouse 1.5."""
    if text is None or text == "":
        return "0"
    whole, point, rest = text.partition(".")
    return f"{whole}.{rest.rstrip('0')}".rstrip(".") if point else whole


STATES_IN_POSTGRES = """
    SELECT c.state, count(*)::text, sum(i.subtotal)::text,
           coalesce(sum(i.subtotal) FILTER (WHERE o.status NOT IN ('cancelled', 'returned')), 0)::text
    FROM order_items i JOIN orders o USING (order_id) JOIN customers c USING (customer_id)
    GROUP BY c.state
"""
STATES_IN_MARTS = """
    SELECT customer_state, toString(count()), toString(sum(gross_revenue)), toString(sum(net_revenue))
    FROM analytics.fact_sales GROUP BY customer_state
"""
MART_OF_STATES = (
    "SELECT customer_state, toString(gross_revenue), toString(net_revenue) FROM analytics.agg_sales_by_state"
)


def marts_equal_postgres(context: Context) -> Iterator[str]:
    if context.env.SAMPLE_SHOP == "false":
        yield "no sample marts (SAMPLE_SHOP=false)"
        return
    with connections.warehouse(context.env) as client, connections.source(context.env.source_url) as cursor:
        cursor.execute(STATES_IN_POSTGRES)
        in_postgres = {state: (count, _decimal(gross), _decimal(net)) for state, count, gross, net in cursor.fetchall()}
        in_facts = {
            state: (count, _decimal(gross), _decimal(net)) for state, count, gross, net in client.rows(STATES_IN_MARTS)
        }
        in_states = {state: (_decimal(gross), _decimal(net)) for state, gross, net in client.rows(MART_OF_STATES)}
    if in_facts != in_postgres:
        raise StackError(_first_difference("fact_sales", in_postgres, in_facts))
    expected = {state: (gross, net) for state, (_count, gross, net) in in_postgres.items()}
    if in_states != expected:
        raise StackError(_first_difference("agg_sales_by_state", expected, in_states))
    yield f"gross and net revenue of {len(in_postgres)} states, to the cent"


def _first_difference(mart: str, expected: dict[str, Any], found: dict[str, Any]) -> str:
    state = next(state for state in sorted({*expected, *found}) if expected.get(state) != found.get(state))
    return f"{mart} says {found.get(state)} of {state} and Postgres {expected.get(state)}: start a run of elt_pipeline in Airflow."
