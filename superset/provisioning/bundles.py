"""The folders of assets: each holds databases/, datasets/, charts/, dashboards/ and queries/ as Superset exports them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from provisioning.errors import ProvisionError

METADATA = "metadata.yaml"
# Read by provisioning.access, not by Superset.
ACCESS = "access.yaml"


def bundle_folders(assets: Path, *, sample_shop: bool) -> list[Path]:
    """Returns the bundle `warehouse`, and with the sample shop also `shop`, which shows its marts."""
    names = ["warehouse", "shop"] if sample_shop else ["warehouse"]
    return [assets / name for name in names if (assets / name).is_dir()]


def read_contents(folders: Sequence[Path], values: Mapping[str, str]) -> dict[str, str]:
    """Merges the bundles: returns the text of each file by its path within the bundle, with `${NAME}` replaced for each of `values`.

    Raises ProvisionError if two bundles have a file of the same name.
    """
    contents: dict[str, str] = {}
    for folder in folders:
        for file in sorted(folder.rglob("*.yaml")):
            name = file.relative_to(folder).as_posix()
            if name == ACCESS:
                continue
            if name in contents and name != METADATA:
                raise ProvisionError(f"superset/assets has {name} in two bundles; give one of them another name.")
            text = file.read_text()
            for value_name, value in values.items():
                text = text.replace(f"${{{value_name}}}", value)
            contents[name] = text
    return contents


def read_access(folders: Sequence[Path]) -> dict[str, str]:
    """Returns the text of each bundle's access.yaml, by a name such as `shop/access.yaml`."""
    files = [folder / ACCESS for folder in folders]
    return {f"{file.parent.name}/{ACCESS}": file.read_text() for file in files if file.exists()}
