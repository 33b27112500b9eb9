"""Run by Airflow's python: prints the connections of these ids, as Airflow reads them in a process that runs tasks."""

import json
import sys
from typing import Any

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException


def read(conn_id: str) -> Any:
    try:
        found = Connection.get(conn_id)
    except AirflowNotFoundException:
        return None
    fields = ("conn_type", "host", "port", "login", "password", "schema")
    return {**{name: getattr(found, name) for name in fields}, "extra": found.extra_dejson}


print(json.dumps({conn_id: read(conn_id) for conn_id in sys.argv[1:]}))
