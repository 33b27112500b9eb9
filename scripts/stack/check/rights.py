"""Compares the rights of users and roles on the warehouse with clickhouse/config/users.xml."""

import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from warehouse.client import Warehouse

from stack.grants import LEFT_OUT

_GRANT = re.compile(r"GRANT (?P<types>.+) ON (?P<place>\S+)")
# Levels of system.privileges that a grant on a table, or on a database, covers.
_IN_TABLES = {"TABLE", "VIEW", "COLUMN", "DICTIONARY"}
_IN_DATABASES = {"DATABASE", *_IN_TABLES}
_WITH_OBJECT = {"SET DEFINER", "TABLE ENGINE"}

HELD = """
SELECT ifNull(role_name, ''), ifNull(user_name, ''), toString(access_type), access_object, ifNull(database, '*'), ifNull(table, '*'),
    ifNull(column, ''), is_partial_revoke, grant_option
FROM system.grants
"""
ROLES = "SELECT user_name, granted_role_name FROM system.role_grants WHERE user_name IS NOT NULL"
PRIVILEGES = (
    "SELECT toString(privilege), ifNull(toString(level), ''), ifNull(toString(parent_group), '') FROM system.privileges"
)

Rights = set[str]


@dataclass(frozen=True)
class Privileges:
    """The server's own tree of privileges."""

    levels: Mapping[str, str]
    members: Mapping[str, frozenset[str]]

    def leaves(self, privilege: str) -> set[str]:
        """Returns the leaves below a privilege; the privilege itself if it is not a group."""
        members = self.members.get(privilege)
        return {leaf for member in members for leaf in self.leaves(member)} if members else {privilege}

    def words(self, privilege: str, database: str, place: str) -> Rights:
        """Returns each right of a grant, in words."""
        reached = _IN_DATABASES if place == f"{database}.*" else _IN_TABLES
        return {
            f"{leaf} ON {place}"
            for leaf in self.leaves(privilege)
            if database == "*" or self.levels.get(leaf, "TABLE") in reached
        }


def differences(client: Warehouse, file: Path) -> list[str]:
    """A sentence for each right that a role or user has beyond the file, or lacks. `client` is one of the admin."""
    root = ElementTree.parse(file).getroot()
    privileges = _privileges(client)
    roles, users = _held(client, privileges)
    found = []
    for role in root.findall("roles/*"):
        if role.tag not in LEFT_OUT:
            given = _given(role, privileges)
            found += _compare(f"role {role.tag}", given, roles.get(f"{role.tag}_role", roles.get(role.tag, set())))
    granted = _granted_roles(client)
    for user in root.findall("users/*"):
        if user.tag not in LEFT_OUT:
            given = {
                f"role {(query.text or '').strip().removeprefix('GRANT ')}" for query in user.findall("grants/query")
            }
            found += _compare(f"user {user.tag}", given, granted.get(user.tag, set()) | users.get(user.tag, set()))
    return found


def _compare(who: str, given: Rights, held: Rights) -> list[str]:
    more = [f"{who} has {_some(held - given)}, which the file does not give"] if held - given else []
    less = [f"{who} lacks {_some(given - held)}"] if given - held else []
    return more + less


def _some(rights: Iterable[str]) -> str:
    names = sorted(rights)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _given(role: ElementTree.Element, privileges: Privileges) -> Rights:
    given: Rights = set()
    for query in role.findall("grants/query"):
        match = _GRANT.fullmatch((query.text or "").strip())
        if match is None:
            raise ValueError(f"{query.text} of role {role.tag} is no GRANT .. ON .. of one place")
        # system.grants shows `ops.lease_*` as `ops.lease_`.
        place = re.sub(r"(?<=\w)\*$", "", match["place"])
        for privilege in match["types"].split(", "):
            database = "*" if privilege in _WITH_OBJECT else place.partition(".")[0]
            given |= privileges.words(privilege, database, place)
    return given


def _held(client: Warehouse, privileges: Privileges) -> tuple[dict[str, Rights], dict[str, Rights]]:
    """By role, and by user: what is granted to them directly."""
    roles: defaultdict[str, Rights] = defaultdict(set)
    users: defaultdict[str, Rights] = defaultdict(set)
    for role, user, privilege, thing, database, table, column, is_revoke, grant_option in client.rows(HELD):
        place = thing or (f"{database}.{table}" + (f" ({column})" if column else ""))
        words = privileges.words(privilege, "*" if thing else database, place)
        if is_revoke:
            words = {f"REVOKE {word}" for word in words}
        elif grant_option:
            words = {f"{word} WITH GRANT OPTION" for word in words}
        (roles[role] if role else users[user]).update(words)
    return roles, users


def _granted_roles(client: Warehouse) -> dict[str, Rights]:
    granted: defaultdict[str, Rights] = defaultdict(set)
    for user, role in client.rows(ROLES):
        granted[user].add(f"role {role.removesuffix('_role')}")
    return granted


def _privileges(client: Warehouse) -> Privileges:
    levels, members = {}, defaultdict(set)
    for privilege, level, group in client.rows(PRIVILEGES):
        levels[privilege] = level
        members[group].add(privilege)
    return Privileges(levels, {group: frozenset(found) for group, found in members.items()})
