"""Raw tables and marts as Airflow's assets: DAGs that are scheduled on one start when a run has published it.

A run tells by an asset alias only of what it has published. A task with the assets themselves as outlets would tell of all of them, whatever
the run has copied or built.
"""

from typing import Any
from urllib.parse import quote

from airflow.sdk import Asset, AssetAlias

RAW, MARTS = "raw", "analytics"


def outlet(dag_id: str, database: str) -> AssetAlias:
    """Returns the outlet of a task that publishes tables of this database of the warehouse."""
    return AssetAlias(f"{dag_id}.{database}")


def table_asset(database: str, table: str) -> Asset:
    """Returns the asset of a table, `clickhouse://warehouse/raw/orders`; characters with a meaning in an address are percent-encoded."""
    return Asset(f"clickhouse://warehouse/{database}/{quote(table, safe='')}")


def tell_published(context: Any, database: str, table: str, **facts: str | int | None) -> None:
    """Adds an event of the table's asset, which Airflow records when the task succeeds. `facts` that are None are left out."""
    alias = outlet(context["dag"].dag_id, database)
    known = {name: fact for name, fact in facts.items() if fact is not None}
    context["outlet_events"][alias].add(table_asset(database, table), extra=known)
