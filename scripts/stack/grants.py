"""`python -m stack.grants`: prints clickhouse/config/users.xml as SQL, for a ClickHouse whose users are managed by SQL.

ClickHouse Cloud and many clusters accept no users file. Passwords are placeholders `{name}`, so no secret is printed.
"""

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from stack.paths import REPO

USERS_FILE = REPO / "clickhouse" / "config" / "users.xml"
# Omitted: users and roles that only the embedded server needs, and the admin, which such a ClickHouse already has.
LEFT_OUT = ("admin", "input", "default")
HEADER = """-- Users, roles and grants for a ClickHouse whose users are managed by SQL, such as ClickHouse Cloud.
-- Made from clickhouse/config/users.xml by `PYTHONPATH=scripts python -m stack.grants`; do not edit.
-- Put the passwords of .env in place of the {names}, and run it as an admin; again after each upgrade.
-- It may be repeated at any time: the one GRANT of a role takes away what the role had beyond it in the same moment, so
-- that nobody is without rights in between. What a user holds beside its role is revoked.
"""


def _constraint(element: ElementTree.Element) -> str:
    limits = {limit.tag: (limit.text or "").strip() for limit in element}
    if "const" in limits or "readonly" in limits:
        return "CONST"
    return " ".join(f"{word.upper()} {limits[word]}" for word in ("min", "max") if word in limits)


def _profile(root: ElementTree.Element, name: str) -> dict[str, str]:
    """Returns the value and constraint of each setting, inherited ones included."""
    element = root.find(f"profiles/{name}")
    if element is None:
        raise KeyError(name)
    settings: dict[str, str] = {}
    for parent in element.findall("profile"):
        settings |= _profile(root, (parent.text or "").strip())
    for part in element:
        if part.tag not in ("profile", "constraints"):
            settings[part.tag] = f"= {(part.text or '').strip()}"
    for part in element.find("constraints") or ():
        settings[part.tag] = f"{settings.get(part.tag, '')} {_constraint(part)}".strip()
    return settings


def _replacing(role: ElementTree.Element) -> list[str]:
    """Returns one statement that replaces all grants of a role.

    Several statements would add to each other. A `REVOKE ALL` before them would leave a moment without rights, in which queries fail.
    """
    *others, last = (text.removeprefix("GRANT ") for text in _queries(role))
    return ["GRANT", *(f"    {grant}," for grant in others), f"    {last}", f"TO {role.tag}_role WITH REPLACE OPTION;"]


def _only_roles(user: ElementTree.Element) -> list[str]:
    """Returns statements that leave a user its roles only. Default roles come last, because replacing grants removes roles from their list."""
    roles = ", ".join(f"{text.removeprefix('GRANT ')}_role" for text in _queries(user))
    return [
        f"GRANT {roles} TO {user.tag} WITH REPLACE OPTION;",
        f"ALTER USER {user.tag} DEFAULT ROLE ALL;",
        f"REVOKE ALL ON *.* FROM {user.tag};",
    ]


def _queries(element: ElementTree.Element) -> list[str]:
    return [(query.text or "").strip() for query in element.findall("grants/query")]


def _row_policies(root: ElementTree.Element) -> list[str]:
    """Returns, for each filter of a user, a policy of its role and one that shows all rows to all others, whatever the server's default."""
    filters: dict[str, dict[str, str]] = {}
    for user in root.findall("users/*"):
        if user.tag in LEFT_OUT:
            continue
        role = (user.findtext("grants/query") or "").removeprefix("GRANT ").strip()
        for database in user.findall("databases/*"):
            for table in database:
                condition = table.findtext("filter", "").strip()
                filters.setdefault(f"{database.tag}.{table.tag}", {})[f"{role}_role"] = condition
    create = "CREATE ROW POLICY OR REPLACE"
    lines = []
    for name, roles in filters.items():
        lines += [f"{create} {role} ON {name} FOR SELECT USING {rows} TO {role};" for role, rows in roles.items()]
        lines.append(f"{create} others ON {name} FOR SELECT USING 1 TO ALL EXCEPT {', '.join(roles)};")
    return lines


def as_sql(file: Path = USERS_FILE) -> str:
    """Returns the statements, all idempotent."""
    root = ElementTree.parse(file).getroot()
    lines = [HEADER]
    for role in root.findall("roles/*"):
        if role.tag in LEFT_OUT:
            continue
        lines.append(f"CREATE ROLE IF NOT EXISTS {role.tag}_role;")
        lines += [*_replacing(role), ""]
    # Policies come before users: no user ever reads rows that a filter hides.
    lines += [*_row_policies(root), ""]
    for user in root.findall("users/*"):
        if user.tag in LEFT_OUT:
            continue
        password = user.find("password")
        source = password.get("from_env") if password is not None else None
        lines.append(f"CREATE USER IF NOT EXISTS {user.tag} IDENTIFIED BY '{{{source}}}';")
        profile = (user.findtext("profile") or "").strip()
        settings = ", ".join(f"{name} {words}" for name, words in _profile(root, profile).items())
        lines.append(f"ALTER USER {user.tag} SETTINGS {settings};")
        lines += [*_only_roles(user), ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_sql())
