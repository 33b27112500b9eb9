"""The folders of assets: each holds databases/, datasets/, charts/, dashboards/ and queries/ as Superset exports them."""

from collections.abc import Sequence
from pathlib import Path

from provisioning.errors import ProvisionError

METADATA = "metadata.yaml"


def bundle_folders(assets: Path, *, sample_shop: bool) -> list[Path]:
    """`warehouse` always; `shop`, which shows the marts of the sample shop, only with it."""
    names = ["warehouse", "shop"] if sample_shop else ["warehouse"]
    return [assets / name for name in names if (assets / name).is_dir()]


def asset_files(folders: Sequence[Path]) -> list[Path]:
    """All files of assets in these folders."""
    return sorted(file for folder in folders for file in folder.rglob("*.yaml"))


def read_contents(folders: Sequence[Path]) -> dict[str, str]:
    """File names relative to their bundle, with their text: one bundle made of several.

    Raises ProvisionError if two bundles have a file of the same name.
    """
    contents: dict[str, str] = {}
    for folder in folders:
        for file in asset_files([folder]):
            name = file.relative_to(folder).as_posix()
            if name in contents and name != METADATA:
                raise ProvisionError(f"superset/assets has {name} in two bundles; give one of them another name.")
            contents[name] = file.read_text()
    return contents
