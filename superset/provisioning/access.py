"""Roles, and the roles that see each dashboard, from `access.yaml` of each bundle: Superset's own bundles cannot hold them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from provisioning.errors import ProvisionError
from provisioning.references import parse

KINDS = {"roles", "dashboards"}
ROLE_FIELDS = {"name", "like", "permissions", "schemas"}


@dataclass(frozen=True)
class Role:
    """A role. `like`: Superset's roles whose permissions it includes; `permissions`: (permission, view); `schemas`: (database, schema)."""

    name: str
    like: tuple[str, ...]
    permissions: tuple[tuple[str, str], ...]
    schemas: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Access:
    """Content of the access files. `dashboards`: the roles that see a dashboard, by its slug."""

    roles: tuple[Role, ...] = ()
    dashboards: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def _split(text: str, by: str, where: str) -> tuple[str, str]:
    left, separator, right = str(text).partition(by)
    if not separator:
        raise ProvisionError(f"superset/assets: {where}: {text!r} must be two words with {by!r} between; correct it.")
    return left, right


def _roles(name: str, asset: Mapping[str, Any]) -> Iterator[Role]:
    for number, entry in enumerate(asset.get("roles") or []):
        unknown = sorted(set(entry) - ROLE_FIELDS)
        if unknown or not entry.get("name"):
            what = f"{unknown[0]} is no field" if unknown else "name is missing"
            raise ProvisionError(f"superset/assets: {name}: roles[{number}]: {what}; correct it.")
        where = f"{name}: roles: {entry['name']}"
        permissions = tuple(_split(text, " on ", where) for text in entry.get("permissions") or [])
        schemas = tuple(_split(text, ".", where) for text in entry.get("schemas") or [])
        yield Role(entry["name"], tuple(entry.get("like") or []), permissions, schemas)


def read(files: Mapping[str, str], contents: Mapping[str, str]) -> Access:
    """Merges the access files. Raises ProvisionError that names the file and field of a dangling reference."""
    roles: dict[str, Role] = {}
    dashboards: dict[str, tuple[str, ...]] = {}
    slugs = {asset.get("slug") for name, asset in parse(contents).items() if name.startswith("dashboards/")}
    for name, asset in parse(files).items():
        if unknown := sorted(set(asset) - KINDS):
            raise ProvisionError(f"superset/assets: {name}: {unknown[0]} is no field; correct it.")
        roles |= {role.name: role for role in _roles(name, asset)}
        for slug, names in (asset.get("dashboards") or {}).items():
            if slug not in slugs:
                raise ProvisionError(
                    f"superset/assets: {name}: dashboards: {slug} is the slug of no file in dashboards/; correct it."
                )
            dashboards[slug] = tuple(names)
    for slug, names in dashboards.items():
        for role in names:
            if role not in roles:
                raise ProvisionError(
                    f"superset/assets: access.yaml: dashboards: {slug}: {role!r} is no role of these files; correct it."
                )
    return Access(tuple(roles.values()), dashboards)


def names(access: Access) -> set[tuple[str, str]]:
    """Returns ("roles", name) of each role."""
    return {("roles", role.name) for role in access.roles}
