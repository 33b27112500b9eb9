"""Keeps aliases apart from columns in queries to ClickHouse; without it charts show wrong numbers, silently.

Superset 6.1.0 writes `SELECT toStartOfMonth(order_date) AS order_date .. WHERE order_date >= x`. ClickHouse resolves the name in WHERE to the
alias and filters the truncated date: a range from 15 January on by month loses January, and the last month has days beyond the range. A metric
named like its column fails for the same reason (Code: 184). Up to 6.0 the engine spec gave every label a suffix; this does so again. Superset
renames the columns of the answer to the labels that were asked for.

Upstream: https://github.com/apache/superset/pull/42793 describes the fault (the time filter that narrows) and the fix to wait for: filters that
name their column with its table. https://github.com/apache/superset/pull/38280 removed the suffix.
tests/integration/superset/test_superset_time_grain.py fails when the fix is not needed any more; remove this module then.
"""

import hashlib
from typing import Any


def suffixed(label: str) -> str:
    """Returns the label with six characters of its digest: never the name of a column, always the same."""
    return f"{label}_{hashlib.sha256(label.encode()).hexdigest()[:6]}"


def keep_aliases_apart(_app: Any) -> None:
    """A FLASK_APP_MUTATOR. Raises AttributeError when Superset has no such function any more."""
    from superset.db_engine_specs.base import BaseEngineSpec
    from superset.db_engine_specs.clickhouse import ClickHouseConnectEngineSpec

    _ = BaseEngineSpec._mutate_label
    ClickHouseConnectEngineSpec._mutate_label = staticmethod(suffixed)
