"""`python -m stack.grants`: print clickhouse/config/users.xml as SQL, for a ClickHouse whose users are managed by SQL.

ClickHouse Cloud and many clusters take no users file. Passwords are placeholders `{name}`: nothing secret is printed.
"""

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from stack.paths import REPO

USERS_FILE = REPO / "clickhouse" / "config" / "users.xml"
SQL_FILE = REPO / "clickhouse" / "grants.sql"
# What the embedded server alone needs, and the admin, whom such a service has already.
LEFT_OUT = ("admin", "input", "default")
HEADER = """-- Users, roles and grants for a ClickHouse whose users are managed by SQL, such as ClickHouse Cloud.
-- Made from clickhouse/config/users.xml by `PYTHONPATH=scripts python -m stack.grants`; do not edit.
-- Put the passwords of .env in place of the {names}, and run it as an admin.
"""


def _constraint(element: ElementTree.Element) -> str:
    limits = {limit.tag: (limit.text or "").strip() for limit in element}
    if "const" in limits or "readonly" in limits:
        return "CONST"
    return " ".join(f"{word.upper()} {limits[word]}" for word in ("min", "max") if word in limits)


def _profile(root: ElementTree.Element, name: str) -> dict[str, str]:
    """Setting -> its value and constraint, with those of the profiles that this one builds on."""
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


def _row_policies(root: ElementTree.Element) -> list[str]:
    """For each filter of a user a policy of its role, and one that leaves the table whole to all others, whatever the server's default is."""
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
    """The statements, idempotent, one a line."""
    root = ElementTree.parse(file).getroot()
    lines = [HEADER]
    for role in root.findall("roles/*"):
        if role.tag in LEFT_OUT:
            continue
        lines.append(f"CREATE ROLE IF NOT EXISTS {role.tag}_role;")
        lines += [f"{(query.text or '').strip()} TO {role.tag}_role;" for query in role.findall("grants/query")]
        lines.append("")
    # Before the users: none of them ever reads rows that a filter hides.
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
        lines += [f"{(query.text or '').strip()}_role TO {user.tag};" for query in user.findall("grants/query")]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_sql())
