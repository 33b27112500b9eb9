"""Prints what dbt compiles of the project in this environment, as JSON. Run by the interpreter of dbt, without a server."""

import json
import sys

from dbt.adapters.factory import get_adapter_by_type
from dbt.cli.main import dbtRunner

project, state, target = sys.argv[1:]
places = ["--project-dir", project, "--profiles-dir", project, "--target-path", state, "--log-path", state]
offline = ["--no-introspect", "--no-populate-cache"]
result = dbtRunner().invoke(["-q", "compile", *offline, "--target", target, *places])
if not result.success:
    raise SystemExit(str(result.exception))
credentials = get_adapter_by_type("clickhouse").config.credentials
nodes = [one.node for one in result.result.results if one.node.resource_type in ("model", "snapshot")]
print(
    json.dumps(
        {
            "secure": credentials.secure,
            "host": credentials.host,
            "port": credentials.port,
            "database_engine": credentials.database_engine,
            "cluster": credentials.cluster,
            "compiled": {node.name: node.compiled_code for node in nodes},
            "tables": {node.alias: node.config.get("engine") for node in nodes if node.config.materialized != "view"},
        }
    )
)
