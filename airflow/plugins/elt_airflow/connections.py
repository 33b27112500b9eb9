"""Airflow connections to the sources and the warehouse, for DAGs of people. They are made of the environment and never stored."""

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg2 import Error as PostgresError
from psycopg2.extensions import parse_dsn

if TYPE_CHECKING:
    # mypy does not follow Airflow's imports, so it cannot know the base.
    BaseSecretsBackend = Any
else:
    from airflow.secrets import BaseSecretsBackend

log = logging.getLogger(__name__)

WAREHOUSE = "warehouse"


class StackConnections(BaseSecretsBackend):  # type: ignore[misc]
    """Airflow asks it in processes that run tasks (AIRFLOW__WORKERS__SECRETS_BACKEND), and masks what it answers in logs.

    A Postgres source has a connection of its name; `warehouse` reads the marts.
    """

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        """Returns the connection in Airflow's JSON; None for one that the stack does not know."""
        found = _warehouse() if conn_id == WAREHOUSE else _source(conn_id)
        return json.dumps(found) if found else None


def _warehouse() -> dict[str, Any]:
    """The user may read what is published, and nothing that a run is working on."""
    return {
        "conn_type": "clickhouse",
        "host": os.environ.get("CLICKHOUSE_HOST", "127.0.0.1"),
        "port": int(os.environ.get("CLICKHOUSE_HTTP_PORT", "8123")),
        "login": "airflow",
        "password": os.environ.get("CLICKHOUSE_AIRFLOW_PASSWORD", ""),
        "schema": "analytics",
        "extra": {"secure": os.environ.get("CLICKHOUSE_SECURE", "false").lower() == "true"},
    }


def _source(name: str) -> dict[str, Any] | None:
    from elt.sources.registry import read_pipeline

    file = read_pipeline(Path(os.environ.get("ELT_PIPELINE") or "pipeline.yml"))
    variable = next((source.url_variable for source in file.sources if source.name == name), "")
    if not variable:
        return None
    try:
        parts: dict[str, Any] = parse_dsn(os.environ.get(variable, ""))
    except PostgresError:
        parts = {}
    if not parts:
        log.warning("There is no connection %s: %s, its address in pipeline.yml, is not set", name, variable)
        return None
    main = {key: parts.pop(theirs, None) for key, theirs in _NAMES.items()}
    port = parts.pop("port", "5432")
    # Several hosts have several ports, which Airflow has no field for.
    several = {"port": port} if not port.isdigit() else {}
    return {
        "conn_type": "postgres",
        **main,
        "port": int(port) if port.isdigit() else None,
        "extra": {**parts, **several},
    }


_NAMES = {"host": "host", "login": "user", "password": "password", "schema": "dbname"}
