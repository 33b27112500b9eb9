"""Completes the files for Superset's import: adds all defaults, and a query to each chart."""

import json
from collections.abc import Mapping

import yaml

from provisioning import normal_form, query_context
from provisioning.references import parse


def complete(contents: Mapping[str, str]) -> dict[str, str]:
    """Returns the completed files. They must have passed references.check."""
    assets = parse(contents)
    temporal = {
        str(asset["uuid"]): {column["column_name"] for column in asset.get("columns") or [] if column.get("is_dttm")}
        for name, asset in assets.items()
        if name.startswith("datasets/")
    }
    completed = dict(contents)
    for name, asset in assets.items():
        kind = name.partition("/")[0]
        whole = normal_form.expand(kind, asset)
        if kind == "charts" and asset.get("viz_type") in query_context.KINDS:
            params = {**(asset.get("params") or {}), "viz_type": asset["viz_type"]}
            context = query_context.build(params, temporal[str(asset["dataset_uuid"])])
            whole["query_context"] = json.dumps(context)
        if whole != asset:
            completed[name] = yaml.safe_dump(whole, sort_keys=False)
    return completed
