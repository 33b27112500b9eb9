"""Lists a view as a view only, and not as a table too.

The driver lists tables by SHOW TABLES, which names views as well, and Superset 6.1.0 lists tables and then views: whoever chooses the table of
a dataset finds each view twice.

Upstream: https://github.com/apache/superset/pull/20674 is the same fault of another driver and the same fix, merged for Databricks alone. For
ClickHouse nobody has reported it yet. tests/integration/superset/test_superset_serving.py fails when the fix is not needed any more; remove this
module then.
"""

from typing import Any


def list_once(_app: Any) -> None:
    """A FLASK_APP_MUTATOR. Raises AttributeError when Superset has no such function any more."""
    from superset.db_engine_specs.clickhouse import ClickHouseConnectEngineSpec

    listed = ClickHouseConnectEngineSpec.get_table_names

    def tables(spec: Any, database: Any, inspector: Any, schema: str | None) -> set[str]:
        views: set[str] = spec.get_view_names(database, inspector, schema)
        return set(listed(database, inspector, schema)) - views

    ClickHouseConnectEngineSpec.get_table_names = classmethod(tables)
