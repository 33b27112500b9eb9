"""Ends queries that a dbt process left in the warehouse."""

from warehouse.client import Warehouse

from webhook.dbt.command import TARGET


def kill_queries(warehouse: Warehouse) -> None:
    """Ends the queries of a dbt that is gone: ClickHouse goes on with a write whose client has died.

    Only the worker runs dbt against this target, so a query that begins with dbt's comment naming it is the worker's.
    """
    warehouse.command(
        "KILL QUERY WHERE user = 'dbt' AND startsWith(query, '/* {\"app\": \"dbt\"')"
        f' AND position(query, \'"target_name": "{TARGET}"\') > 0 SYNC'
    )
