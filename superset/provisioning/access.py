"""Roles, row-level rules and who sees which dashboard, as `access.yaml` of each bundle says: Superset's bundles cannot carry them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from provisioning.errors import ProvisionError
from provisioning.references import parse

FIELDS = {
    "roles": {"name", "like", "permissions", "schemas"},
    "rules": {"name", "description", "role", "clause", "datasets"},
}


@dataclass(frozen=True)
class Role:
    """`like`: roles of Superset whose permissions it has; `permissions`: (permission, view); `schemas`: (database, schema)."""

    name: str
    like: tuple[str, ...]
    permissions: tuple[tuple[str, str], ...]
    schemas: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Rule:
    """Holders of `role` see only rows of `datasets` for which `clause` holds."""

    name: str
    description: str
    role: str
    clause: str
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class Access:
    """`dashboards`: the roles that see a dashboard, by its slug."""

    roles: tuple[Role, ...] = ()
    rules: tuple[Rule, ...] = ()
    dashboards: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def _split(text: str, by: str, where: str) -> tuple[str, str]:
    left, found, right = str(text).partition(by)
    if not found:
        raise ProvisionError(f"superset/assets: {where}: {text!r} must be two words with {by!r} between; correct it.")
    return left, right


def _entries(name: str, asset: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    entries = asset.get(kind) or []
    for number, entry in enumerate(entries):
        unknown = sorted(set(entry) - FIELDS[kind])
        if unknown or not entry.get("name"):
            what = f"{unknown[0]} is no field" if unknown else "name is missing"
            raise ProvisionError(f"superset/assets: {name}: {kind}[{number}]: {what}; correct it.")
    return list(entries)


def read(files: Mapping[str, str], contents: Mapping[str, str]) -> Access:
    """What the access files say together. Raises ProvisionError that names file and field where one refers to what is not there."""
    roles: dict[str, Role] = {}
    rules: dict[str, Rule] = {}
    dashboards: dict[str, tuple[str, ...]] = {}
    assets = parse(contents)
    slugs = {asset.get("slug") for name, asset in assets.items() if name.startswith("dashboards/")}
    datasets = {asset.get("table_name") for name, asset in assets.items() if name.startswith("datasets/")}
    for name, asset in parse(files).items():
        for entry in _entries(name, asset, "roles"):
            where = f"{name}: roles: {entry['name']}"
            permissions = tuple(_split(text, " on ", where) for text in entry.get("permissions") or [])
            schemas = tuple(_split(text, ".", where) for text in entry.get("schemas") or [])
            roles[entry["name"]] = Role(entry["name"], tuple(entry.get("like") or []), permissions, schemas)
        for entry in _entries(name, asset, "rules"):
            title, description, role, clause = (
                str(entry.get(word) or "") for word in ("name", "description", "role", "clause")
            )
            rules[title] = Rule(title, description, role, clause, tuple(entry.get("datasets") or []))
            missing = [dataset for dataset in rules[entry["name"]].datasets if dataset not in datasets]
            if missing or not rules[entry["name"]].clause:
                what = f"{missing[0]} is in no file of datasets/" if missing else "clause is missing"
                raise ProvisionError(f"superset/assets: {name}: rules: {entry['name']}: {what}; correct it.")
        for slug, names in (asset.get("dashboards") or {}).items():
            if slug not in slugs:
                raise ProvisionError(
                    f"superset/assets: {name}: dashboards: {slug} is the slug of no file in dashboards/; correct it."
                )
            dashboards[slug] = tuple(names)
    needed = [(f"rules: {rule.name}", rule.role) for rule in rules.values()]
    needed += [(f"dashboards: {slug}", role) for slug, names in dashboards.items() for role in names]
    for where, role in needed:
        if role not in roles:
            raise ProvisionError(
                f"superset/assets: access.yaml: {where}: {role!r} is no role of these files; correct it."
            )
    return Access(tuple(roles.values()), tuple(rules.values()), dashboards)


def names(access: Access) -> set[tuple[str, str]]:
    """("roles" or "rules", name) of each."""
    return {("roles", role.name) for role in access.roles} | {("rules", rule.name) for rule in access.rules}
