"""A view is listed as a view, and not as a table too.

The driver asks ClickHouse by SHOW TABLES, which names views as well, and Superset 6.1.0 lists tables and views one after the other: whoever
chooses what a dataset is made of found each view twice.
"""

from typing import Any


def list_once(_app: Any) -> None:
    """A FLASK_APP_MUTATOR. Raises AttributeError when a newer Superset has no such hook any more."""
    from superset.db_engine_specs.clickhouse import ClickHouseConnectEngineSpec

    asked = ClickHouseConnectEngineSpec.get_table_names

    def tables(spec: Any, database: Any, inspector: Any, schema: str | None) -> set[str]:
        views: set[str] = spec.get_view_names(database, inspector, schema)
        return set(asked(database, inspector, schema)) - views

    ClickHouseConnectEngineSpec.get_table_names = classmethod(tables)
