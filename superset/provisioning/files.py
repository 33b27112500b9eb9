"""Writes exported assets to their files, and new assets to new files beside them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from provisioning import normal_form

KINDS = ("databases", "datasets", "charts", "dashboards")
TITLES = {
    "databases": "database_name",
    "datasets": "table_name",
    "charts": "slice_name",
    "dashboards": "dashboard_title",
}


def _present(folder: Path, bundles: Sequence[str]) -> dict[str, tuple[str, Path, dict[str, Any]]]:
    """Returns kind, file relative to `folder`, and content of each asset, by uuid."""
    present = {}
    for bundle in bundles:
        for kind in KINDS:
            for file in sorted((folder / bundle / kind).rglob("*.yaml")):
                asset = yaml.safe_load(file.read_text())
                present[str(asset["uuid"])] = (kind, file.relative_to(folder), asset)
    return present


def _new_file(
    kind: str, asset: Mapping[str, Any], homes: Mapping[str, Path], bundle: str, taken: set[Path], database: str
) -> Path:
    """Returns a path in the bundle of the asset's dataset or first chart, else in `bundle`. A dataset goes to the folder of `database`."""
    uses = [str(asset.get("dataset_uuid"))]
    uses += [
        str((part.get("meta") or {}).get("uuid"))
        for part in (asset.get("position") or {}).values()
        if isinstance(part, dict)
    ]
    home = next((homes[uuid].parts[0] for uuid in uses if uuid in homes), bundle)
    name = re.sub(r"\W+", "_", str(asset[TITLES[kind]]).lower()).strip("_") or kind
    place = Path(home, kind, database) if kind == "datasets" else Path(home, kind)
    names = (place / f"{name}{number or ''}.yaml" for number in range(1000))
    return next(file for file in names if file not in taken)


def write(
    assets: Sequence[tuple[str, dict[str, Any]]], reference: Path, folder: Path, bundles: Sequence[str], currency: str
) -> list[str]:
    """Writes assets in normal form below `folder`, under their file names below `reference`, and removes files of deleted assets.

    Returns a line for each changed file. `bundles`: the folders to look at; new assets go to the last one.
    """
    known = _present(reference, bundles)
    homes = {uuid: file for uuid, (_kind, file, _asset) in known.items()}
    taken = set(homes.values())
    databases = {str(asset["uuid"]): str(asset["database_name"]) for kind, asset in assets if kind == "databases"}
    lines = []
    for kind, asset in assets:
        uuid = str(asset["uuid"])
        if uuid not in homes:
            database = databases.get(str(asset.get("database_uuid")), "")
            homes[uuid] = _new_file(kind, asset, homes, bundles[-1], taken, database)
            taken.add(homes[uuid])
        before = known[uuid][2] if uuid in known else {}
        reduced = normal_form.reduce(kind, asset, before, currency)
        file = folder / homes[uuid]
        if file.exists() and normal_form.reduce(kind, yaml.safe_load(file.read_text()), before, currency) == reduced:
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(normal_form.dump(reduced))
        lines.append(f"wrote {homes[uuid]}")
    exported = {str(asset["uuid"]) for _kind, asset in assets}
    for uuid, (_kind, path, _asset) in known.items():
        if uuid not in exported and (folder / path).exists():
            (folder / path).unlink()
            lines.append(f"removed {path}, whose asset was deleted")
    return lines
