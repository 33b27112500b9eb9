"""Checks that asset files refer only to each other. On a dangling reference Superset's import raises KeyError, or silently drops charts."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from provisioning.errors import ProvisionError

# Folder: (referring field, folder of the files it refers to).
REFERENCES = {
    "datasets": ("database_uuid", "databases"),
    "charts": ("dataset_uuid", "datasets"),
    "queries": ("database_uuid", "databases"),
}


def parse(contents: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Returns the assets by file name. Raises ProvisionError that names file and line if one is not YAML or not a mapping."""
    assets = {}
    for name, text in contents.items():
        try:
            asset = yaml.safe_load(text)
        except yaml.YAMLError as error:
            cause = " ".join(str(error).split())
            raise ProvisionError(f"superset/assets: {name} is not YAML ({cause}); correct the file.") from error
        if not isinstance(asset, dict):
            raise ProvisionError(f"superset/assets: {name} is not a mapping of fields; correct the file.")
        assets[name] = asset
    return assets


def _chart_uuids(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the place in `position` and the uuid of each chart of a dashboard; '' for a chart without chartId or uuid."""
    for place, part in (dashboard.get("position") or {}).items():
        if isinstance(part, dict) and part.get("type") == "CHART":
            meta = part.get("meta") or {}
            yield f"position.{place}.meta", str(meta.get("uuid") or "") if "chartId" in meta else ""


def _filter_datasets(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the place in `metadata` and the uuid of each dataset that a dashboard's filters read."""
    for number, one in enumerate((dashboard.get("metadata") or {}).get("native_filter_configuration") or []):
        for target in one.get("targets") or []:
            if "datasetUuid" in target:
                yield f"metadata.native_filter_configuration[{number}].targets.datasetUuid", str(target["datasetUuid"])


def check(contents: Mapping[str, str]) -> None:
    """Raises ProvisionError that names file and field of the first dangling reference."""
    assets = parse(contents)
    known: dict[str, dict[str, str]] = {}
    for name, asset in assets.items():
        folder, uuid = name.partition("/")[0], str(asset.get("uuid"))
        if "/" not in name:
            continue
        if uuid in known.setdefault(folder, {}):
            raise ProvisionError(
                f"superset/assets: {name} has the uuid of {known[folder][uuid]}; give it one of its own."
            )
        known[folder][uuid] = name
    for name, asset in assets.items():
        folder = name.partition("/")[0]
        if folder in REFERENCES:
            field, other = REFERENCES[folder]
            if str(asset.get(field)) not in known.get(other, {}):
                raise ProvisionError(
                    f"superset/assets: {name}: {field} {asset.get(field)} is in no file of {other}/; correct it."
                )
        if folder == "dashboards":
            for place, uuid in _chart_uuids(asset):
                if uuid not in known.get("charts", {}):
                    raise ProvisionError(
                        f"superset/assets: {name}: {place} needs chartId and the uuid of a file in charts/, not {uuid or 'nothing'}; correct it."
                    )
            for place, uuid in _filter_datasets(asset):
                if uuid not in known.get("datasets", {}):
                    raise ProvisionError(
                        f"superset/assets: {name}: {place} {uuid} is the uuid of no file in datasets/; correct it."
                    )


def assets(contents: Mapping[str, str]) -> set[tuple[str, str]]:
    """Returns (folder, uuid) of each asset among the files."""
    return {(name.partition("/")[0], str(asset["uuid"])) for name, asset in parse(contents).items() if "/" in name}
