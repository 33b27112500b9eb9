"""Keeps aliases apart from columns in queries to ClickHouse; without it charts show wrong numbers, silently.

Superset 6.1.0 writes `SELECT toStartOfMonth(order_date) AS order_date .. WHERE order_date >= x`, and ClickHouse takes the name in WHERE for
the alias: the truncated date is filtered, so a range from 15 January on by month loses January, and the last month has days beyond the
range. A metric that is named like its column fails for the same reason (Code: 184). Up to 6.0 the engine spec gave every label a suffix; this does so again.
Superset renames the columns of the answer to the labels that were asked for.
"""

import hashlib
from typing import Any


def suffixed(label: str) -> str:
    """The label with six characters made from it: never the name of a column, always the same."""
    return f"{label}_{hashlib.sha256(label.encode()).hexdigest()[:6]}"


def keep_aliases_apart(_app: Any) -> None:
    """A FLASK_APP_MUTATOR. Raises AttributeError when a newer Superset has no such hook any more: then look whether it still needs the cure."""
    from superset.db_engine_specs.base import BaseEngineSpec
    from superset.db_engine_specs.clickhouse import ClickHouseConnectEngineSpec

    _ = BaseEngineSpec._mutate_label
    ClickHouseConnectEngineSpec._mutate_label = staticmethod(suffixed)
